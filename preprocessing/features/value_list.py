"""Many strings in Arrow's memory: one costs its bytes and eight more, not a Python object."""

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_AT_ONCE = 1 << 16  # strings that become Python's while all are gone over
_NEWLINE = ord("\n")


class ValueList(Sequence[str]):
    """A sequence of strings, equal to any other one of the same strings.

    Args:
      values: of type ``large_string``, without nulls.
    """

    def __init__(self, values: pa.Array) -> None:
        self._values = values

    @property
    def array(self) -> pa.LargeStringArray:
        """The strings as Arrow has them."""
        return self._values

    @classmethod
    def of_lines(cls, text: bytes) -> "ValueList":
        """The lines of a text, which all end with a newline; what follows the last one is none.

        Raises:
          ValueError: the text is no UTF-8.
        """
        content = np.frombuffer(text, np.uint8)
        ends = np.flatnonzero(content == _NEWLINE)
        offsets = np.concatenate([[0], ends - np.arange(len(ends))]).astype(np.int64)
        content = content[content != _NEWLINE]
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(content)]
        values = pa.LargeStringArray.from_buffers(len(ends), *buffers[1:])
        values.validate(full=True)
        return cls(values)

    def __len__(self) -> int:
        return len(self._values)

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> "ValueList": ...

    def __getitem__(self, place: int | slice) -> "str | ValueList":
        if isinstance(place, slice):
            return ValueList(self._values[place])
        value: str = self._values[place].as_py()
        return value

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _AT_ONCE):
            yield from self._values.slice(start, _AT_ONCE).to_pylist()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ValueList):
            return bool(self._values.equals(other._values))
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ValueList({list(self[:10])!r}{', ...' if len(self) > 10 else ''})"


def as_lines(values: Sequence[str] | pa.Array | pa.ChunkedArray) -> bytes:
    """Strings as a text of a line each.

    Args:
      values: a sequence; or strings of Arrow's, without nulls.
    """
    if isinstance(values, ValueList):
        values = values._values
    elif isinstance(values, Sequence):
        return "".join(f"{value}\n" for value in values).encode()
    empty, newline = (pa.scalar(text, pa.large_string()) for text in ("", "\n"))
    lines = pc.binary_join_element_wise(values, empty, newline)
    chunks = lines.chunks if isinstance(lines, pa.ChunkedArray) else [lines]
    return b"".join(map(_content, chunks))


def _content(lines: pa.Array) -> bytes:
    _, offset_buffer, content = lines.buffers()
    if content is None:
        return b""
    offsets = np.frombuffer(offset_buffer, np.int64)
    start, stop = offsets[lines.offset], offsets[lines.offset + len(lines)]
    return bytes(content[start:stop])
