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

    def distinct(self) -> int:
        """How many values there are; the empty one is none."""
        values = self.table()["value"]
        return len(values) - int(pc.sum(pc.equal(values, "")).as_py() or 0)

    def values(self) -> tuple[str, ...]:
        """All values but the empty one, most frequent first, ties by value (in the order of code
        points).
        """
        return _in_order(self.table())

    def most_frequent(self, min_count: int, max_size: int) -> tuple[str, ...]:
        """Those in the same order that occur ``min_count`` times, ``max_size`` of them. Left out:
        what a line of a text file cannot hold.
        """
        table = self.table()
        unfit = pc.match_substring_regex(table["value"], "[\\r\\n]")
        often = pc.greater_equal(table["rows"], min_count)
        return _in_order(table.filter(pc.and_(often, pc.invert(unfit))), max_size)

    def _append(self, table: pa.Table) -> None:
        self._waiting.append(table)
        self._waiting_values += len(table)
        if (
            self._waiting_values > max(_WAITING, len(self._merged))
            or len(self._waiting) > _WAITING_BATCHES
        ):
            self.table()


def _in_order(table: pa.Table, most: int | None = None) -> tuple[str, ...]:
    kept = table.filter(pc.not_equal(table["value"], ""))
    kept = kept.sort_by([("rows", "descending"), ("value", "ascending")]).slice(0, most)
    return tuple(kept["value"].to_pylist())
