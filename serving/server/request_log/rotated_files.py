"""A process's own files of a log: one is written at a time, and the oldest go where all of them
together grow too large.
"""

import fcntl
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from configs.asides import make_folder
from configs.digests.tfrecords import framed
from configs.errors import InputError
from serving.wire.request_log import PREFIX, SUFFIX

_MOST_WRITERS = 1024


class RotatedFiles:
    """Files ``requests-WRITER-NUMBER.tfrecord`` in a folder that several processes may share.

    A process takes the first writer's number whose lock is free and keeps it, so what an earlier
    process of that number has left is its to delete. A file that is there is never written again: a
    process that was killed may have left half a record at its end. Only the user of the server may
    read the files.
    """

    def __init__(self, folder: Path, file_bytes: int, most_bytes: int) -> None:
        """Takes a writer's number; no file is opened yet.

        Args:
          folder: is made where it is not there.
          file_bytes: a file that has as many is followed by another.
          most_bytes: of all files of this writer together; the oldest are deleted. The file that is
            written stays, whatever its size.

        Raises:
          InputError: the folder cannot be made or written to, or has too many writers.
        """
        self._folder, self._file_bytes, self._most_bytes = folder, file_bytes, most_bytes
        try:
            make_folder(folder)
            self._writer, self._lock = _free_writer(folder)
        except OSError as error:
            raise InputError(f"--request-log-dir {folder}: {error.strerror}") from None
        self._number = max((number for number, _ in self._mine()), default=0)
        self._file: BinaryIO | None = None
        self._written = 0

    def add(self, record: bytes) -> None:
        """Appends a record; it is in the file, for who reads it, after ``flush``. Raises
        ``OSError``; what was written of the record then is the end of its file.
        """
        file = self._file = self._file or self._open()
        content = framed(record)
        try:
            file.write(content)
        except OSError:
            self._end_file()
            raise
        self._written += len(content)
        if self._written >= self._file_bytes:
            self._end_file()

    def flush(self) -> None:
        """Hands what was added to the operating system. Raises ``OSError``."""
        if self._file is not None:
            try:
                self._file.flush()
            except OSError:
                self._end_file()
                raise

    def close(self) -> None:
        """Ends the file and gives the writer's number back."""
        self._end_file()
        os.close(self._lock)

    def _open(self) -> BinaryIO:
        self._delete_oldest()
        self._number += 1
        path = self._folder / f"{PREFIX}{self._writer}-{self._number:08d}{SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        self._written = 0
        return os.fdopen(os.open(path, flags, mode=0o600), "wb")

    def _end_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # a full disk: what is not in the file by now is lost
                file.close()

    def _delete_oldest(self) -> None:
        """Makes room for a whole file."""
        files = sorted(self._mine(), reverse=True)
        left = self._most_bytes - self._file_bytes
        for _, path in files:
            left -= path.stat().st_size
            if left < 0:
                path.unlink(missing_ok=True)

    def _mine(self) -> list[tuple[int, Path]]:
        """Number and path of this writer's files."""
        name = re.compile(rf"{PREFIX}{self._writer}-(\d{{8,}}){re.escape(SUFFIX)}")
        found = ((name.fullmatch(path.name), path) for path in self._folder.iterdir())
        return [(int(match[1]), path) for match, path in found if match]


def _free_writer(folder: Path) -> tuple[int, int]:
    """The first number whose lock nobody holds, and the locked file, which is to stay open."""
    for number in range(_MOST_WRITERS):
        lock = os.open(folder / f".writer-{number}", os.O_RDWR | os.O_CREAT, mode=0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return number, lock
        except BlockingIOError:
            os.close(lock)
    raise InputError(f"--request-log-dir {folder}: {_MOST_WRITERS} processes write to it already")
