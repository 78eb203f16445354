"""Gives rows of a dataset what they remember, and a job the memory that it serves: from the
dataset's labels, and from what the job remembers of the time before them.
"""

import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from configs import Experiment
from configs.memory import Memory
from configs.schema import Split
from preprocessing.features.key_hashes import PREFIX
from trainer.backbone.frozen_pass import BackboneOutputs
from trainer.backbone.model import TASKS
from trainer.backbone.stored_taps import split_columns
from trainer.data.dataset import Columns, Dataset
from trainer.memory.counts import (
    Counts,
    LabelledRows,
    border_before,
    border_moment,
    counts_at,
    rates_when_read,
)
from trainer.memory.memory_store import MemoryStore, StoredMemory

_HOUR = 3_600


@dataclass(frozen=True)
class RowMemory:
    """What one reader of a dataset remembers.

    Attributes:
      experiment: names labels and splits.
      dataset: opened with the memory, so that its rows have keys.
      store: of the job.
      memory: the definition.
    """

    experiment: Experiment
    dataset: Dataset
    store: MemoryStore
    memory: Memory

    def of(self, rows: Mapping[str, BackboneOutputs]) -> dict[str, BackboneOutputs]:
        """The rows of splits, each with what it read at the last refresh before its request.

        What counts is in the dataset's rows of all splits, up to the last of these, and in the
        newest memory of the job that is not younger than the first of them.
        """
        end = max(self.experiment.splits[name].end for name in rows)
        moments = [of.columns["row/timestamp"] for of in rows.values()]
        first = min(int(found.min()) for found in moments)
        border = int(border_before(self.memory, np.array(first)))
        base = self.store.newest_at(self.memory, border)
        splits = [
            name
            for name, split in self.experiment.splits.items()
            if name in rows or split.start < end
        ]
        every, places = self._labelled(splits, base, rows)
        if base is None and int(every.moments.min()) >= first:
            self._tell_empty(first)
        asked = np.zeros(len(every.moments), bool)
        for name in rows:
            asked[places[name]] = True
        read = rates_when_read(self.memory, base.counts if base else None, every, asked)
        found = np.zeros((len(asked), read.shape[1]), np.float32)
        found[asked] = read
        return {name: replace(of, memory=found[places[name]]) for name, of in rows.items()}

    def serve(self, splits: Collection[str]) -> None:
        """Stores what counts at the end of splits, with all that came before them, and serves it,
        unless what is served is as young.
        """
        ends = max(self.experiment.splits[name].end for name in splits)
        starts = min(self.experiment.splits[name].start for name in splits)
        every = [name for name, split in self.experiment.splits.items() if split.end <= ends]
        first = int(border_before(self.memory, np.array(int(starts.timestamp()))))
        counts = self.refreshed(every, self.store.newest_at(self.memory, first))
        served = self.store.served_or_none(self.memory)
        if counts is not None and (served is None or served.counts.border < counts.border):
            self.store.add(self.memory, counts)

    def refreshed(self, splits: Collection[str], base: StoredMemory | None) -> Counts | None:
        """What counts at the end of splits, on top of ``base``; None where that is not after it."""
        end = max(self.experiment.splits[name].end for name in splits).timestamp()
        every, _ = self._labelled(splits, base, {})
        if not len(every.moments):
            return None
        ends = np.array([int(end), int(every.moments.max())])
        last, after = border_before(self.memory, ends).tolist()
        border = min(last, after + 1)  # a split may end long after its last row
        if base is not None and border <= base.counts.border:
            return None
        return counts_at(self.memory, base.counts if base else None, every, border)

    def _labelled(
        self,
        splits: Collection[str],
        base: StoredMemory | None,
        known: Mapping[str, BackboneOutputs],
    ) -> tuple[LabelledRows, dict[str, slice]]:
        """The rows of splits, and where each split's are; what counts already counts 0, and hours
        that neither counts are told.

        Args:
          splits: names.
          base: whose counts come before; splits that it counts whole are left out.
          known: splits whose columns have been read.
        """
        until = border_moment(self.memory, base.counts.border) if base else None
        delay = self.memory.delay_hours * _HOUR
        parts: list[LabelledRows] = []
        places: dict[str, slice] = {}
        before: list[Split] = []
        start = 0
        for name in sorted(splits, key=lambda name: self.experiment.splits[name].start):
            split, held = self.experiment.splits[name], self.dataset.manifest.splits.get(name)
            counted = until is not None and split.end.timestamp() + delay <= until
            if held is None or not held.rows or (counted and name not in known):
                continue
            of_split = known[name].columns if name in known else self._read(name)
            part = self._rows_of(of_split, before)
            places[name] = slice(start, start + len(part.moments))
            start = places[name].stop
            parts.append(part)
            before.append(split)
        every = _joined(parts, self.memory)
        if base is not None:
            if before:
                self._tell_gap(base, before[0].start)
            again = every.known_at(self.memory) <= base.counts.border
            every = every.without_counts(again)
        return every, places

    def _read(self, split: str) -> Columns:
        names = {"row/timestamp", "row/request", "row/weight"}
        names |= {f"label/{label}" for label in self.experiment.label_columns}
        return split_columns(
            self.dataset, split, lambda name: name in names or name.startswith(PREFIX)
        )

    def _rows_of(self, columns: Columns, before: Collection[Split]) -> LabelledRows:
        """A split's rows; those that an earlier split has, too, count there."""
        weights = columns["row/weight"].astype(np.float64)
        inside, positive = [], []
        for task in TASKS:
            settings = getattr(self.experiment.tasks, task)
            space = (
                np.ones(len(weights), bool)
                if settings.space == "all"
                else columns[f"label/{settings.space}"].astype(bool)
            )
            inside.append(weights * space)
            positive.append(inside[-1] * columns[f"label/{settings.label}"].astype(bool))
        moments = columns["row/timestamp"].astype(np.int64)
        twice = np.zeros(len(moments), bool)
        for split in before:
            start, end = split.start.timestamp(), split.end.timestamp()
            twice |= (moments >= start) & (moments < end)
        keys = {name: columns[f"{PREFIX}{name}"].astype(np.int64) for name in self.memory.keys}
        requests = columns["row/request"].astype(np.int64)
        rows = LabelledRows(moments, requests, keys, np.stack([*inside, *positive], axis=1))
        return rows.without_counts(twice)

    def _tell_empty(self, first: int) -> None:
        """Says that the first rows remember nothing."""
        start = datetime.fromtimestamp(first, UTC)
        print(
            f"warning: memory begins with the rows of {start:%Y-%m-%d %H:%M}Z: neither"
            f" {self.dataset.folder} nor {self.store.folder} holds any before them, so the first of"
            " them remember nothing",
            file=sys.stderr,
        )

    def _tell_gap(self, base: StoredMemory, first: datetime) -> None:
        """Says where rows were not known at the last refresh and are not in the dataset, either.

        Args:
          base: what was counted last.
          first: moment from which on the dataset has rows.
        """
        since = base.until - timedelta(hours=self.memory.delay_hours)
        if first > since:
            print(
                f"warning: rows of {self.dataset.folder} begin at {first:%Y-%m-%d %H:%M}Z, and"
                f" version {base.version} of memory counts those before {since:%Y-%m-%d %H:%M}Z;"
                " rows between them are remembered by nobody",
                file=sys.stderr,
            )


def _joined(parts: list[LabelledRows], memory: Memory) -> LabelledRows:
    def join(arrays: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
        return np.concatenate(arrays) if arrays else np.empty(0, np.int64)

    width = 2 * len(TASKS)
    return LabelledRows(
        join([part.moments for part in parts]),
        join([part.requests for part in parts]),
        {name: join([part.keys[name] for part in parts]) for name in memory.keys},
        np.concatenate([part.counts for part in parts]) if parts else np.empty((0, width)),
    )
