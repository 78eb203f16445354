"""The one way in which files and folders get onto the disk: built aside (``configs.asides``),
synced, renamed into place, and nothing left of writers that were killed.
"""

import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from configs.asides import ASIDE, FORMER, aside, make_folder, sync, sync_all
from configs.errors import InputError

_PATTERN_SIGNS = "*?["


def read_json(path: Path) -> Any:
    """Reads JSON. Raises ``InputError`` where the file is missing or no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: not found; run the step that writes it first") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as JSON: {error}") from None


def read_object(path: Path, *keys: str) -> dict[str, Any]:
    """Reads a JSON object that has the given keys. Raises ``InputError`` where the file is
    missing or holds something else.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not content.keys() >= set(keys):
        raise InputError(
            f"{path}: expected a JSON object" + (f" with {', '.join(keys)}" if keys else "")
        )
    return content


def json_objects(lines: Iterable[bytes], source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The object of each line that is not blank, and where it stands (``source:line``). Raises
    ``InputError`` for a line that holds something else.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{source}:{number}"
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{place}: not valid JSON: {error}") from None
        if not isinstance(found, dict):
            raise InputError(f"{place}: expected a JSON object, received {type(found).__name__}")
        yield place, found


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file as ``write_bytes`` does. Raises ``ValueError`` where it holds NaN."""
    write_bytes(path, json.dumps(content, indent=1, allow_nan=False).encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file, whole or not at all, in place of a former one; it is on disk when this
    returns.
    """
    with atomic_file(path) as new:
        new.write_bytes(content)


def write_unsynced(path: Path, content: bytes) -> None:
    """Writes a file into a folder that is not published yet, whole or not at all. Who publishes
    the folder or the file makes sure that it is on disk (``publish``).
    """
    with unsynced_file(path) as file:
        file.write(content)


def append_lines(path: Path, lines: Iterable[str]) -> None:
    """Adds lines to a file, for good; it is made where it is missing. A reader may see a part of
    them, and a writer that is killed may leave half of one at the end: the next then begins on a
    line of its own. Who calls it sees to it that there is one writer.
    """
    content = "".join(f"{line}\n" for line in lines).encode()
    make_folder(path.parent)
    with _named(path), path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            content = content if file.read(1) == b"\n" else b"\n" + content
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    sync(path.parent)


@contextmanager
def unsynced_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write bit by bit, as ``write_unsynced`` writes what is at hand at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f"{ASIDE}{secrets.token_hex(8)}")
    with _named(path):
        try:
            with half.open("xb") as file:
                yield file
            half.replace(path)
        finally:
            half.unlink(missing_ok=True)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """The path of a file to write, of the same name; it becomes ``path`` when the block ends
    well, in place of a former one, and is removed when it does not.
    """
    with _named(path), aside(path.parent) as place:
        new = place / path.name
        yield new
        publish([(new, path)])


@contextmanager
def atomic_directory(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """A folder to fill, of the same name; it becomes ``target`` when the block ends well, and is
    removed when it does not.

    Args:
      target: must not exist, unless it may be replaced.
      replace: take a former ``target`` away, whole, right before. Between the two there is none
        for a moment; a writer that is killed then is finished by the next one.

    Raises:
      InputError: somebody else has written ``target`` meanwhile; theirs stays.
    """
    with _named(target), aside(target.parent) as place:
        new = place / target.name
        new.mkdir()
        yield new
        sync_all(_tree(new))
        try:
            if replace and target.exists():
                target.rename(place / FORMER)
            new.rename(target)
        except BaseException as error:  # Ctrl-C too must not take both folders away
            if (place / FORMER).exists() and not target.exists():
                (place / FORMER).rename(target)
            taken = (errno.ENOTEMPTY, errno.EEXIST)
            if not isinstance(error, OSError) or error.errno not in taken:
                raise
            raise InputError(
                f"{target}: another run has written it meanwhile; run this again"
            ) from None
        sync(target.parent)


@contextmanager
def replaced_folder(output: Path, mark: str) -> Iterator[Path]:
    """A folder to fill that takes the place of what a command made there before; nothing is left
    where anything goes wrong.

    Args:
      output: may exist where it is empty, or holds the mark.
      mark: name of the file by which the command knows its own folders; the block writes it.

    Raises:
      InputError: ``output`` is no folder of this command, or cannot be written.
    """
    output = output.resolve()
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: is a file; expected a folder to write")
    try:
        if output.exists() and any(output.iterdir()) and not (output / mark).is_file():
            raise InputError(
                f"{output}: holds files but no {mark}; expected a new or empty folder, or one that"
                " this command made, to replace"
            )
        with atomic_directory(output, replace=True) as new:
            yield new
    except OSError as error:
        raise InputError(f"{output}: cannot be written: {error.strerror or error}") from None


def publish(moves: Iterable[tuple[Path, Path]]) -> None:
    """Renames files and folders, in order, once all of them is on disk; the renames are too when
    this returns. A file that is there already is replaced. Folders of the targets are made.
    """
    moves = list(moves)
    sync_all(path for source, _ in moves for path in _tree(source))
    parents = dict.fromkeys(target.parent for _, target in moves)
    for parent in parents:
        make_folder(parent)
    for source, target in moves:
        source.replace(target)
    sync_all(parents)


def check_no_pattern(folder: Path | str) -> None:
    """Raises ``InputError`` where a folder's path holds a sign of globs: TensorFlow takes the
    paths of checkpoints, and Beam those of datasets, for patterns, and finds nothing there.
    """
    if found := [sign for sign in _PATTERN_SIGNS if sign in str(folder)]:
        raise InputError(
            f"{folder}: expected a folder without '*', '?' or '[' in its path, received"
            f" '{found[0]}': files below it would be looked for as by a pattern; choose another"
        )


def link(source: Path, target: Path) -> None:
    """Gives a file a second name in a folder that is not published yet, or copies it where the
    file system cannot.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def discard(folder: Path) -> None:
    """Deletes a folder; it is gone at once and for good, whatever happens while its files are
    deleted.
    """
    with aside(folder.parent) as place:
        folder.rename(place / folder.name)
        sync(folder.parent)


def delete(path: Path) -> None:
    """Deletes a file or a folder, if it is there, for good."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.exists() or path.is_symlink():
        path.unlink()
    else:
        return
    sync(path.parent)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Names what was being written in an error of the operating system that names nothing, such as
    that of a full disk.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def _tree(path: Path) -> list[Path]:
    """A file, or a folder and all that is in it; links are no content."""
    below = [found for found in path.rglob("*") if not found.is_symlink()] if path.is_dir() else []
    return [*below, path]
