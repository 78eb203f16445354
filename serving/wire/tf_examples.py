"""Raw rows as ``tf.Example``, which the signature ``examples`` takes."""

import math
from collections.abc import Mapping

from google.protobuf.message import Message

from serving.wire.messages import Example, Feature

EXAMPLES = "examples"
"""The signature's name, and its input's."""


def example(row: Mapping[str, object]) -> bytes:
    """A serialized ``tf.Example`` of a raw row; what is missing in the row (null, empty text, NaN)
    is left out.

    Args:
      row: text, lists of text, fractions (float) and whole numbers (int: timestamps) by column
        name.
    """
    features = {
        name: feature for name, value in row.items() if (feature := _feature(value)) is not None
    }
    return bytes(Example(features={"feature": features}).SerializeToString())


def _feature(value: object) -> Message | None:
    if isinstance(value, str):
        return _texts([value]) if value else None
    if isinstance(value, list | tuple):
        return _texts([text for text in value if text])
    if isinstance(value, int):
        return Feature(int64_list={"value": [value]})
    if isinstance(value, float) and not math.isnan(value):
        return Feature(float_list={"value": [value]})
    return None


def _texts(values: list[str]) -> Message:
    return Feature(bytes_list={"value": [text.encode() for text in values]})
