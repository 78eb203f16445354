"""Rows of raw features to the tensors of a signature, and the answer's tensors back to rows.

What a value may look like is what a log may hold (``configs.values``), so that a logged row can be
replayed as it is and means what it meant in training. One value more is taken: NaN, which data
frames have for a missing number, is missing, as it is on the wire. What ``data.null_values`` calls
missing in CSV and JSON is text here: a request has null.
"""

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import Message

from configs.errors import InputError
from configs.values import (
    LONG_TEXT,
    MAX_TEXT_BYTES,
    NO_UTF8,
    OUT_OF_RANGE,
    double_of,
    number_of,
    seconds_of,
    text_of,
    texts_of,
)
from serving.wire.errors import StatusError
from serving.wire.messages import DataType
from serving.wire.signatures import ALONG, DOMAIN, DOMAINS, EXAMPLES, LIST_LENGTH
from serving.wire.tensor_protos import decode, dtype_name, encode

Row = Mapping[str, object]

_LONGEST_STATED = 10_000
"""Elements to which a list is padded at most, whatever a server states."""


@dataclass(frozen=True)
class _Kind:
    """How values of a data type are read.

    Attributes:
      expected: what a value must be, in words.
      read: a value (never None) -> what NumPy takes, None where it is missing; raises
        ``ValueError`` for anything else.
      missing: stands for a missing value and pads lists; None where a value is required.
      array: NumPy type.
    """

    expected: str
    read: Callable[[object], Any]
    missing: Any
    array: Any


def encode_rows(
    signature: Message,
    rows: Sequence[Row],
    domain: str | None = None,
    *,
    ignore_unknown: bool = False,
    place: Callable[[int], str] = "row {}".format,
) -> dict[str, Message]:
    """The inputs of a request: ``[N]`` for each input of rank 1, ``[N, L]`` for rank 2, L being the
    longest list of these rows, or the length that the signature states (``LIST_LENGTH``) where that
    is more.

    Args:
      signature: its inputs say names, data types and ranks.
      rows: N rows; a key for each input. Missing or null: "" for text, NaN for numbers, an empty
        list; moments (int64) must be there.
      domain: for the input ``domain``, in rows without that key.
      ignore_unknown: skip keys that are no input; otherwise they are errors.
      place: where row i (from 0) came from, for messages.

    Raises:
      InputError: an unknown key, a value of the wrong type, lists of different lengths that the
        signature says are alike (``ALONG``), no domain, a signature that rows cannot fill.
    """
    return _encode_rows(signature.inputs, rows, domain, ignore_unknown, place)


def encode_rank(
    signature: Message,
    shared: Row,
    items: Sequence[Row],
    domain: str | None = None,
    *,
    ignore_unknown: bool = False,
) -> dict[str, Message]:
    """The inputs of a request that sends what its rows share only once, ``[1]`` or ``[1, L]``; the
    others as ``encode_rows``.

    Args:
      signature: inputs whose first dimension it fixes at 1 are shared.
      shared: the shared inputs (user and context).
      items: N rows of the other inputs.
      domain: for the input ``domain``, unless ``shared`` has that key.
      ignore_unknown: skip keys that are no such input; otherwise they are errors.

    Raises:
      InputError: as ``encode_rows``.
    """
    once: dict[str, Message] = {}
    each: dict[str, Message] = {}
    for name, info in signature.inputs.items():
        dims = info.tensor_shape.dim
        (once if dims and dims[0].size == 1 else each)[name] = info
    return {
        **_encode_rows(once, [shared], domain, ignore_unknown, lambda _: "what the items share"),
        **_encode_rows(each, items, None, ignore_unknown, "item {}".format),
    }


def check_rows(rows: Sequence[Row], place: Callable[[int], str]) -> None:
    """Raises ``InputError`` for one row where rows are expected, and for rows that are none."""
    if hasattr(rows, "get"):
        raise InputError(f"expected a list of rows, received {_shown(rows)}; put it into a list")
    for index, row in enumerate(rows):
        if not hasattr(row, "get"):
            raise InputError(
                f"{place(index)}: expected raw features by name, received {_shown(row)}"
            )


