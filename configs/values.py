"""How a raw value is read: the one statement for logs, requests, examples and golden requests.

Training and serving agree only where both read the same value the same way. These functions say
what a single value means. ``preprocessing.validation`` reads whole columns of CSV, JSON lines and
Parquet with Arrow and is held equal to them by tests; requests (``serving.wire``) and golden
requests (``trainer.registry``) are read by them. Each returns the canonical value, None where the
value is missing, and raises ``UnreadableValueError`` for what a log may not hold either:

==================  ==========================  ==========================  =======================
received            text                        number                      moment
==================  ==========================  ==========================  =======================
null, empty text    missing                     missing                     missing
text, UTF-8 bytes   itself, at most 4096 bytes  decimal numbers, true and   ISO 8601 (UTC where it
                                                false in any case; blanks   names no zone), or a
                                                around them do not count    number in text; blanks
                                                                            do not count
true, false         ``true``, ``false``         1, 0                        refused
whole number        its digits                  itself                      seconds since 1970
fraction, decimal   ``3`` for 3.0, otherwise    itself                      seconds since 1970
                    the shortest decimal form
NaN, infinity       refused                     refused, in text too        refused
date, datetime      ISO 8601, as Arrow writes   refused                     itself (UTC where it
                    it                                                      has no zone)
list, object        refused                     refused                     refused
==================  ==========================  ==========================  =======================

Numbers are rounded to float32, whose range they must be in. Moments are cut (towards the past) to
whole seconds and lie from 1990 to 2100, so that milliseconds are refused and not misread; digits
alone are seconds, never a date such as 20240101. Numbers in text are ASCII, without underscores,
hexadecimal digits or thousands separators.

CSV has no types, so there ``3.0`` in a column of text is ``3``, and ``True`` is ``true``, as the
same column is written by JSON or Parquet; nothing else is taken for a number (``007``, ``1.10``).
Text of JSON and Parquet is itself.

A label is a number that is 0 or 1; a weight is a number of at least 0. A list holds texts, all from
values of one type (whole numbers and fractions are one type); missing elements are left out, and a
missing list is empty. A list of numbers holds numbers, each of any type that a number may have;
there a missing element is a missing number, which keeps its place. A field of a CSV file holds a
list as ``a|b|c`` or as a JSON array.
"""

import json
import math
import re
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal

MAX_TEXT_BYTES = 4096
LIST_SEPARATOR = "|"
EXACT_FLOAT = 2.0**53
"""Fractions below it that happen to be whole read as text like whole numbers: a nullable integer
column becomes one of floats on its way through pandas.
"""

WHOLE_FRACTION = r"-?(0|[1-9][0-9]{0,14})\.0+"
"""A fraction that is whole, as programs write it in CSV; fifteen digits are exact."""

TRUTH_VALUES = ("True", "False", "TRUE", "FALSE")
"""Truth values as programs write them in CSV, beside ``true`` and ``false``."""

FIRST_SECOND = int(datetime(1990, 1, 1, tzinfo=UTC).timestamp())
LAST_SECOND = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp())
MICROSECONDS = 10**6
"""In a second."""

NO_TEXT = "expected text"
NO_UTF8 = "expected UTF-8 text"
LONG_TEXT = f"expected text of at most {MAX_TEXT_BYTES} bytes"
NO_NUMBER = "expected a number"
NOT_FINITE = "expected a finite number"
NO_LABEL = "expected 0 or 1"
NO_WEIGHT = "expected a finite number of at least 0"
NEGATIVE_WEIGHT = "expected a weight of at least 0"
NO_AMOUNT = "expected a finite amount of at least 0"
NO_TIMESTAMP = "expected a timestamp, ISO 8601 text or seconds since 1970"
OUT_OF_RANGE = "expected a timestamp from 1990 to 2100"
NO_LIST = "expected a list"
NO_TEXT_LIST = "expected a list of texts"
NO_NUMBER_LIST = "expected a list of numbers"

