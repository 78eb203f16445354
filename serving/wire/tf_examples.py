"""Raw rows as ``tf.Example``, which the signature ``examples`` takes."""

import math
from collections.abc import Mapping
from datetime import date

from google.protobuf.message import Message

from configs.values import UnreadableValueError, number_of, seconds_of, text_of, texts_of
from serving.wire.messages import Example, Feature


def example(row: Mapping[str, object]) -> bytes:
    """A serialized ``tf.Example`` of a raw row; what is missing in the row (null, empty text, NaN)
    is left out.

    Args:
      row: by column name, text, lists of text, fractions (float), lists of fractions, and moments
        (datetime, or whole seconds as int). The kind of a column is the type of its value here, so
        numbers in text and whole numbers for a feature that is a number or text are not understood.

    Raises:
      UnreadableValueError: a value that no log may hold (``configs.values``), or of another type.
    """
    features = {
        name: feature for name, value in row.items() if (feature := _feature(value)) is not None
    }
    return bytes(Example(features={"feature": features}).SerializeToString())


def _feature(value: object) -> Message | None:
    if isinstance(value, list | tuple):
        elements = [element for element in value if element is not None]
        if not elements:
            return None
        if all(isinstance(element, float) for element in elements):
            return Feature(float_list={"value": [_number(element) for element in value]})
        return _texts(texts_of(value))
    if isinstance(value, str | bytes):
        text = text_of(value)
        return _texts([text]) if text else None
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float):
        return Feature(float_list={"value": [number_of(value)]})
    if isinstance(value, int | date) and not isinstance(value, bool):
        return Feature(int64_list={"value": [seconds_of(value)]})
    raise UnreadableValueError("expected text, a list of text, a fraction or a moment", value)


def _number(value: float | None) -> float:
    """A number in a list, NaN where it is missing: it keeps its place."""
    number = None if value is None or math.isnan(value) else number_of(value)
    return math.nan if number is None else number


def _texts(values: list[str]) -> Message:
    return Feature(bytes_list={"value": [text.encode() for text in values]})
