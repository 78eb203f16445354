"""Defines the record format: one ``tf.Example`` holds a block of rows, one bytes value a column.

A column is the little-endian memory of an array ``[rows]`` or ``[rows, length]``; dtype and length
stand in the manifest's ``columns``. Blocks instead of rows because encoding a row at a time in
Python is the wall of the whole pipeline, and parsing one the wall of training. Any TFRecord reader
opens the files; ``decode_block`` is the reader.

Columns: ``feature/NAME`` (ids or numbers), ``label/COLUMN`` (0.0 or 1.0), ``raw/COLUMN`` (what
topics may read, whatever topics there are: int32 codes of text ``[rows]``, or of the different
members of lists ``[rows, length]``, by the dictionaries that the manifest lists, 0 where missing;
float32 numbers, NaN where missing), ``row/weight``, ``row/timestamp`` (seconds), ``row/request``
and ``row/user`` (64-bit fingerprints), ``row/truth`` (fingerprint of the key of the true
probabilities, where the config names one).
"""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from configs.tensorflow_import import tf
from preprocessing.dataset.manifest import ColumnFormat

BLOCK_ROWS = 1024

Columns = dict[str, npt.NDArray[np.generic]]
"""Column name -> array ``[rows]`` or ``[rows, length]``."""


def column_formats(columns: Columns) -> dict[str, ColumnFormat]:
    """The formats of the columns of a batch, as the manifest lists them."""
    return {
        name: ColumnFormat(
            dtype=array.dtype.name, length=array.shape[1] if array.ndim == 2 else None
        )
        for name, array in columns.items()
    }


def encode_blocks(columns: Columns, block_rows: int = BLOCK_ROWS) -> Iterator[bytes]:
    """Serialises columns of equal first dimension as blocks of at most ``block_rows`` rows."""
    rows = len(next(iter(columns.values())))
    for start in range(0, rows, block_rows):
        example = tf.train.Example()
        for name, array in columns.items():
            part = np.ascontiguousarray(array[start : start + block_rows])
            little = part.astype(part.dtype.newbyteorder("<"), copy=False)
            example.features.feature[name].bytes_list.value.append(little.tobytes())
        yield example.SerializeToString(deterministic=True)


def decode_block(record: tf.Tensor, formats: Mapping[str, ColumnFormat]) -> dict[str, tf.Tensor]:
    """Parses one record (a scalar string tensor) into column tensors ``[rows]`` or ``[rows,
    length]``; runs inside ``tf.data``.
    """
    spec = {name: tf.io.FixedLenFeature([], tf.string) for name in formats}
    parsed = tf.io.parse_single_example(record, spec)
    decoded = {}
    for name, column in formats.items():
        flat = tf.io.decode_raw(parsed[name], tf.as_dtype(column.dtype), little_endian=True)
        decoded[name] = flat if column.length is None else tf.reshape(flat, [-1, column.length])
    return decoded
