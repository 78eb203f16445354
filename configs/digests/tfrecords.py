"""TFRecord files without TensorFlow: records with their length and checksums, written one by one
and read as far as they are whole.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_HEAD = struct.Struct("<QI")
_SUM = struct.Struct("<I")
_LARGEST = 1 << 31
"""Bytes: what protocol buffers take at most, so no record of ours is larger."""


class DamagedRecordError(ValueError):
    """A file that ends within a record, or a record that is not what was written."""


def framed(record: bytes) -> bytes:
    """A record with TFRecord's length and checksums."""
    length = struct.pack("<Q", len(record))
    return b"".join((length, _checksum(length), record, _checksum(record)))


def read_records(path: Path, end: int | None = None) -> Iterator[bytes]:
    """The records of a file, in order.

    Args:
      path: of the file.
      end: bytes; records that begin there or later are left out. None for all.

    Raises:
      DamagedRecordError: after the last record before the damage, which names the file, the number
        of the record, from 1, and what is wrong. A writer that was killed leaves such an end.
      OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        number = 1
        while (end is None or file.tell() < end) and (head := file.read(_HEAD.size)):
            yield _record(file, head, f"{path}: record {number}")
            number += 1


def is_record_file(path: Path) -> bool:
    """Whether a file begins as a TFRecord file does, or is empty."""
    with path.open("rb") as file:
        head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return not head
    # Text, of which eight letters are a huge number, is told without the library for sums.
    return _HEAD.unpack(head)[0] <= _LARGEST and _checksum(head[:8]) == head[8:]


def _record(file: BinaryIO, head: bytes, where: str) -> bytes:
    if len(head) < _HEAD.size:
        raise DamagedRecordError(f"{where}: the file ends within it")
    length, _ = _HEAD.unpack(head)
    if _checksum(head[:8]) != head[8:] or length > _LARGEST:
        raise DamagedRecordError(f"{where}: its length is damaged")
    content = file.read(length + _SUM.size)
    if len(content) < length + _SUM.size:
        raise DamagedRecordError(f"{where}: the file ends within it")
    if _checksum(content[:length]) != content[length:]:
        raise DamagedRecordError(f"{where}: its content is damaged")
    return content[:length]


def _checksum(content: bytes) -> bytes:
    import google_crc32c  # not every command that may read such a file does

    crc = google_crc32c.value(content)
    return _SUM.pack((((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)
