"""Chooses the version that scores, before anything is loaded."""

from pathlib import Path

from configs.errors import InputError
from preprocessing import filesystem
from serving.wire.version_files import version_directories, whole_versions


def find_version(models: str, version: int | None) -> tuple[int, str]:
    """Number and folder of a version, the newest where None. Raises ``InputError``."""
    try:
        if filesystem.is_local(models):
            found = {
                number: str(path) for number, path in version_directories(Path(models)).items()
            }
        else:
            numbers = whole_versions(filesystem.list_files(models))
            found = {number: filesystem.join(models, str(number)) for number in numbers}
    except OSError as error:
        raise InputError(f"--models {models}: {error.strerror or error}") from None
    if not found:
        raise InputError(f"--models {models}: holds no version; run python -m serving.export")
    if version is None:
        version = max(found)
    if version not in found:
        numbered = ", ".join(map(str, sorted(found)))
        raise InputError(f"--models {models}: no version {version}; there are: {numbered}")
    return version, found[version]
