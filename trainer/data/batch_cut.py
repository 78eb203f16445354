"""Cuts a batch into the parts that workers learn."""

from configs.tensorflow_import import tf
from trainer.distribution.workers import Workers
from trainer.target_rows import REQUEST

PLACE = "batch/place"
"""Column of a part of a batch that is no row's: the number of its first row in the batch, and how
many rows the batch has, int32 ``[2]``. Whole batches lack it.
"""


def part_of(
    columns: dict[str, tf.Tensor], workers: Workers, in_requests: bool
) -> dict[str, tf.Tensor]:
    """A worker's part of a batch: of all parts together each row is in one.

    Args:
      columns: of the batch, ``[N]`` each.
      workers: who shares it, and which part is wanted.
      in_requests: whether the rows of a request, which stand side by side, stay together.

    Returns:
      The columns of the part, and ``PLACE``; the batch itself where one process learns alone. Parts
      differ by a row at most, or by a request; some may be empty.
    """
    if workers.size == 1:
        return columns
    rows = tf.shape(columns["row/weight"])[0]
    borders = tf.stack([rows * rank // workers.size for rank in (workers.rank, workers.rank + 1)])
    if in_requests:
        requests = columns[REQUEST]
        begin = tf.cast(tf.where(requests[1:] != requests[:-1])[:, 0], tf.int32) + 1
        begin = tf.concat([[0], begin, [rows]], 0)
        borders = tf.gather(begin, tf.searchsorted(begin, borders))
    part = {name: column[borders[0] : borders[1]] for name, column in columns.items()}
    return part | {PLACE: tf.stack([borders[0], rows])}
