"""How often every value of a column occurs, in Arrow's memory: a value costs its bytes and
sixteen more, not a Python object.
"""

import pyarrow as pa
import pyarrow.compute as pc

_WAITING = (
    1 << 18
)  # counted values of single batches that wait to be merged, or as many as are merged already
_WAITING_BATCHES = 256


class ValueCounts:
    """Mergeable counts of strings. Memory follows the distinct values, whatever the rows."""

    def __init__(self) -> None:
        self._merged = pa.table(
            {"value": pa.array([], pa.large_string()), "rows": pa.array([], pa.int64())}
        )
        self._waiting: list[pa.Table] = []
        self._waiting_values = 0

    def add(self, column: pa.Array) -> None:
        """Counts the values of a string column; nulls do not count."""
        values, rows = pc.value_counts(column.drop_null()).flatten()
        self._append(pa.table({"value": values.cast(pa.large_string()), "rows": rows}))

    def merge(self, other: "ValueCounts") -> None:
        """Adds another's counts."""
        self._append(other.table())

    def table(self) -> pa.Table:
        """``value``, ``rows``: every value once, in no order."""
        if self._waiting:
            grouped = (
                pa.concat_tables([self._merged, *self._waiting])
                .group_by("value")
                .aggregate([("rows", "sum")])
            )
            self._merged = grouped.select(["value", "rows_sum"]).rename_columns(["value", "rows"])
            self._waiting, self._waiting_values = [], 0
        return self._merged

    def most_frequent(self, min_count: int, max_size: int) -> tuple[str, ...]:
        """Most frequent first, ties by value (in the order of code points). Left out: what a
        line of a text file cannot hold.
        """
        table = self.table()
        unfit = pc.or_(
            pc.equal(table["value"], ""), pc.match_substring_regex(table["value"], "[\\r\\n]")
        )
        kept = table.filter(pc.and_(pc.greater_equal(table["rows"], min_count), pc.invert(unfit)))
        kept = kept.sort_by([("rows", "descending"), ("value", "ascending")]).slice(0, max_size)
        return tuple(kept["value"].to_pylist())

    def _append(self, table: pa.Table) -> None:
        self._waiting.append(table)
        self._waiting_values += len(table)
        if (
            self._waiting_values > max(_WAITING, len(self._merged))
            or len(self._waiting) > _WAITING_BATCHES
        ):
            self.table()
