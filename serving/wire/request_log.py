"""Logs of requests: records of ``PredictionLog`` in TFRecord files, as TensorFlow Serving's request
logging and this project's server write them.
"""

import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from configs.digests.tfrecords import Damage, is_record_file, read_records
from configs.errors import InputError
from serving.wire.messages import PredictionLog

PREFIX, SUFFIX = "requests-", ".tfrecord"
"""Of the names of the files that this project's server writes."""


class LoggedRequest(NamedTuple):
    """A request of a log.

    Attributes:
      place: the file and the number of the record, from 1.
      log: its ``PredictionLog``.
    """

    place: str
    log: Any


def log_files(path: Path) -> list[Path]:
    """The files of a log, by name: itself, or every file of records that lies in the folder,
    hidden ones left out. Raises ``InputError`` where there are none.
    """
    if path.is_file():
        return [path]
    found = sorted(entry for entry in path.iterdir() if _may_be_log(entry)) if path.is_dir() else []
    if not found:
        raise InputError(
            f"{path}: no log of requests; expected a TFRecord file, or a folder of them"
        )
    return found


def is_request_log(path: Path) -> bool:
    """Whether a path holds a log of requests, as far as the beginning of its files tells."""
    if path.is_dir():
        return any(_may_be_log(entry) for entry in path.iterdir())
    return path.is_file() and path.stat().st_size > 0 and is_record_file(path)


def logged_requests(path: Path) -> Iterator[LoggedRequest]:
    """Every request for predictions of a log, in the order of its files. Logs of other methods are
    skipped. Damaged records are left out, with a line on stderr for each file that has some; a
    server that was killed leaves such an end. So is, without a word, what a server adds meanwhile:
    a replay of its log would else replay itself.

    Raises:
      InputError: no such log, a file that cannot be read, or a record that is no ``PredictionLog``.
    """
    ends = {file: file.stat().st_size for file in log_files(path)}
    for file, end in ends.items():
        damage = Damage()
        try:
            for number, record in read_records(file, damage, end):
                place = f"{file}: record {number}"
                try:
                    log = PredictionLog.FromString(record)
                except DecodeError:
                    raise InputError(f"{place}: not a PredictionLog") from None
                if log.HasField("predict_log"):
                    yield LoggedRequest(place, log)
        except OSError as error:
            raise InputError(f"{file}: {error.strerror}") from None
        if damage.places:
            print(
                f"note: {file}: {damage.first}; left out are {damage.places} damaged"
                f" record{'s' * (damage.places > 1)}, {damage.byte_count:,} of {end:,} bytes",
                file=sys.stderr,
            )


def _may_be_log(entry: Path) -> bool:
    if entry.name.startswith(".") or not entry.is_file():
        return False
    # A file of ours is one, whatever damage it begins with: what is behind it is read.
    return fnmatch(entry.name, f"{PREFIX}*{SUFFIX}") or is_record_file(entry)
