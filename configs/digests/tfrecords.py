"""TFRecord files without TensorFlow: records with their length and checksums, written one by one,
and read wherever they are whole.
"""

import mmap
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_HEAD = struct.Struct("<QI")
_SUM = struct.Struct("<I")
_LARGEST = 1 << 31
"""Bytes: what protocol buffers take at most, so no record of ours is larger."""


_SHORTEST = _HEAD.size + _SUM.size
_HIGH_BYTES = b"\0\0\0\0"  # of the length of every record of ours
_NOT_ZERO = re.compile(rb"[^\0]")


class Record(NamedTuple):
    """A record, and its number in the file, from 1; damage counts as one, however long it is."""

    number: int
    content: bytes


@dataclass
class Damage:
    """What a file holds beside whole records.

    Attributes:
      first: the number of the first damaged record, and what is wrong with it; empty where there is
        no damage.
      places: how many there are.
      byte_count: of all of them.
    """

    first: str = ""
    places: int = 0
    byte_count: int = 0

    def add(self, number: int, wrong: str, byte_count: int) -> None:
        """Counts a damaged place."""
        self.first = self.first or f"record {number}: {wrong}"
        self.places += 1
        self.byte_count += byte_count


def framed(record: bytes) -> bytes:
    """A record with TFRecord's length and checksums."""
    length = struct.pack("<Q", len(record))
    return b"".join((length, _checksum(length), record, _checksum(record)))


def read_records(path: Path, damage: Damage, end: int | None = None) -> Iterator[Record]:
    """The whole records of a file, in order, also those behind damage.

    Args:
      path: of the file.
      damage: is told what is no whole record. A writer that was killed leaves such an end.
      end: bytes; records that begin there or later are left out. None for all.

    Raises:
      OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            place, number = 0, 1
            stop = len(content) if end is None else min(len(content), end)
            while place < stop:
                wrong, following = _record_at(content, place)
                if wrong:
                    following = _next_record(content, place, following)
                    damage.add(number, wrong, following - place)
                else:
                    yield Record(number, content[place + _HEAD.size : following - _SUM.size])
                place, number = following, number + 1


def is_record_file(path: Path) -> bool:
    """Whether a file begins as a TFRecord file does, or is empty."""
    with path.open("rb") as file:
        head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return not head
    # Text, of which eight letters are a huge number, is told without the library for sums.
    return _HEAD.unpack(head)[0] <= _LARGEST and _checksum(head[:8]) == head[8:]


def _record_at(content: mmap.mmap, place: int) -> tuple[str, int]:
    """What is wrong with the record that begins at a place, nothing where it is whole; and where it
    ends, as far as its length tells.
    """
    head = content[place : place + _HEAD.size]
    if len(head) < _HEAD.size:
        return "the file ends within it", len(content)
    length, _ = _HEAD.unpack(head)
    if length > _LARGEST or _checksum(head[:8]) != head[8:]:
        return "its length is damaged", place + 1
    begin, end = place + _HEAD.size, place + _SHORTEST + length
    if end > len(content):
        return "the file ends within it", len(content)
    if _checksum(content[begin : begin + length]) != content[begin + length : end]:
        return "its content is damaged", end
    return "", end


def _next_record(content: mmap.mmap, damaged: int, following: int) -> int:
    """Where the first whole record behind a damaged one begins, or the file ends.

    Args:
      content: of the file.
      damaged: where the damaged record begins.
      following: where it ends, as far as its length tells; bytes inside it may be missing.
    """
    if following < len(content) and not _record_at(content, following)[0]:
        return following
    place = damaged + 1
    while (zeros := content.find(_HIGH_BYTES, place + len(_HIGH_BYTES))) >= 0:
        place = zeros - len(_HIGH_BYTES)
        if not _record_at(content, place)[0]:
            return place
        if not any(content[place : place + _HEAD.size]):  # a hole in the file, which may be long
            behind = _NOT_ZERO.search(content, place)
            if behind is None:
                break
            place = max(place, behind.start() - _HEAD.size)
        place += 1
    return len(content)


def _checksum(content: bytes) -> bytes:
    import google_crc32c  # not every command that may read such a file does

    crc = google_crc32c.value(content)
    return _SUM.pack((((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)
