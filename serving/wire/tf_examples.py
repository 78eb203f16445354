"""Raw rows as ``tf.Example``, which the signature ``examples`` takes."""

import math
from collections.abc import Mapping

import tensorflow as tf

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
    return bytes(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


def _feature(value: object) -> tf.train.Feature | None:
    if isinstance(value, str):
        return _texts([value]) if value else None
    if isinstance(value, list | tuple):
        return _texts([text for text in value if text])
    if isinstance(value, int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    if isinstance(value, float) and not math.isnan(value):
        return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
    return None


def _texts(values: list[str]) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[text.encode() for text in values]))
