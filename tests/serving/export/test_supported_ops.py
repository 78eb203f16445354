"""What a stock TensorFlow Serving cannot run is found wherever it hides, and named."""

from pathlib import Path

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow
import numpy as np
import pytest
import tensorflow as tf

from configs import Experiment, InputError
from serving.export.serving_module import Recommender
from serving.export.supported_ops import check_stock, read_meta_graph, refused
from serving.export.version_writer import export
from tests.serving.jobs import loud_job, made_up


class Hiding(tf.Module):
    """Runs Python in a branch of a function that a function calls."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def outer(self, x: tf.Tensor) -> tf.Tensor:
        return self.inner(x)

    @tf.function
    def inner(self, x: tf.Tensor) -> tf.Tensor:
        return tf.cond(
            tf.size(x) > 0, lambda: tf.numpy_function(np.sin, [x], tf.float32), lambda: x
        )


def test_an_operation_inside_a_function_of_the_library_is_named(tmp_path: Path) -> None:
    tf.saved_model.save(Hiding(), str(tmp_path))
    with pytest.raises(
        InputError, match=r"operation PyFunc \(node '.+' of function '.+'\) runs Python"
    ) as caught:
        check_stock(read_meta_graph(tmp_path))
    assert "\n" not in str(caught.value)


def test_an_operation_of_the_graph_itself_is_named(tmp_path: Path) -> None:
    meta_graph = read_meta_graph(_saved(tmp_path))
    check_stock(meta_graph)
    node = meta_graph.graph_def.node.add(name="odd", op="AddonsNothing")
    with pytest.raises(
        InputError,
        match=r"operation AddonsNothing \(node 'odd' of the graph\) is none of TensorFlow's own",
    ):
        check_stock(meta_graph)
    node.op = "XlaLaunch"
    with pytest.raises(InputError, match="needs the XLA compiler"):
        check_stock(meta_graph)


def _saved(path: Path) -> Path:
    module = tf.Module()
    module.f = tf.function(lambda x: x + 1, input_signature=[tf.TensorSpec([None], tf.float32)])
    tf.saved_model.save(module, str(path))
    return path


@pytest.mark.parametrize(
    "op",
    [
        "EagerPyFunc",
        "XlaCallModule",
        "StablehloAdd",
        "TPUExecute",
        "CollectiveReduceV2",
        "NcclAllReduce",
        "Nothing",
    ],
)
def test_operations_that_are_refused(op: str) -> None:
    assert refused(op)


@pytest.mark.parametrize(
    "op",
    [
        "MatMul",
        "LookupTableFindV2",
        "ResourceGather",
        "StringToHashBucketFast",
        "StatelessWhile",
        "ParseExampleV2",
    ],
)
def test_operations_that_are_not(op: str) -> None:
    assert refused(op) == ""


def test_no_version_is_written_with_one(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = loud_job(tmp_path / "job", experiment, made_up(experiment))

    def scores(self: Recommender, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"ctr": tf.py_function(lambda x: x, [tf.strings.length(inputs["domain"])], tf.int32)}

    monkeypatch.setattr(Recommender, "_serving_default", scores)
    monkeypatch.setattr(Recommender, "_examples", scores)
    with pytest.raises(InputError, match="EagerPyFunc"):
        export(job, tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []
