"""A version's variables in two data files, the backbone's and the kernels', so that a new kernel
writes the second alone.

TensorFlow's checkpoint is data files and an index that says where each tensor lies.
``MergeV2Checkpoints`` makes one of two: it renames their data files and joins their indices. So a
version keeps the index of its backbone alone too, for the next version to be joined from.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.asides import aside
from configs.files import link
from configs.tensorflow_import import tf
from serving.export.serving_module import KERNELS

PREFIX = "variables/variables"
BACKBONE_DATA, KERNEL_DATA = (f"{PREFIX}.data-0000{shard}-of-00002" for shard in (0, 1))
INDEX = f"{PREFIX}.index"
BACKBONE_INDEX = "assets.extra/backbone.index"

_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"

Tensors = Mapping[str, Mapping[str, tf.Tensor]]
"""Name in the checkpoint -> slice ("" for all of it) -> value."""


class TwoShards(tf.train.experimental.ShardingCallback):
    """Puts the kernels' variables into a data file of their own, the second, and keeps hold of
    the others; ``tf.saved_model.SaveOptions`` takes it.

    Attributes:
      backbone: what was saved last beside the kernels.
    """

    def __init__(self) -> None:
        self.backbone: Tensors = {}

    @property
    def description(self) -> str:
        """For TensorFlow's messages."""
        return "the backbone, then the kernels"

    def __call__(self, shardable_tensors: Sequence[Any]) -> list[dict[str, dict[str, tf.Tensor]]]:
        """See ``tf.train.experimental.ShardingCallback``."""
        shards: list[dict[str, dict[str, tf.Tensor]]] = [{}, {}]
        for tensor in shardable_tensors:
            shard = shards[tensor.checkpoint_key.startswith(KERNELS)]
            shard.setdefault(tensor.checkpoint_key, {})[tensor.slice_spec] = tensor.tensor
        self.backbone = shards[0]
        return shards


def write_variables(version: Path, backbone: Tensors, kernels: dict[str, tf.Variable]) -> None:
    """Writes a version's variables, and the index of the backbone alone, in place of what
    TensorFlow has saved.

    Args:
      version: folder of a new version.
      backbone: everything but the kernels (``TwoShards``).
      kernels: by name (``Slots.variables``).
    """
    (version / BACKBONE_DATA).unlink(missing_ok=True)  # never three times a backbone on the disk
    with aside(version / "variables") as work:
        _save(work / "backbone", backbone)
        link(work / "backbone.index", version / BACKBONE_INDEX)
        _join(work, kernels, version)


def write_kernels(former: Path, version: Path, kernels: dict[str, tf.Variable]) -> None:
    """Writes the kernels' data file, links the backbone's of a former version, and writes the
    index of both.

    Args:
      former: folder of a version whose variables are of the same names, types and shapes, but for
        lengths that are free.
      version: folder of the new one.
      kernels: by name (``Slots.variables``).
    """
    with aside(version / "variables") as work:
        link(former / BACKBONE_DATA, work / "backbone.data-00000-of-00001")
        for folder in (work / "backbone.index", version / BACKBONE_INDEX):
            link(former / BACKBONE_INDEX, folder)
        _join(work, kernels, version)
    free = {f"{KERNELS}{name}{_VALUE}" for name, v in kernels.items() if None in v.shape}
    expected, received = (
        {name: None if name in free else shape for name, shape in _shapes(folder).items()}
        for folder in (former, version)
    )
    if expected != received:
        differing = sorted(name for name, _ in expected.items() ^ received.items())
        raise ValueError(
            f"{former / INDEX}: expected the tensors of the new version, received others:"
            f" {', '.join(differing)}"
        )


def _join(work: Path, kernels: dict[str, tf.Variable], version: Path) -> None:
    names = {f"{KERNELS}{name}{_VALUE}": variable for name, variable in kernels.items()}
    _save(work / "kernels", {name: {"": value.read_value()} for name, value in names.items()})
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=[str(work / "backbone"), str(work / "kernels")],
        destination_prefix=str(version / PREFIX),
        delete_old_dirs=False,
    )


def _save(prefix: Path, tensors: Tensors) -> None:
    flat = [(name, part, value) for name, parts in tensors.items() for part, value in parts.items()]
    names, parts, values = zip(*flat, strict=True)
    tf.raw_ops.SaveV2(
        prefix=str(prefix), tensor_names=names, shape_and_slices=parts, tensors=list(values)
    )


def _shapes(version: Path) -> dict[str, tuple[int, ...]]:
    shapes = tf.train.load_checkpoint(str(version / PREFIX)).get_variable_to_shape_map()
    return {name: tuple(shape) for name, shape in shapes.items()}
