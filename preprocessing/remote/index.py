"""The index of a remote folder: one object that says which other objects form it.

A file's bytes lie under its name and its sha256 (``files/NAME/SHA256``) and never change, so that
what an index says is there as long as it is needed, whoever uploads meanwhile. An object store
shows ``index.json`` as it was or as it is now: so does a reader see the whole folder.
"""

import json
import secrets
from pathlib import PurePosixPath

from pydantic import Field, NonNegativeInt, ValidationError, field_validator

from configs.digests.sealed_json import sealed, unsealed
from configs.errors import InputError
from configs.section import Section
from preprocessing import filesystem

INDEX, FILES = "index.json", "files"
BEGUN = f"{INDEX}.begun"
"""Is there while a folder is uploaded for the first time: files without an index are the rest of an
upload that was cut off, and nothing is lost. Without it they are those of an index that is lost.
"""
FORMAT = 1
_ADVICE = "restore it, or choose another place"


class Entry(Section):
    """A file of a folder."""

    bytes: NonNegativeInt
    sha256: str


class Index(Section):
    """Which files form a remote folder.

    Attributes:
      format: of this file.
      generation: how many times the folder was uploaded; 0 before the first time.
      writer: drawn anew for each upload: two runs that upload the same generation differ in it.
      files: by path relative to the folder.
    """

    format: int = FORMAT
    generation: NonNegativeInt = 0
    writer: str = ""
    files: dict[str, Entry] = Field(default_factory=dict)

    @field_validator("files")
    @classmethod
    def _inside(cls, files: dict[str, Entry]) -> dict[str, Entry]:
        for name in files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or str(path) != name or name == ".":
                raise ValueError(f"{name!r} is no path inside a folder")
        return files

    def following(self, files: dict[str, Entry]) -> "Index":
        """The index of the next upload."""
        return Index(generation=self.generation + 1, writer=secrets.token_hex(8), files=files)

    @property
    def places(self) -> dict[str, str]:
        """Name -> where its bytes lie, relative to the remote folder. A file without any has no
        object: not every store takes empty ones.
        """
        return {
            name: f"{FILES}/{name}/{entry.sha256}"
            for name, entry in self.files.items()
            if entry.bytes
        }


NOTHING = Index()
"""What an empty place holds."""


def read_index(path: str) -> Index | None:
    """The index of a remote folder; None where there is none. Raises ``InputError`` where it is
    damaged, ``OSError`` where it cannot be read.
    """
    place = filesystem.join(path, INDEX)
    try:
        content = json.loads(filesystem.read(place))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: not readable as JSON: {error}; {_ADVICE}") from None
    try:
        index = Index.model_validate(unsealed(content, place, _ADVICE))
    except (ValidationError, AttributeError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise InputError(f"{place}: not an index: {said}; {_ADVICE}") from None
    if index.format != FORMAT:
        raise InputError(
            f"{place}: of another version of this program (format {index.format}, expected"
            f" {FORMAT}); use that one, or choose another place"
        )
    return index


def write_index(path: str, index: Index) -> None:
    """Puts an index in a former one's place, whole."""
    content = json.dumps(sealed(index.model_dump(mode="json")), indent=1).encode()
    filesystem.write(filesystem.join(path, INDEX), content)