def decode_rows(
    signature: Message,
    outputs: Mapping[str, Message],
    count: int,
) -> list[dict[str, Any]]:
    """Every output, row by row, as Python numbers, text and lists; outputs are in the order of
    their names.

    An output whose first dimension the signature fixes belongs to the request and is repeated in
    each row; so is ``DOMAINS``, whose length changes from version to version. Floats are exactly
    the server's: ``numpy.float32(value)`` gives every bit back.

    Raises:
      StatusError: INTERNAL for an answer that is not one row per row.
    """
    rows: list[dict[str, Any]] = [{} for _ in range(count)]
    for name in sorted(outputs):
        dims = signature.outputs[name].tensor_shape.dim
        try:
            values = _plain(decode(outputs[name]).tolist())
        except ValueError as error:
            raise StatusError(grpc.StatusCode.INTERNAL, f"output {name}: {error}") from None
        if name == DOMAINS or (dims and dims[0].size >= 0):
            values = [values] * count
        if not isinstance(values, list) or len(values) != count:
            raise StatusError(
                grpc.StatusCode.INTERNAL,
                f"output {name} does not have one entry for each of the {count} rows",
            )
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    return rows


def _encode_rows(
    inputs: Mapping[str, Message],
    rows: Sequence[Row],
    domain: str | None,
    ignore_unknown: bool,
    place: Callable[[int], str],
) -> dict[str, Message]:
    if domain is not None and DOMAIN not in inputs:
        raise InputError(f"the signature takes no domain, received domain {domain!r}")
    check_rows(rows, place)
    if not ignore_unknown:
        for index, row in enumerate(rows):
            _refuse_unknown(row, set(inputs), place(index))
    encoded = {}
    alike: dict[str, dict[str, list[int]]] = {}
    for name, info in inputs.items():
        kind, rank = _kind(name, info)
        if name == EXAMPLES and info.dtype == DataType.DT_STRING:
            kind = _SERIALIZED
        values = [_python(row.get(name)) for row in rows]
        if name == DOMAIN:
            values = [domain if value is None else value for value in values]
            if None in values:
                raise InputError(
                    f"{place(values.index(None))}: no domain (name one for all rows, or give the"
                    f" row a {DOMAIN!r})"
                )
        read = _read_list if rank == 2 else _read_value
        cells = []
        for index, value in enumerate(values):
            try:
                cells.append(read(kind, value))
            except ValueError as error:
                expected = f"a list, each {kind.expected}" if rank == 2 else kind.expected
                limit = _LIMITS.get(getattr(error, "rule", ""), "")
                raise InputError(
                    f"{place(index)}: {name} must be {expected}{limit}, received {_shown(value)}"
                ) from None
        array = np.empty(len(rows), kind.array)
        if rank == 2:
            fixed = info.tensor_shape.dim[1].size
            if first := stated_first(info):
                alike.setdefault(first, {})[name] = [len(cell) for cell in cells]
            if fixed >= 0:
                _check_lengths(name, cells, fixed, place)
            longest = max(map(len, cells), default=0)
            length = fixed if fixed >= 0 else max(stated_length(info), longest)
            array = np.full(
                (len(rows), length), 0 if kind.missing is None else kind.missing, kind.array
            )
        for index, cell in enumerate(cells):
            array[(index, slice(0, len(cell))) if rank == 2 else index] = cell
        encoded[name] = encode(array, info.dtype, packed=True)
    for first, received in alike.items():
        _check_alike(first, received, place)
    return encoded


def _check_lengths(
    name: str, cells: Sequence[list[Any]], length: int, place: Callable[[int], str]
) -> None:
    """Raises ``InputError`` for a list that has elements, and not as many as the signature says."""
    for index, cell in enumerate(cells):
        if len(cell) not in (0, length):
            raise InputError(
                f"{place(index)}: {name} must be a list of {length} numbers, or empty, received"
                f" {len(cell)}"
            )


def _check_alike(
    first: str, received: Mapping[str, list[int]], place: Callable[[int], str]
) -> None:
    """Raises ``InputError`` for a row whose lists are not as long as the first of them, as logs
    refuse it.
    """
    expected = received.get(first, [])
    for name, lengths in sorted(received.items()):
        for index, (length, own) in enumerate(zip(expected, lengths, strict=False)):
            if length != own:
                raise InputError(
                    f"{place(index)}: {name} must have as many values as {first}, {length},"
                    f" received {own} (missing texts are left out)"
                )


def stated_first(info: Message) -> str | None:
    """The first of the lists that have as many elements as an input's in every row, its own name
    where that is it; None where its length is its own affair.
    """
    name = str(info.tensor_shape.dim[0].name)
    return name.removeprefix(ALONG) if name.startswith(ALONG) else None


