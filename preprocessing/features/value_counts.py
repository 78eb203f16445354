"""How often every value of a column occurs, in Arrow's memory: a value costs its bytes and
sixteen more, not a Python object.
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

_WAITING = (
    1 << 18
)  # counted values of single batches that wait to be merged, or as many as are merged already
_WAITING_BATCHES = 256
_SCHEMA = pa.schema([("value", pa.large_string()), ("rows", pa.int64())])
_NONE = pa.RecordBatch.from_pylist([], _SCHEMA)


class ValueCounts:
    """Mergeable counts of strings. Memory follows the distinct values, whatever the rows."""

    def __init__(self) -> None:
        self._merged = _SCHEMA.empty_table()
        self._waiting: list[pa.Table] = []
        self._waiting_values = 0

    def add(self, column: pa.Array) -> None:
        """Counts the values of a string column; nulls do not count."""
        values, rows = pc.value_counts(column.drop_null()).flatten()
        self.add_counts(pa.table({"value": values.cast(pa.large_string()), "rows": rows}))

    def merge(self, other: "ValueCounts") -> None:
        """Adds another's counts."""
        self.add_counts(other.table())

    def held(self) -> int:
        """How many values are in memory; those of batches that wait to be merged count again."""
        return len(self._merged) + self._waiting_values

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
        return tuple(in_order(self.table())["value"].to_pylist())

    def most_frequent(self, min_count: int, max_size: int) -> tuple[str, ...]:
        """Those in the same order that occur ``min_count`` times, ``max_size`` of them. Left out:
        what a line of a text file cannot hold.
        """
        return tuple(self.pruned(min_count, max_size)["value"].to_pylist())

    def pruned(self, min_count: int, max_size: int) -> pa.Table:
        """The same values with their counts, as ``table`` gives them."""
        table = self.table()
        unfit = pc.match_substring_regex(table["value"], "[\\r\\n]")
        often = pc.greater_equal(table["rows"], min_count)
        return in_order(table.filter(pc.and_(often, pc.invert(unfit))), max_size)

    def __getstate__(self) -> pa.Buffer:
        """What is pickled: chunks in a row. Arrow would pickle the whole table with each of
        them.
        """
        return as_bytes([self.table()])

    def __setstate__(self, state: pa.Buffer) -> None:
        self.__init__()  # type: ignore[misc]
        (self._merged,) = from_bytes(state)

    def add_counts(self, table: pa.Table) -> None:
        """Adds counts as ``table`` gives them."""
        self._waiting.append(table)
        self._waiting_values += len(table)
        if (
            self._waiting_values > max(_WAITING, len(self._merged))
            or len(self._waiting) > _WAITING_BATCHES
        ):
            self.table()


def in_order(table: pa.Table, most: int | None = None) -> pa.Table:
    """Counts without the empty value, most frequent first, ties by value."""
    kept = table.filter(pc.not_equal(table["value"], ""))
    return kept.sort_by([("rows", "descending"), ("value", "ascending")]).slice(0, most)


def as_bytes(tables: Sequence[pa.Table]) -> pa.Buffer:
    """Counts, one or several of them, as bytes that ``from_bytes`` reads."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, _SCHEMA) as writer:
        for table in tables:
            (batch,) = table.combine_chunks().to_batches() or [_NONE]
            writer.write_batch(batch)
    return sink.getvalue()


def from_bytes(content: bytes | pa.Buffer) -> list[pa.Table]:
    """Reads what ``as_bytes`` wrote."""
    with pa.ipc.open_stream(content) as reader:
        return [pa.Table.from_batches([batch]) for batch in reader]
