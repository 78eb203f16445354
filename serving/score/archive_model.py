"""What a job knows of the version that scores: which columns it reads and how, what it answers, and
how a process loads it.

A client needs nothing but the signature, and neither does this: text, numbers, moments and lists
are the signature's data types and ranks. What only the config knew is in
``serving.wire.training_logs``, where a version has it.
"""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.digests.sealed_json import SEAL
from configs.errors import InputError
from configs.tensorflow_import import tf
from preprocessing import filesystem
from preprocessing.logs.schema import Column, Kind
from serving.score.version_choice import find_version
from serving.server.failures import status_of
from serving.server.servable import Servable
from serving.wire.messages import DataType
from serving.wire.row_codec import stated_first
from serving.wire.signatures import DEFAULT_SIGNATURE, DOMAIN
from serving.wire.tensor_protos import dtype_name
from serving.wire.training_logs import TrainingLogs
from serving.wire.version_files import RECORD, check_version

_KINDS: dict[tuple[int, int], Kind] = {
    (DataType.DT_STRING, 1): "string",
    (DataType.DT_STRING, 2): "strings",
    (DataType.DT_FLOAT, 1): "number",
    (DataType.DT_FLOAT, 2): "numbers",
    (DataType.DT_INT64, 1): "timestamp",
}
"""Data type and rank of an input -> how its column is read."""


@dataclass(frozen=True)
class ArchiveModel:
    """A version that scores.

    Attributes:
      version: its number.
      path: its folder, local or on any other filesystem of Beam's.
      fingerprint: sha256 that seals its ``export.json``, which lists every file; None where it has
        none.
      columns: the raw columns that it reads, by name.
      takes_domain: whether a row names a domain.
      outputs: in the order of their names.
      lists_alike: pairs of columns whose lists have as many elements in every row.
      logs: what it says of the logs it was trained on.
    """

    version: int
    path: str
    fingerprint: str | None
    columns: Mapping[str, Column]
    takes_domain: bool
    outputs: tuple[str, ...]
    lists_alike: tuple[tuple[str, str], ...]
    logs: TrainingLogs

    @classmethod
    def open(cls, models: str, version: int | None) -> "ArchiveModel":
        """Loads a version as a server does, its files and golden scores checked, and lets it go.

        Args:
          models: base path, as a server is given it.
          version: its number; None for the newest, as a server picks.

        Raises:
          InputError: there is no such version, it is damaged, or archives cannot be its input.
        """
        # The command alone needs it: Beam's workers elsewhere do not have TensorFlow Serving's API.
        from serving.server.servable_loader import load

        number, path = find_version(models, version)
        folder = local_folder(path)
        try:
            servable = load(number, folder, warm_up=False)
        except Exception as error:
            raise InputError(f"{path}: cannot be loaded: {status_of(error).message}") from None
        try:
            signature = servable.signatures.get(DEFAULT_SIGNATURE)
            if signature is None:
                raise InputError(
                    f"{path}: has no signature '{DEFAULT_SIGNATURE}', which scores rows"
                )
            inputs = dict(signature.inputs)
            domain = inputs.pop(DOMAIN, None)
            _check_outputs(path, signature.outputs)
            return cls(
                version=number,
                path=path,
                fingerprint=_fingerprint(folder),
                columns={name: _column(path, name, inputs[name]) for name in sorted(inputs)},
                takes_domain=domain is not None,
                outputs=tuple(sorted(signature.outputs)),
                lists_alike=_lists_alike(inputs),
                logs=TrainingLogs.of_version(folder),
            )
        finally:
            servable.close()

    def load(self) -> Servable:
        """Loads it for a process of a job: each run of the graph stays in the thread that asks for
        it, since there are as many of them as cores.
        """
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=1, inter_op_parallelism_threads=-1
        )
        return Servable(self.version, local_folder(self.path), config)


def local_folder(path: str) -> Path:
    """The folder itself, or a copy of one that is elsewhere, among this process's temporary files:
    TensorFlow does not know every filesystem that Beam does.

    Raises:
      InputError: the copy is not what was exported: a file is missing or damaged.
    """
    if filesystem.is_local(path):
        return Path(path)
    folder = tempfile.mkdtemp(prefix="model-")
    for name, source in filesystem.list_files(path).items():
        filesystem.write(filesystem.join(folder, name), filesystem.read(source))
    check_version(Path(folder))
    return Path(folder)


def _lists_alike(inputs: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Each list beside the first of those that are as long."""
    lists = {name: info for name, info in inputs.items() if len(info.tensor_shape.dim) == 2}
    firsts = {name: stated_first(info) for name, info in sorted(lists.items())}
    return tuple(
        (first, name)
        for name, first in firsts.items()
        if first is not None and first != name and first in inputs
    )


def _column(path: str, name: str, info: Any) -> Column:
    dims = info.tensor_shape.dim
    kind = _KINDS.get((info.dtype, len(dims)))
    if kind is None:
        raise InputError(
            f"{path}: input {name} is {dtype_name(info.dtype)} of rank {len(dims)}, which no column"
            " of an archive can carry; expected text, float or int64 of rank 1, or text or float of"
            " rank 2"
        )
    size = dims[1].size if kind == "numbers" and dims[1].size >= 0 else None
    return Column(name, kind, required=kind == "timestamp", served=True, size=size)


def _check_outputs(path: str, outputs: Mapping[str, Any]) -> None:
    for name, info in outputs.items():
        if len(info.tensor_shape.dim) != 1:
            raise InputError(
                f"{path}: output {name} has rank {len(info.tensor_shape.dim)}; expected one value a"
                " row"
            )


def _fingerprint(folder: Path) -> str | None:
    path = folder / RECORD
    return json.loads(path.read_text(encoding="utf-8")).get(SEAL) if path.exists() else None
