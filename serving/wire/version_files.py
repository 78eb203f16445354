"""What an exported version says of itself, for whoever exports the next one and whoever serves it:
``assets.extra/export.json`` lists its files, ``assets.extra/golden.json`` what it must answer.
"""

from collections.abc import Iterable
from pathlib import Path

from configs.digests.listed_files import Listed, check_files
from configs.digests.sealed_json import read_sealed
from configs.errors import InputError

SAVED_MODEL = "saved_model.pb"
EXTRA = "assets.extra"
RECORD = Path(EXTRA) / "export.json"
KEYS = ("sources", "layout", "kernels", "files")
"""What every record has."""
KEYS_SOMETIMES = ("memory", "scores", "compose", "ancestors")
"""What one has where it says anything (``serving.export.export_manifest.Record``)."""
GOLDEN = Path(EXTRA) / "golden.json"

_LARGEST_VERSION = 2**63 - 1
_AGAIN = "export it again, as another version"


def check_version(version: Path) -> bool:
    """Checks that a version's files are those that were exported.

    Args:
      version: its folder.

    Returns:
      Whether the version says what its files are; one that was not exported by
      ``serving.export`` does not.

    Raises:
      InputError: names the file that is missing or damaged.
    """
    path = version / RECORD
    if not path.exists():
        return False
    record = read_sealed(path, _AGAIN, *KEYS, optional=KEYS_SOMETIMES)
    files = record["files"]
    try:
        listed = [Listed(version / name, entry["sha256"]) for name, entry in files.items()]
    except (AttributeError, KeyError, TypeError):
        raise InputError(f"{path}: damaged: expected files with their sha256; {_AGAIN}") from None
    check_files(listed, RECORD.name, _AGAIN)
    return True


def version_directories(base_path: Path) -> dict[int, Path]:
    """Version -> directory. Only directories with an integer for a name are versions; everything
    else is ignored.

    Raises ``OSError`` where the base path cannot be read.
    """
    return {
        int(path.name): path
        for path in base_path.iterdir()
        if path.name.isascii()
        and path.name.isdigit()
        and int(path.name) <= _LARGEST_VERSION
        and path.is_dir()
    }


def whole_versions(names: Iterable[str]) -> list[int]:
    """The versions of a base path on an object store, ascending, by the names of all files below
    it. One is whole once it has ``saved_model.pb``, which is uploaded last.
    """
    found = (name.partition("/") for name in names)
    return sorted(
        int(version)
        for version, _, name in found
        if name == SAVED_MODEL
        and version.isascii()
        and version.isdigit()
        and int(version) <= _LARGEST_VERSION
    )