_NUMBER = re.compile(
    r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE | re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_WHOLE = 10**MAX_TEXT_BYTES
_SHOWN = 80
_EXACTLY = Context(prec=MAX_TEXT_BYTES)  # Arrow's decimals have 76 digits, Python's default 28


class UnreadableValueError(ValueError):
    """A value that is not of its kind.

    Attributes:
      rule: what was expected, one of this module's rules.
    """

    def __init__(self, rule: str, value: object) -> None:
        super().__init__(f"{rule}, received {_shown(value)}")
        self.rule = rule


def text_of(value: object) -> str | None:
    """Reads a value as text; None where it is missing. Raises ``UnreadableValueError``."""
    if value is None:
        return None
    if isinstance(value, str) and len(value) <= MAX_TEXT_BYTES and value.isascii():
        return value or None  # what nearly all values of a request are
    text = _written(value)
    if _bytes_of(text, value) > MAX_TEXT_BYTES:
        raise UnreadableValueError(LONG_TEXT, value)
    return text or None


def number_of(value: object) -> float | None:
    """Reads a value as a number, rounded to float32; None where it is missing. Raises
    ``UnreadableValueError``.
    """
    number = double_of(value)
    if number is None:
        return None
    try:
        single: float = struct.unpack("f", struct.pack("f", number))[0]
    except OverflowError:
        single = math.inf
    if not math.isfinite(single):
        raise UnreadableValueError(NOT_FINITE, value)
    return single


def double_of(value: object) -> float | None:
    """Reads a value as a number of any size, NaN and infinities included, before ``number_of``
    rounds it; None where it is missing. Raises ``UnreadableValueError``.
    """
    if value is None:
        return None
    if isinstance(value, str | bytes):
        text = _decoded(value)
        number = parse_number(text) if text else None
        if number is None and text:
            raise UnreadableValueError(NO_NUMBER, value)
        return number
    if not isinstance(value, int | float | Decimal):
        raise UnreadableValueError(NO_NUMBER, value)
    return _double(value)


def label_of(value: object) -> float | None:
    """Reads a value as a label, 0.0 or 1.0; None where it is missing. Raises
    ``UnreadableValueError``.
    """
    try:
        number = double_of(value)
    except UnreadableValueError:
        raise UnreadableValueError(NO_LABEL, value) from None
    if number not in (None, 0.0, 1.0):
        raise UnreadableValueError(NO_LABEL, value)
    return number


def amount_of(value: object) -> float | None:
    """Reads a value as an amount, rounded to float32; None where it is missing. Raises
    ``UnreadableValueError``.
    """
    return _from_zero(value, NO_AMOUNT, NO_AMOUNT)


def weight_of(value: object) -> float | None:
    """Reads a value as a sample weight, rounded to float32; None where it is missing. Raises
    ``UnreadableValueError``.
    """
    return _from_zero(value, NO_WEIGHT, NEGATIVE_WEIGHT)


def _from_zero(value: object, unreadable: str, negative: str) -> float | None:
    """A number of at least 0, and the rules that other values break."""
    try:
        number = number_of(value)
    except UnreadableValueError:
        raise UnreadableValueError(unreadable, value) from None
    if number is not None and number < 0:
        raise UnreadableValueError(negative, value)
    return number


def seconds_of(value: object) -> int | None:
    """Reads a value as a moment, in whole seconds since 1970 (UTC); None where it is missing.
    Raises ``UnreadableValueError``.
    """
    microseconds = microseconds_of(value)
    return None if microseconds is None else microseconds // MICROSECONDS


def microseconds_of(value: object) -> int | None:
    """The same before it is cut, in microseconds: rows are told apart by it."""
    if value is None:
        return None
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return _in_range((moment - _EPOCH) // timedelta(microseconds=1), value)
    if isinstance(value, date):
        return _in_range((value - _EPOCH.date()).days * 86_400 * MICROSECONDS, value)
    if isinstance(value, str | bytes):
        text = _decoded(value)
        seconds = parse_seconds(text) if text else None
        if seconds is None:
            if text:
                raise UnreadableValueError(NO_TIMESTAMP, value)
            return None
        return _in_range(_rounded(seconds), value)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise UnreadableValueError(NO_TIMESTAMP, value)
    return _in_range(_rounded(_double(value)), value)


def texts_of(value: object) -> list[str]:
    """Reads a value as a list of texts; a missing list is empty. Raises
    ``UnreadableValueError``.
    """
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise UnreadableValueError(NO_LIST, value)
    types = set(map(type, value)) - {type(None)}
    if len(types) > 1 and len(set(map(_common_type, types))) > 1:
        raise UnreadableValueError(NO_TEXT_LIST, value)
    try:
        texts = [text_of(element) for element in value]
    except UnreadableValueError as error:
        rule = NO_TEXT_LIST if error.rule == NO_TEXT else error.rule
        raise UnreadableValueError(rule, value) from None
    return [text for text in texts if text is not None]


def numbers_of(value: object) -> list[float | None]:
    """Reads a value as a list of numbers, None where an element is missing; a missing list is
    empty. Raises ``UnreadableValueError``.
    """
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise UnreadableValueError(NO_LIST, value)
    try:
        return [number_of(element) for element in value]
    except UnreadableValueError as error:
        rule = NO_NUMBER_LIST if error.rule == NO_NUMBER else error.rule
        raise UnreadableValueError(rule, value) from None


def text_of_field(text: str | bytes | None) -> str | None:
    """Reads text in a field of a CSV file; None where it is missing. Raises
    ``UnreadableValueError``.
    """
    found = text_of(text)
    if found is None:
        return None
    if found in TRUTH_VALUES:
        return found.lower()
    return text_of(float(found)) if re.fullmatch(WHOLE_FRACTION, found) else found


def texts_of_field(text: str | bytes | None) -> list[str]:
    """Reads a list in a field of a CSV file: a JSON array where the text begins with ``[``,
    separated text otherwise. Raises ``UnreadableValueError``.
    """
    decoded = _decoded(text or "")
    if not decoded.startswith("["):
        found = map(text_of_field, decoded.split(LIST_SEPARATOR))
        return [element for element in found if element is not None]
    return texts_of(parse_array(decoded))


def numbers_of_field(text: str | bytes | None) -> list[float | None]:
    """Reads a list of numbers in a field of a CSV file, which holds it as one of texts. Raises
    ``UnreadableValueError``.
    """
    decoded = _decoded(text or "")
    if not decoded:
        return []
    written = parse_array(decoded) if decoded.startswith("[") else decoded.split(LIST_SEPARATOR)
    return numbers_of(written)


READERS: Mapping[str, Callable[[object], object]] = {
    "string": text_of,
    "strings": texts_of,
    "number": number_of,
    "numbers": numbers_of,
    "label": label_of,
    "amount": amount_of,
    "weight": weight_of,
    "timestamp": seconds_of,
    "double": double_of,
    "microseconds": microseconds_of,
}
"""The reader of every kind of column; the last two are those of numbers and moments where rows are
told apart by them.
"""


def parse_number(text: str) -> float | None:
    """The number that a text writes, or None where it writes none."""
    text = {"true": "1", "false": "0"}.get(text.strip().lower(), text.strip())
    return float(text) if _NUMBER.fullmatch(text) else None


def parse_seconds(text: str) -> float | None:
    """Seconds since 1970 of the moment that a text writes, or None where it writes none."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def parse_array(text: str) -> object:
    """What a JSON text holds; the text itself, which is no list, where it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _rounded(seconds: float) -> int:
    """Microseconds; what a double holds of them is exact up to far beyond 2100."""
    product = seconds * MICROSECONDS
    return round(product) if math.isfinite(product) else 0


def _in_range(microseconds: int, value: object) -> int:
    if not FIRST_SECOND <= microseconds // MICROSECONDS <= LAST_SECOND:
        raise UnreadableValueError(OUT_OF_RANGE, value)
    return microseconds


def _double(value: float | Decimal) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _decoded(value: str | bytes) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise UnreadableValueError(NO_UTF8, value) from None
    _bytes_of(value, value)
    return value


def _bytes_of(text: str, value: object) -> int:
    """Length in UTF-8, which half a surrogate pair has not."""
    try:
        return len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:
        raise UnreadableValueError(NO_UTF8, value) from None


def _written(value: object) -> str:
    if isinstance(value, str | bytes):
        return _decoded(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if abs(value) >= _LONGEST_WHOLE:  # Python refuses to write out numbers not much longer
            raise UnreadableValueError(LONG_TEXT, value)
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        whole = value.is_integer() and abs(value) < EXACT_FLOAT
        return str(int(value)) if whole else _shortest(Decimal(repr(value)))
    if isinstance(value, Decimal) and value.is_finite():
        return f"{value:.0f}" if value == value.to_integral_value() else _shortest(value)
    if isinstance(value, datetime):
        zone = "Z" if value.tzname() == "UTC" else value.strftime("%z")
        return value.replace(tzinfo=None).isoformat(" ", "microseconds") + zone
    if isinstance(value, date):
        return value.isoformat()
    raise UnreadableValueError(NO_TEXT, value)


def _shortest(value: Decimal) -> str:
    """The shortest decimal form, as Arrow writes it of floats: with an exponent below 1e-6 and
    from 1e10 on.
    """
    sign, digits, exponent = _EXACTLY.normalize(value).as_tuple()
    assert isinstance(exponent, int)  # noqa: S101 - it is text for infinities alone
    figures = "".join(map(str, digits))
    point = len(figures) + exponent  # where the decimal point is, counted from the first figure
    if -6 < point <= 10:
        text = f"{figures[:point]}.{figures[point:]}" if point > 0 else f"0.{'0' * -point}{figures}"
    else:
        rest = f".{figures[1:]}" if len(figures) > 1 else ""
        text = f"{figures[0]}{rest}e{point - 1:+d}"
    return f"-{text}" if sign else text


def _common_type(type_: type) -> type:
    """The first of the types whose values a list may mix with those of ``type_``."""
    for alike in ((str, bytes), (bool,), (int, float, Decimal)):
        if issubclass(type_, alike):
            return alike[0]
    return type_


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # a whole number of more digits than Python writes out
        return f"a whole number of {int(value).bit_length()} bits"  # type: ignore[call-overload]
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
