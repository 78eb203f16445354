"""Refuses sample weights that nothing can be learned from or judged by."""

from collections.abc import Sequence

from configs import InputError
from configs.tensorflow_import import tf
from preprocessing.dataset.manifest import ColumnFormat
from preprocessing.dataset.record_format import decode_block

WEIGHT = "row/weight"
LARGEST_TOTAL = 1e30
"""Of a split's weights: float32 holds sums of this much, times any loss."""

_checked: set[tuple[str, ...]] = set()


def check_weights(paths: Sequence[str], form: ColumnFormat, column: str, where: str) -> None:
    """Reads the weights of a split, once a process.

    Args:
      paths: the split's files.
      form: of the weights' column.
      column: of the logs, for the message.
      where: dataset and split, for the message.

    Raises:
      InputError: every weight is 0, or they are too large to be summed.
    """
    if tuple(paths) in _checked:
        return
    total = 0.0
    for record in tf.data.TFRecordDataset(list(paths), buffer_size=1 << 22):
        weights = decode_block(record, {WEIGHT: form})[WEIGHT]
        total += float(tf.reduce_sum(tf.cast(weights, tf.float64)))
    if not total:
        raise InputError(
            f"{where}: every sample weight (data.weight, column '{column}') is 0, so that no row"
            " counts; leave data.weight out, or mend the column"
        )
    if not abs(total) <= LARGEST_TOTAL:
        raise InputError(
            f"{where}: the sample weights (data.weight, column '{column}') sum to {total:.1e};"
            f" expected at most {LARGEST_TOTAL:.0e}: scale them down"
        )
    _checked.add(tuple(paths))
