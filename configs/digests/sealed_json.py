"""JSON objects that say whether they are what was written: under ``sha256`` they hold that of their
other keys, their seal.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from configs.errors import InputError
from configs.files import read_object, write_json

SEAL = "sha256"
"""The key of a sealed JSON object; objects that are older than seals have none."""


def digest_of(content: Any) -> str:
    """Sha256 of JSON content, whatever the order of its keys and the spaces between them."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with its seal."""
    bare = {name: value for name, value in content.items() if name != SEAL}
    return {**bare, SEAL: digest_of(bare)}


def unsealed(content: Mapping[str, Any], path: Path | str, advice: str) -> dict[str, Any]:
    """A JSON object without its seal, which is checked; one that is older than seals as it is.

    Who reads it refuses keys that it does not know, so that a damaged name of the seal's key is
    noticed, too.

    Args:
      content: as it was read.
      path: where, for the message.
      advice: what to do where it is damaged; the message ends with it.

    Raises:
      InputError: something in it is not what was written.
    """
    bare = {name: value for name, value in content.items() if name != SEAL}
    if SEAL in content and content[SEAL] != digest_of(bare):
        raise InputError(f"{path}: damaged: its content is not what was written (sha256); {advice}")
    return bare


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON object with its seal, as ``configs.files.write_json`` does."""
    write_json(path, sealed(content))


def read_sealed(
    path: Path, advice: str, *keys: str, optional: Iterable[str] = ()
) -> dict[str, Any]:
    """Reads a JSON object and checks its seal, where it has one.

    Args:
      path: of the file.
      advice: what to do where it is damaged; the message ends with it.
      keys: that it must have.
      optional: that it may have; there are no others.

    Raises:
      InputError: the file is missing or damaged, or holds something else.
    """
    try:
        found = read_object(path, *keys)
    except InputError as error:
        if not path.exists():  # the error says what to do
            raise
        raise InputError(f"{error}; {advice}") from None
    content = unsealed(found, path, advice)
    if strange := content.keys() - {*keys, *optional}:
        raise InputError(f"{path}: damaged: unknown key {ascii(min(strange))[:100]}; {advice}")
    return content
