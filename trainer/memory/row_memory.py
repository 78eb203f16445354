"""Gives rows of a dataset what they remember, and a job the memory that it serves: from the
dataset's labels, and from what the job remembers of the time before them.
"""

import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from configs import Experiment, InputError
from configs.memory import Memory
from configs.schema import Split
from preprocessing.features.key_hashes import PREFIX
from trainer.backbone.frozen_pass import BackboneOutputs
from trainer.backbone.stored_taps import split_columns
from trainer.data.dataset import Columns, Dataset
from trainer.memory.counts import (
    Counts,
    LabelledRows,
    border_before,
    counts_at,
    rates_when_read,
)
from trainer.memory.memory_store import MemoryStore, StoredMemory

_NIGHT = timedelta(days=1)
_MOST_FORGOTTEN = 0.05
"""Share of the rows whose keys may be forgotten without a word (our choice)."""


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

        What counts is in the dataset's rows of all splits, up to the last of these, and in what the
        job remembered when the first of their requests began.
        """
        end = max(self.experiment.splits[name].end for name in rows)
        splits = [
            name
            for name, split in self.experiment.splits.items()
            if name in rows or split.start < end
        ]
        every, places = self._labelled(splits, rows)
        asked = np.zeros(len(every.moments), bool)
        for name in rows:
            asked[places[name]] = True
        first = int(every.read_at(self.memory)[asked].min())
        base = self.store.newest_at(self.memory, first)
        if gap := self._gap(base, every, places):
            self._warn(gap)
        if base is None and not (every.known_at(self.memory) <= first).any():
            start = min(self.experiment.splits[name].start for name in places)
            self._warn(
                f"memory begins with the rows of {start:%Y-%m-%d %H:%M}Z: neither"
                f" {self.dataset.folder} nor {self.store.folder} holds any before them, so the"
                " first of them remember nothing"
            )
        read = rates_when_read(self.memory, base.counts if base else None, every, asked)
        if not read.any():
            self._warn("no row remembers anything: no refresh lies between rows of a key")
        found = np.zeros((len(asked), read.shape[1]), np.float32)
        found[asked] = read
        return {name: replace(of, memory=found[places[name]]) for name, of in rows.items()}

    def serve(self, splits: Collection[str]) -> None:
        """Stores what counts at the end of splits, on top of what is served and with all that the
        dataset holds of the time before, and serves it; says so where what is served is as young.
        """
        end = max(self.experiment.splits[name].end for name in splits)
        every = [name for name, split in self.experiment.splits.items() if split.end <= end]
        served = self.store.served_or_none(self.memory)
        if not self.refresh(every, served) and served and served.until > end:
            print(
                f"note: memory that is served counts until {served.until:%Y-%m-%d %H:%M}Z, farther"
                " than these rows; it stays as it is",
                file=sys.stderr,
            )

    def refresh(
        self, splits: Collection[str], base: StoredMemory | None, *, gaps: bool = True
    ) -> bool:
        """Stores and serves what counts at the end of splits, on top of what is served. Returns
        whether that is later; nothing is changed where it is not.

        Args:
          splits: names.
          base: what is served; None for nothing.
          gaps: whether rows may be missing between ``base`` and the splits; they are told.

        Raises:
          InputError: rows are missing, and may not be.
        """
        counts = self.counted(splits, base, gaps=gaps)
        if counts is None:
            return False
        for name, held in counts.keys.items():
            if not len(held.hashes):
                self._warn(f"no key of '{name}' is remembered: all of them read nothing")
            elif held.forgotten > _MOST_FORGOTTEN:
                self._warn(
                    f"keys of '{name}' of {held.forgotten:.0%} of the rows, by weight, are"
                    " forgotten (memory.least_rows, memory.most_keys), which kernels were trained"
                    " with"
                )
        self.store.add(self.memory, counts, base, base.version if base else 0)
        return True

    def counted(
        self, splits: Collection[str], base: StoredMemory | None, *, gaps: bool = True
    ) -> Counts | None:
        """What counts at the end of splits, on top of ``base``; None where that is not after it.
        Arguments and errors as of ``refresh``.
        """
        end = max(self.experiment.splits[name].end for name in splits).timestamp()
        later = [
            name
            for name in splits
            if base is None or self.experiment.splits[name].end + self._delay > base.until
        ]
        every, places = self._labelled(later, {})
        if not len(every.moments):
            return None
        ends = np.array([int(end), int(every.moments.max())])
        last, after = border_before(self.memory, ends).tolist()
        border = min(last, after + 1)  # a split may end long after its last row
        if base is not None and border <= base.counts.border:
            return None
        if gap := self._gap(base, every, places):
            if not gaps:
                raise InputError(f"{gap}; give a dataset that holds them, or --allow-gap")
            self._warn(gap)
        counts = counts_at(self.memory, base.counts if base else None, every, border)
        if (every.known_at(self.memory) > border).any():
            return counts
        quiet = int(every.moments.max()) + int(_NIGHT.total_seconds())
        return replace(counts, covers=min(int(end), quiet))

    @property
    def _delay(self) -> timedelta:
        return timedelta(hours=self.memory.delay_hours)

    @property
    def _step(self) -> timedelta:
        return timedelta(hours=self.memory.refresh_hours)

    def _labelled(
        self, splits: Collection[str], known: Mapping[str, BackboneOutputs]
    ) -> tuple[LabelledRows, dict[str, slice]]:
        """The rows of splits that have any, in order of time, and where each split's are.

        Args:
          splits: names.
          known: splits whose columns have been read.
        """
        parts: list[LabelledRows] = []
        places: dict[str, slice] = {}
        before: list[Split] = []
        start = 0
        for name in sorted(splits, key=lambda name: self.experiment.splits[name].start):
            held = self.dataset.manifest.splits.get(name)
            if held is None or not held.rows:
                continue
            of_split = known[name].columns if name in known else self._read(name)
            part = self._rows_of(of_split, before)
            places[name] = slice(start, start + len(part.moments))
            start = places[name].stop
            parts.append(part)
            before.append(self.experiment.splits[name])
        return _joined(parts, self.memory, len(self.experiment.tasks.towers)), places

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
        for task in self.experiment.tasks.towers:
            target = self.experiment.tasks.targets[task]
            space = (
                np.ones(len(weights), bool)
                if target.given is None
                else columns[f"label/{target.given}"].astype(bool)
            )
            inside.append(weights * space)
            positive.append(
                inside[-1]
                * (columns[f"label/{target.label}"].astype(np.float32) > target.threshold)
            )
        moments = columns["row/timestamp"].astype(np.int64)
        twice = np.zeros(len(moments), bool)
        for split in before:
            start, end = split.start.timestamp(), split.end.timestamp()
            twice |= (moments >= start) & (moments < end)
        keys = {name: columns[f"{PREFIX}{name}"].astype(np.int64) for name in self.memory.keys}
        requests = columns["row/request"].astype(np.int64)
        rows = LabelledRows(moments, requests, keys, np.stack([*inside, *positive], axis=1))
        return rows.without_counts(twice)

    def _gap(self, base: StoredMemory | None, rows: LabelledRows, splits: Collection[str]) -> str:
        """Says where rows are neither counted by ``base`` nor in the dataset; empty where none are
        known to be missing: its splits begin where ``base`` ends, and its rows within a day (our
        choice: a quiet night is no gap).
        """
        if base is None or not splits:
            return ""
        since = base.until - self._delay
        if base.counts.covers is not None:
            since = max(since, datetime.fromtimestamp(base.counts.covers, UTC))
        start = min(self.experiment.splits[name].start for name in splits)
        first = datetime.fromtimestamp(int(rows.moments.min()), UTC)
        if start <= since and first <= since + max(_NIGHT, self._step):
            return ""
        return (
            f"rows of {self.dataset.folder} begin at {first:%Y-%m-%d %H:%M}Z, and version"
            f" {base.version} of memory counts those before {since:%Y-%m-%d %H:%M}Z; rows between"
            " them are remembered by nobody"
        )

    def _warn(self, what: str) -> None:
        print(f"warning: {what}", file=sys.stderr)


def _joined(parts: list[LabelledRows], memory: Memory, towers: int) -> LabelledRows:
    def join(arrays: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
        return np.concatenate(arrays) if arrays else np.empty(0, np.int64)

    width = 2 * towers
    return LabelledRows(
        join([part.moments for part in parts]),
        join([part.requests for part in parts]),
        {name: join([part.keys[name] for part in parts]) for name in memory.keys},
        np.concatenate([part.counts for part in parts]) if parts else np.empty((0, width)),
    )
