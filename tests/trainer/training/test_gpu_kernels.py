"""What a GPU would not do of training: TensorFlow says which of its operations have a kernel
there, with or without a GPU at hand.
"""

from typing import Any

import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels

from tests.trainer.conftest import variant
from tests.trainer.training.test_backbone_step import learner_of
from tests.trainer.training.test_joint_kernel_trainer import ROWS, batches, trainer_of
from trainer.backbone.frozen_pass import feature_tensors
from trainer.backbone.model import inference_model
from trainer.data.dataset import Dataset


def without_gpu_kernel(graph: tf.Graph) -> set[str]:
    """Operations of a graph and of its functions that no GPU would compute: TensorFlow would do
    them in the host's memory.
    """
    definition = graph.as_graph_def()
    functions = definition.library.function
    own = {function.signature.name for function in functions}
    nodes = [*definition.node, *(node for function in functions for node in function.node_def)]
    return {node.op for node in nodes if node.op not in own and not _on_gpu(node)}


def _on_gpu(node: Any) -> bool:
    known = kernels.get_registered_kernels_for_op(node.op).kernel
    return any(kernel.device_type in ("GPU", "DEFAULT") and _fits(kernel, node) for kernel in known)


def _fits(kernel: Any, node: Any) -> bool:
    """Whether a kernel takes the types of a node."""
    return all(
        node.attr[limit.name].type in limit.allowed_values.list.type
        for limit in kernel.constraint
        if node.attr[limit.name].type
    )


@pytest.fixture(scope="module", autouse=True)
def _tensorflow_knows_gpus() -> None:
    """As the packages of Linux do: they hold the kernels, and look for CUDA when they start."""
    if not tf.test.is_built_with_cuda():
        pytest.skip("this TensorFlow was built without GPUs")


def test_what_has_no_kernel_is_found() -> None:
    @tf.function
    def of_texts(texts: tf.Tensor) -> tf.Tensor:
        return tf.strings.to_hash_bucket_fast(texts, 10) * 2

    traced = of_texts.get_concrete_function(tf.TensorSpec([None], tf.string))
    assert without_gpu_kernel(traced.graph) == {"StringToHashBucketFast"}


@pytest.mark.parametrize("body", ["mmoe", "star", "hamur"])
def test_a_backbones_step(dataset: Dataset, body: str) -> None:
    topics = [] if body == "mmoe" else ["backbone.topics=[scene]"]
    experiment = variant(f"backbone.body={body}", *topics)
    learner = learner_of(experiment, dataset)
    batch = next(iter(dataset.shuffled_batches(experiment.pretrain.split, 100, seed=3)))
    assert without_gpu_kernel(learner.step.get_concrete_function(batch).graph) == set()
    frozen = inference_model(learner.model, experiment)
    traced = tf.function(frozen).get_concrete_function(feature_tensors(batch, frozen))
    assert without_gpu_kernel(traced.graph) == set()


@pytest.mark.parametrize("regulariser", ["moments", "variational", "coding_rate"])
def test_a_step_of_kernels(regulariser: str) -> None:
    trainer = trainer_of([0, 1, 2], f"finetune.regulariser={regulariser}")
    batch = trainer._batch(ROWS, batches(0), 1.0)
    assert without_gpu_kernel(trainer._traced.get_concrete_function(*batch).graph) == set()
