"""A version's variables in two data files, the backbone's and the kernels', so that a new kernel
writes the second alone.

TensorFlow's checkpoint is data files and an index that says where each tensor lies.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import tensor_bundle_pb2

from serving.export.checkpoint_index import read_index, write_index
from serving.export.serving_module import KERNELS

PREFIX = "variables/variables"
BACKBONE_DATA, KERNEL_DATA = (f"{PREFIX}.data-0000{shard}-of-00002" for shard in (0, 1))
INDEX = f"{PREFIX}.index"

_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


class TwoShards(tf.train.experimental.ShardingCallback):
    """Puts the kernels' variables into a data file of their own, the second;
    ``tf.saved_model.SaveOptions`` takes it.
    """

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
        return shards


def write_kernels(former: Path, version: Path, variables: dict[str, tf.Variable]) -> None:
    """Writes the kernels' data file, and an index that joins it to the backbone's of a former
    version.

    Args:
      former: folder of a version whose variables are of the same names, types and shapes.
      version: folder of the new one; the backbone's data file is put there by the caller.
      variables: of the kernels, by name (``Slots.variables``).
    """
    names = {f"{KERNELS}{name}{_VALUE}": variable for name, variable in variables.items()}
    entries = read_index((former / INDEX).read_bytes())
    ours = {key for key in entries if key.startswith(KERNELS.encode())}
    if ours != {name.encode() for name in names}:
        raise ValueError(
            f"{former / INDEX}: expected the kernels' tensors {sorted(names)}, received"
            f" {sorted(ours)}"
        )
    with tempfile.TemporaryDirectory(dir=version / "variables") as folder:
        alone = f"{folder}/kernels"
        tf.raw_ops.SaveV2(
            prefix=alone,
            tensor_names=list(names),
            shape_and_slices=[""] * len(names),
            tensors=[variable.read_value() for variable in names.values()],
        )
        written = read_index(Path(f"{alone}.index").read_bytes())
        Path(f"{alone}.data-00000-of-00001").rename(version / KERNEL_DATA)
    for key in ours:
        entry = tensor_bundle_pb2.BundleEntryProto.FromString(written[key])
        entry.shard_id = 1
        entries[key] = entry.SerializeToString()
    (version / INDEX).write_bytes(write_index(entries))
