"""What the stock server leaves to the graph: rows that do not belong together are refused, and
requests that are joined by its rules are answered as alone.

The binary is not asked here. Its rules are stated as they were read in its sources and measured on
it: inputs of a joined request have equal first dimensions, outputs a row for each row, a batch is
filled up to an allowed size, and a shorter list is padded with the first value of its own tensor,
of which an empty one has none.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow
import numpy as np
import pytest
import tensorflow as tf

import serving
from configs import Experiment
from preprocessing.logs.schema import served_columns
from serving.export.supported_ops import read_meta_graph
from serving.export.version_writer import export
from serving.server.batching.batching_parameters import read_parameters
from serving.server.failures import status_of
from serving.server.servable import Servable, feed
from serving.server.servable_loader import warm_up_requests
from serving.wire.row_codec import encode_rank, encode_rows
from serving.wire.signatures import WARM_UP_FILE
from serving.wire.tensor_protos import decode, encode
from serving.wire.tf_examples import example
from tests.serving.jobs import add_kernel, kernel_shape, loud_job, made_up
from trainer.job import Job
from trainer.registry.kernel_registry import KernelStore

SHIPPED = read_parameters(
    Path(serving.__file__).parent / "tensorflow_serving" / "batching_parameters.pbtxt"
)
Inputs = dict[str, Any]


@pytest.fixture(scope="module")
def job(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Job:
    made = loud_job(tmp_path_factory.mktemp("loud"), experiment, made_up(experiment))
    for seed, domain in enumerate(("all", "scene=home")):
        add_kernel(KernelStore(made), domain, kernel_shape(made), seed)
    return made


@pytest.fixture(scope="module")
def version(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(job, tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def servable(version: Path) -> Iterator[Servable]:
    loaded = Servable(1, version)
    yield loaded
    loaded.close()


def rows_of(experiment: Experiment, count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Raw rows whose lists have any length, none and more than is read included."""
    random = np.random.default_rng(seed)
    values: dict[str, Any] = {
        "timestamp": lambda: int(random.integers(1_741_000_000, 1_742_000_000)),
        "number": lambda: float(np.float32(random.gamma(2.0, 2.0))),
        "string": lambda: f"{random.choice(['home', 'r1', 'x'])}",
        "strings": lambda: [f"shop_id{random.integers(14)}" for _ in range(random.integers(0, 26))],
    }
    return [
        {column.name: values[column.kind]() for column in served_columns(experiment)}
        for _ in range(count)
    ]


def unchecked(servable: Servable, name: str, inputs: Inputs) -> dict[str, Any]:
    """What a session answers to inputs that no server has looked at."""
    aliases = sorted(servable.signatures[name].outputs)
    feeds = [feed(alias, inputs[alias]) for alias in sorted(inputs)]
    return dict(zip(aliases, servable.run(name, aliases, feeds), strict=True))


# ---- shapes


def sent(servable: Servable, name: str, rows: list[dict[str, Any]]) -> Inputs:
    """A good request of a signature."""
    signature = servable.signatures[name]
    if name == "rank":
        return encode_rank(signature, rows[0], rows, "all", ignore_unknown=True)
    if name == "examples":
        return encode_rows(signature, [{"examples": example(row)} for row in rows], "all")
    return encode_rows(signature, rows, None if name == "all_domains" else "all")


def resized(message: Any, rows: int) -> Any:
    array = decode(message)
    return encode(np.resize(array, (rows, *array.shape[1:])), message.dtype)


@pytest.mark.parametrize("name", ["serving_default", "rank", "examples", "all_domains"])
def test_every_input_of_another_length_is_refused_by_the_graph(
    servable: Servable, experiment: Experiment, name: str
) -> None:
    """Of none, of one, of one more: whichever input it is, in whichever signature."""
    good = sent(servable, name, rows_of(experiment, 3))
    assert len(unchecked(servable, name, good)["ctr"]) == 3
    for alias in good if len(good) > 1 else ():
        right = decode(good[alias]).shape[0]
        is_only_item = (
            name == "rank"
            and right == 3
            and sum(decode(message).shape[0] == 3 for message in good.values()) == 1
        )
        for rows in {0, 1, 2, 4} - {right} if not is_only_item else ():
            with pytest.raises(tf.errors.OpError) as caught:
                unchecked(servable, name, good | {alias: resized(good[alias], rows)})
            assert status_of(caught.value).code.name == "INVALID_ARGUMENT", (alias, rows)


def test_rank_refuses_several_users_though_their_rows_are_those_of_the_items(
    servable: Servable, experiment: Experiment
) -> None:
    rows = rows_of(experiment, 2)
    merged = encode_rows(servable.signatures["rank"], rows, "all")
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected one row in each of"):
        unchecked(servable, "rank", merged)


def test_no_rows_are_no_mistake(servable: Servable) -> None:
    for name in ("serving_default", "examples", "all_domains"):
        inputs = {
            alias: encode(np.zeros((0, 1)[: len(info.tensor_shape.dim)], object), info.dtype)
            if info.dtype == 7
            else encode(np.zeros(0), info.dtype)
            for alias, info in servable.signatures[name].inputs.items()
        }
        assert len(unchecked(servable, name, inputs)["ctr"]) == 0


