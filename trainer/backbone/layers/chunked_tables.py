"""Large tables piece by piece: creating, saving or loading one takes its own memory once and a
piece more (our choice).

A Keras initialiser holds a table three times while it draws it, ``numpy()`` copies it, and a Keras
archive is built in memory before it is written. TensorFlow keeps what it once took from the system,
so the most that was held is what a process goes on taking.
"""

from collections.abc import Iterator, MutableMapping
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.tensorflow_import import tf

PIECE = 1 << 22
"""Weights of a piece (16 MiB of float32). Tables of one piece are drawn and stored as Keras
draws and stores them.
"""


def pieces(rows: int, dimension: int) -> Iterator[tuple[int, int, int]]:
    """Number, first row and end of every piece of a table; one piece at least."""
    step = max(1, PIECE // dimension)
    for number, start in enumerate(range(0, max(rows, 1), step)):
        yield number, start, min(start + step, rows)


def draw_uniform(table: tf.Variable, limit: float, seed: int) -> None:
    """Fills a table ``[rows, dimension]`` with values uniform in +-limit.

    Piece j is drawn with the seed ``[seed, j]``: the first as
    ``keras.initializers.RandomUniform(-limit, limit, seed)`` draws.
    """
    rows, dimension = table.shape
    with tf.init_scope():  # a layer may be built while a graph is traced
        for number, start, stop in pieces(rows, dimension):
            _write(
                table,
                start,
                tf.random.stateless_uniform(
                    (stop - start, dimension), (seed, number), -limit, limit
                ),
            )


def copy_rows(table: tf.Variable, other: tf.Variable, source: npt.NDArray[np.int64]) -> None:
    """Fills a table ``[rows, dimension]`` with rows of another one.

    Args:
      table: that is filled.
      other: ``[others, dimension]``.
      source: ``[rows]``, which of its rows each row is.
    """
    for _, start, stop in pieces(*table.shape):
        _write(table, start, tf.gather(other, source[start:stop]))


def numpy_view(variable: tf.Variable) -> npt.NDArray[Any]:
    """A variable's values without a copy: to be read at once, since the next update may change
    them.
    """
    values: npt.NDArray[Any] = np.asarray(variable.read_value_no_copy())
    return values


def release(variable: tf.Variable) -> None:
    """Frees a variable's values, which must then be restored before anything reads it: a restore
    holds the old values beside the new.
    """
    tf.raw_ops.DisableCopyOnRead(
        resource=variable.handle
    )  # a mode that sparse updates leave, in which an assignment copies what it takes
    tf.raw_ops.AssignVariableOp(
        resource=variable.handle, value=tf.zeros([0], variable.dtype), validate_shape=False
    )


def save_table(table: tf.Variable, store: MutableMapping[str, Any]) -> None:
    """Writes a table into a layer's store, a piece under each of the keys "0", "1", ..."""
    values = numpy_view(table)
    for number, start, stop in pieces(*values.shape):
        store[str(number)] = values[start:stop]


def load_table(table: tf.Variable, store: MutableMapping[str, Any]) -> None:
    """Reads what ``save_table`` wrote, whatever the size of its pieces.

    Raises:
      ValueError: the pieces are not those of a table of this shape; a part of it may be written
        then.
    """
    rows, dimension = table.shape
    start = 0
    for number in range(len(store.keys())):
        values = store[str(number)]
        stop = start + len(values)
        if values.shape[1:] != (dimension,) or stop > rows:
            raise ValueError(
                f"piece {number} of a table of shape {(rows, dimension)}: received shape"
                f" {values.shape} from row {start} on"
            )
        _write(table, start, tf.constant(values))
        start = stop
    if start != rows:
        raise ValueError(f"a table of shape {(rows, dimension)}: received {start} rows")


def _write(table: tf.Variable, start: int, values: tf.Tensor) -> None:
    table.scatter_update(tf.IndexedSlices(values, tf.range(start, start + values.shape[0])))