def stated_length(info: Message) -> int:
    """The elements of a list that the model reads, as its input states; 1 where it does not."""
    name = info.tensor_shape.dim[1].name
    number = name.removeprefix(LIST_LENGTH)
    is_stated = name.startswith(LIST_LENGTH) and number.isascii() and number.isdigit()
    return max(1, min(int(number), _LONGEST_STATED)) if is_stated and len(number) < 10 else 1


def _refuse_unknown(row: Row, known: set[str], place: str) -> None:
    for key in row:
        if key not in known:
            nearest = difflib.get_close_matches(str(key), sorted(known), n=1, cutoff=0.0)
            hint = (
                f"nearest known key: {nearest[0]!r}" if nearest else "the signature has no inputs"
            )
            raise InputError(
                f"{place}: unknown key {key!r} ({hint}; keys that the model does not take can be"
                " skipped: --ignore-unknown, ignore_unknown=True)"
            )


def _kind(name: str, info: Message) -> tuple[_Kind, int]:
    kind = _KINDS.get(info.dtype)
    rank = len(info.tensor_shape.dim)
    if kind is None or rank not in (1, 2):
        raise InputError(
            f"input {name} is {dtype_name(info.dtype)} of rank {rank}: rows cannot carry it"
        )
    return kind, rank


def _python(value: object) -> object:
    """NumPy's scalars and arrays as Python's, for rows that come from a data frame."""
    if isinstance(value, np.float16 | np.float32):
        exact = float(value)  # as text 0.1 is to be 0.1, not 0.10000000149011612
        return float(str(np.float32(value))) if exact % 1.0 else exact
    if isinstance(value, np.datetime64):
        return value.astype("datetime64[us]").item()  # nanoseconds would become a number
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return [_python(element) for element in value] if value.ndim else _python(value[()])
    return value


def _read_value(kind: _Kind, value: object) -> Any:
    cell = None if value is None else kind.read(value)
    if cell is None and kind.missing is None:
        raise ValueError
    return kind.missing if cell is None else cell


def _read_list(kind: _Kind, value: object) -> list[Any]:
    if kind.read is _text:
        return [text.encode() for text in texts_of(value)]
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise ValueError
    # A missing number keeps its place: numbers belong to the entries of other lists.
    cells = [None if element is None else kind.read(element) for element in value]
    if None in cells and kind.missing is None:
        raise ValueError
    return [kind.missing if cell is None else cell for cell in cells]


def _text(value: object) -> bytes | None:
    text = text_of(value)
    return None if text is None else text.encode()


def _serialized(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    raise ValueError


def _number(value: object) -> float | None:
    if isinstance(value, float) and math.isnan(value):
        return None
    return number_of(value)


def _double(value: object) -> float | None:
    if isinstance(value, float) and math.isnan(value):
        return None
    number = double_of(value)
    if number is not None and not math.isfinite(number):
        raise ValueError
    return number


def _whole(bits: int) -> Callable[[object], int]:
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def read(value: object) -> int:
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not least <= value <= most
            or value != int(value)
        ):
            raise ValueError
        return int(value)

    return read


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError


_FLOAT32 = "a finite number (float32)"
_INT64 = "a whole number, or ISO 8601 text (a time, UTC where it names no zone)"
_KINDS: dict[int, _Kind] = {
    DataType.DT_STRING: _Kind("text", _text, b"", np.object_),
    DataType.DT_FLOAT: _Kind(_FLOAT32, _number, math.nan, np.float32),
    DataType.DT_DOUBLE: _Kind("a finite number", _double, math.nan, np.float64),
    DataType.DT_INT64: _Kind(_INT64, seconds_of, None, np.int64),
    DataType.DT_INT32: _Kind("a whole number (int32)", _whole(32), None, np.int32),
    DataType.DT_BOOL: _Kind("true or false", _flag, None, np.bool_),
}

_SERIALIZED = _Kind("a serialized tf.Example (bytes)", _serialized, None, np.object_)
_LIMITS = {
    LONG_TEXT: f" of at most {MAX_TEXT_BYTES} bytes",
    NO_UTF8: " in UTF-8",
    OUT_OF_RANGE: ", from 1990 to 2100",
}
"""What more is said of a value that broke one of these rules."""


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(element) for element in value]
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    try:
        text = repr(value)
    except ValueError:  # a whole number of more digits than Python writes out
        text = "of more digits than can be shown"
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
