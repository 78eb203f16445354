"""Works out the keys of memory of a dataset's rows from the raw columns that it holds."""

from collections.abc import Mapping

from configs import InputError
from configs.memory import Memory
from configs.tensorflow_import import tf
from preprocessing.dataset.manifest import ColumnFormat
from preprocessing.features.key_hashes import PREFIX, hash_keys, hash_text
from trainer.data.raw_columns import RAW, RawColumns


class KeyColumns:
    """The keys of one reader.

    Args:
      raw: columns of the dataset.
      memory: that is wanted; None for none.

    Attributes:
      columns: of hashes, ``memory/NAME``, and their format.
      read: names of the record columns that are needed.

    Raises:
      InputError: the dataset does not hold a column of a key, or not as text.
    """

    def __init__(self, raw: RawColumns, memory: Memory | None) -> None:
        self._memory = memory
        keys = memory.keys if memory else ()
        self.columns = {f"{PREFIX}{name}": ColumnFormat(dtype="int64") for name in keys}
        columns = memory.columns if memory else ()
        for column in columns:
            _check(raw, column)
        self.read = {f"{RAW}{column}" for column in columns}
        self._tables = {
            column: hash_text(tf.constant(["", *raw.dictionary(column)])) for column in columns
        }

    def of(self, columns: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """``memory/NAME`` of rows, int64 ``[N]``; 0 where a row has no such key."""
        if self._memory is None:
            return {}
        hashes = {
            column: tf.gather(table, columns[f"{RAW}{column}"])
            for column, table in self._tables.items()
        }
        return hash_keys(self._memory, hashes)


def _check(raw: RawColumns, column: str) -> None:
    form = raw.form(column)
    if form is None:
        raise InputError(raw.missing("memory", column, "memory"))
    if form != "string":
        raise InputError(
            f"{raw.folder}: memory reads column '{column}' as text; the dataset holds"
            f" {'lists of text' if form == 'strings' else 'numbers'}"
        )
