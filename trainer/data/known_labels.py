"""Works out which of a dataset's rows carry the labels that are known only after a time."""

from collections.abc import Mapping
from datetime import datetime

from configs.tensorflow_import import tf
from preprocessing.dataset.manifest import ColumnFormat
from trainer.target_rows import KNOWN

_MOMENT = "row/timestamp"


class KnownLabels:
    """Which rows carry the labels that are known only after a time.

    Args:
      known_before: of the experiment.

    Attributes:
      columns: ``known/LABEL``, and their format.
      read: names of the record columns that are needed.
    """

    def __init__(self, known_before: Mapping[str, datetime]) -> None:
        self._limits = {
            f"{KNOWN}{label}": int(moment.timestamp()) for label, moment in known_before.items()
        }
        self.columns = {name: ColumnFormat(dtype="float32") for name in self._limits}
        self.read = {_MOMENT} if self._limits else set[str]()

    def of(self, columns: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """``known/LABEL`` of rows, float32 ``[N]``: 1, or 0 where the row is too young."""
        return {
            name: tf.cast(columns[_MOMENT] < tf.cast(limit, columns[_MOMENT].dtype), tf.float32)
            for name, limit in self._limits.items()
        }
