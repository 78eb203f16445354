"""Counts the values of features that have vocabularies, in partitions by a hash of the value, each
of which one worker goes through by itself.

What is counted travels in files, as the keys of duplicates do: a local runner would keep all it is
given in memory. A worker holds the values of its part of the rows until there are too many, then
those of one partition, then blocks of each partition's most frequent ones.
"""

import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindows

from configs import Experiment
from configs.features.settings import Vocabulary
from preprocessing import filesystem
from preprocessing.features.fitted import vocabulary_file
from preprocessing.features.partitioned_counts import BLOCK, cut_by_hash, merge_runs
from preprocessing.features.statistics import vocabulary_statistics
from preprocessing.features.value_counts import ValueCounts, as_bytes, from_bytes
from preprocessing.features.value_list import as_lines
from preprocessing.logs.files import Piece
from preprocessing.validation.row_checks import CheckedBatch
from preprocessing.validation.splits import rows_of_splits

_ROWS_OF_A_PARTITION = 500_000  # of the logs; a row has a few values
_MOST_PARTITIONS = 256
_VALUES_IN_MEMORY = 1 << 21  # distinct ones of all features together; some hundred bytes each

_EVERY = Vocabulary(min_count=1, max_size=2**31 - 2)  # as many as an id of a value can tell apart

Range = tuple[int, int]

PartOfCounts = tuple[str, int, int]
"""A file of counts, and the range in it that one partition has."""

Run = tuple[str, Mapping[str, Sequence[Range]]]
"""A file of one partition's counts, most frequent first, and where each feature's blocks are."""


def partitions_for(rows: int) -> int:
    """How many partitions logs of about so many rows are cut into. The vocabularies are the same
    whatever the number; few rows are done sooner in one.
    """
    return min(_MOST_PARTITIONS, 1 + rows // _ROWS_OF_A_PARTITION)


def runs_of_values(
    checked: beam.PCollection,
    pieces: tuple[Piece, ...],
    experiment: Experiment,
    folder: str,
    every: bool,
) -> beam.PCollection:
    """The values that vocabularies may hold, as ``FitTransform`` takes them; ``every`` value of
    the rows where vocabularies are grown.
    """
    folder = filesystem.join(folder, "counts")
    partitions = partitions_for(sum(piece.rows for piece in pieces))
    return (
        checked
        | "CountValues"
        >> beam.ParDo(CountValues(experiment, folder, partitions)).with_output_types(
            tuple[int, Any]
        )
        | "GroupPartitions" >> beam.GroupByKey()
        | "PrunePartition" >> beam.ParDo(PrunePartition(experiment, folder, every))
    )


class CountValues(beam.DoFn):
    """``CheckedBatch`` -> (partition, where counts are of its values in the rows that are fitted
    on).
    """

    def __init__(self, experiment: Experiment, folder: str, partitions: int) -> None:
        self._experiment = experiment
        self._folder = folder
        self._partitions = partitions

    def start_bundle(self) -> None:
        """Begins a part."""
        self._counted = vocabulary_statistics(self._experiment)

    def process(self, checked: CheckedBatch) -> Iterator[tuple[int, PartOfCounts]]:
        """Counts one batch."""
        rows = rows_of_splits(checked.rows, self._experiment, self._experiment.fitted_on)
        if rows is None:
            return
        for statistic in self._counted.values():
            statistic.add(rows)
        if self._held() > _VALUES_IN_MEMORY:
            for statistic in self._counted.values():
                statistic.compact()
            if 2 * self._held() > _VALUES_IN_MEMORY:
                yield from self._write()

    def finish_bundle(self) -> Iterator[Any]:
        """Writes what is left."""
        yield from map(GlobalWindows.windowed_value_at_end_of_window, self._write())

    def _held(self) -> int:
        return sum(statistic.counts.held() for statistic in self._counted.values())

    def _write(self) -> Iterator[tuple[int, PartOfCounts]]:
        if not self._held():
            return
        tables = [
            cut_by_hash(statistic.counts.table(), self._partitions)
            for statistic in self._counted.values()
        ]
        self.start_bundle()
        path = filesystem.join(self._folder, f"{uuid.uuid4().hex}.counts")
        parts = [as_bytes(of_features) for of_features in zip(*tables, strict=True)]
        filesystem.write_parts(path, parts)
        bounds = np.cumsum([0, *map(len, parts)]).tolist()
        for partition, of_features in enumerate(zip(*tables, strict=True)):
            if any(map(len, of_features)):
                yield partition, (path, bounds[partition], bounds[partition + 1])


class PrunePartition(beam.DoFn):
    """One partition's counts -> the values of each feature that may be in its vocabulary, or
    ``every`` value.
    """

    def __init__(self, experiment: Experiment, folder: str, every: bool) -> None:
        self._experiment = experiment
        self._folder = folder
        self._every = every

    def process(self, element: tuple[int, Iterable[PartOfCounts]]) -> Iterator[Run]:
        """Adds the partition's counts up."""
        counted = vocabulary_statistics(self._experiment)
        for part in element[1]:
            for statistic, table in zip(counted.values(), _read(*part), strict=True):
                statistic.counts.add_counts(table)
        if self._every:
            for statistic in counted.values():
                statistic.kept = _EVERY
        blocks: dict[str, list[Range]] = {}
        path = filesystem.join(self._folder, f"{uuid.uuid4().hex}.run")
        filesystem.write_parts(path, _sorted_blocks(counted, blocks))
        yield path, blocks


def write_vocabularies(experiment: Experiment, runs: Sequence[Run], folder: str) -> list[str]:
    """Writes the vocabulary of every feature that has one into ``folder``; gives their names."""
    counted = vocabulary_statistics(experiment)
    for name, statistic in counted.items():
        of_partitions = [_blocks(path, blocks[name]) for path, blocks in runs]
        merged = merge_runs(of_partitions, statistic.kept.max_size)
        lines = (as_lines(block["value"]) for block in merged)
        filesystem.write_parts(filesystem.join(folder, vocabulary_file(name)), lines)
    return list(counted)


def counted_values(experiment: Experiment, runs: Sequence[Run]) -> dict[str, pa.Table]:
    """Of every feature that has a vocabulary the values of runs with their rows, most frequent
    first.
    """
    none = ValueCounts().table()
    return {
        name: pa.concat_tables(
            [none, *merge_runs([_blocks(path, of[name]) for path, of in runs], sys.maxsize)]
        )
        for name in vocabulary_statistics(experiment)
    }


def _sorted_blocks(counted: Mapping[str, Any], blocks: dict[str, list[Range]]) -> Iterator[bytes]:
    """The content of a run, and where the blocks of each feature are in it."""
    end = 0
    for name, statistic in counted.items():
        table = statistic.counts.pruned(statistic.kept.min_count, statistic.kept.max_size)
        statistic.counts = ValueCounts()
        blocks[name] = []
        for start in range(0, len(table), BLOCK):
            content = as_bytes([table.slice(start, BLOCK)])
            blocks[name].append((end, end + len(content)))
            end += len(content)
            yield content


def _blocks(path: str, ranges: Sequence[Range]) -> Iterator[pa.Table]:
    for start, stop in ranges:
        yield from _read(path, start, stop)


def _read(path: str, start: int, stop: int) -> list[pa.Table]:
    with filesystem.open_raw(path) as file:
        file.seek(start)
        return from_bytes(file.read(stop - start))
