"""Versions of an exported model, as versions of a registered model."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from configs import InputError
from operations.mlflow_export.entry import tags_of, value_of
from serving.export.export_manifest import Record
from serving.wire.version_files import RECORD


@dataclass(frozen=True)
class ReleasedModel:
    """A version of an exported model.

    Attributes:
      key: sha256 of its ``export.json``, which holds that of every file.
      path: its folder.
      tags: by name.
      note: which kernel of each domain it serves, as Markdown.
    """

    key: str
    path: Path
    tags: dict[str, str]
    note: str


def released_models(models: Path, leave_out: Callable[[str], None]) -> list[ReleasedModel]:
    """Every version under a base path, the oldest first; one whose record is missing or damaged is
    told to ``leave_out`` in one line. Raises ``InputError`` where there is no such folder.
    """
    if not models.is_dir():
        raise InputError(
            f"--models {models}: no such directory; expected what serving.export wrote"
        )
    found = []
    numbers = sorted(int(path.name) for path in models.iterdir() if path.name.isdecimal())
    for folder in (models / str(number) for number in numbers):
        try:
            found.append(_released(folder))
        except InputError as error:
            leave_out(str(error))
    return found


def _released(folder: Path) -> ReleasedModel:
    from configs.digests.listed_files import sha256_of

    record, key = Record.load(folder), sha256_of(folder / RECORD)
    memory = record.memory.version if record.memory else None
    lines = [f"- `{name}`: version {kernel.version}" for name, kernel in record.kernels.items()]
    return ReleasedModel(
        key,
        folder.resolve(),
        tags_of(
            version=folder.name,
            backbone=record.sources.get("backbone"),
            kernels=len(record.kernels),
            memory=memory,
        ),
        value_of("\n".join(lines)),
    )