# ---- batches


def test_signatures_state_how_much_of_a_list_is_read(version: Path, experiment: Experiment) -> None:
    signatures = read_meta_graph(version).signature_def
    for name in ("serving_default", "rank", "all_domains"):
        dims = signatures[name].inputs["history"].tensor_shape.dim
        assert dims[1].size == -1
        assert dims[1].name == f"max_length={experiment.features['history'].max_length}"


def test_the_fingerprint_is_that_of_the_graph_that_was_written(version: Path) -> None:
    before = (version / "fingerprint.pb").read_bytes()
    copied = shutil.copytree(version, version.parent / "copy")
    from tensorflow.python.saved_model import fingerprinting_utils

    fingerprinting_utils.write_fingerprint(str(copied))
    shutil.rmtree(copied / "assets.extra")
    described = [
        tf.saved_model.experimental.read_fingerprint(str(path)).saved_model_checksum
        for path in (version, copied)
    ]
    assert described[0] == described[1] and before


def joined(requests: Sequence[Inputs], size: int) -> Inputs:
    """Requests as the stock server joins them. Raises ``ValueError`` for an empty list that it
    would have to pad.
    """
    whole: Inputs = {}
    for alias in requests[0]:
        arrays = [decode(inputs[alias]) for inputs in requests]
        inner = tuple(
            max(sizes) for sizes in zip(*(array.shape[1:] for array in arrays), strict=True)
        )
        padded = []
        for array in arrays:
            if array.shape[1:] != inner:
                if not array.size:
                    raise ValueError("Only tensors with at least one element can be padded")
                full = np.full((len(array), *inner), array.flat[0], array.dtype)
                full[tuple(slice(length) for length in array.shape)] = array
                array = full
            padded.append(array)
        rows = np.concatenate(padded)
        rows = np.concatenate([rows, np.repeat(rows[:1], size - len(rows), axis=0)])
        whole[alias] = encode(rows, requests[0][alias].dtype)
    return whole


def allowed(rows: int) -> int:
    return next(size for size in SHIPPED.allowed_batch_sizes if size >= rows)


def test_warm_up_requests_are_answered_with_and_without_the_batching_file_that_is_shipped(
    version: Path, servable: Servable
) -> None:
    asked = list(warm_up_requests(version / WARM_UP_FILE))
    assert {request.model_spec.signature_name for request in asked} == {
        "serving_default", "rank", "examples", "all_domains"
    }  # fmt: skip
    for request in asked:
        name, inputs = request.model_spec.signature_name, dict(request.inputs)
        (rows,) = {message.tensor_shape.dim[0].size for message in inputs.values()}
        assert rows <= SHIPPED.max_batch_size
        answer = unchecked(servable, name, joined([inputs], allowed(rows)))
        wanted = request.output_filter or servable.signatures[name].outputs
        assert wanted
        for alias in wanted:
            assert len(answer[alias]) == allowed(rows), (name, alias)
        assert servable.predict(name, inputs, list(request.output_filter))


@pytest.mark.parametrize("domain", ["auto", "scene=home"])
@pytest.mark.parametrize("seed", range(5))
def test_what_the_client_sends_can_be_joined_without_changing_a_score(
    servable: Servable, experiment: Experiment, domain: str, seed: int
) -> None:
    signature = servable.signatures["serving_default"]
    random = np.random.default_rng(seed)
    groups = [rows_of(experiment, int(random.integers(1, 4)), seed * 9 + i) for i in range(8)]
    requests = [encode_rows(signature, rows, domain) for rows in groups]
    rows = sum(map(len, groups))
    together = unchecked(servable, "serving_default", joined(requests, allowed(rows)))
    alone = [unchecked(servable, "serving_default", inputs) for inputs in requests]
    for alias in signature.outputs:
        expected = np.concatenate([answer[alias] for answer in alone])
        if alias == "served_domain":
            assert together[alias][:rows].tolist() == expected.tolist()
        else:
            np.testing.assert_allclose(together[alias][:rows], expected, rtol=1e-5, atol=1e-7)


def test_empty_lists_alone_are_padded_too(servable: Servable, experiment: Experiment) -> None:
    rows = [row | {"history": []} for row in rows_of(experiment, 2)]
    inputs = encode_rows(servable.signatures["serving_default"], rows, "all")
    assert decode(inputs["history"]).shape == (2, experiment.features["history"].max_length)


@pytest.mark.parametrize(
    ("name", "length"),
    [("max_length=7", 7), ("", 1), ("max_length=", 1), ("max_length=-3", 1), ("max_length=0", 1),
     ("max_length=99999", 10_000), ("max_length=" + "9" * 5000, 1), ("L", 1), ("max_length=٣", 1)],
)  # fmt: skip
def test_a_length_that_a_server_states_is_believed_within_reason(
    servable: Servable, name: str, length: int
) -> None:
    signature = type(servable.signatures["serving_default"])()
    info = signature.inputs["history"]
    info.dtype = 7
    for size, called in ((-1, ""), (-1, name)):
        info.tensor_shape.dim.add(size=size, name=called)
    assert decode(encode_rows(signature, [{"history": []}])["history"]).shape == (1, length)
