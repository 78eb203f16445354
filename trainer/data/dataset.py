"""Reads a dataset as batches of column tensors."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from configs import Experiment, InputError
from configs.memory import Memory
from configs.random_streams import Purpose, integer_seed, random_stream
from configs.tensorflow_import import tf
from configs.topics import Topic
from preprocessing.dataset.manifest import ColumnFormat, Manifest, load_manifest
from preprocessing.dataset.record_format import decode_block
from preprocessing.features.fitted import Fitted
from trainer.data.batch_cut import part_of
from trainer.data.key_columns import KeyColumns
from trainer.data.known_labels import KnownLabels
from trainer.data.raw_columns import RAW, RawColumns
from trainer.data.row_weights import WEIGHT, check_weights
from trainer.data.side_column import SideColumn
from trainer.data.topic_columns import TopicColumns
from trainer.distribution.workers import ALONE, Workers
from trainer.target_rows import KNOWN, REQUEST

_INTERLEAVED_FILES = 16
_SHUFFLED_BLOCKS = 256  # blocks drawn from at a time, before the rows of the drawn blocks are mixed
_SHUFFLED_ROWS = 65_536
_SHUFFLED_FILES = 8
_MOST_ROWS = 1 << 62  # of a buffer of whole files: all of them

_CUT_BY = (RAW, "topic/")
"""What the names of the record columns begin with that topics and memory alone are read from."""

Columns = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Dataset:
    """A finished dataset: its folder, manifest and fitted transform, the topics by which its rows
    are cut, the keys of memory and the late labels that they have, the column that sample weights
    are from, if they are from any, whether the rows of a request are learned from together, and the
    raw columns that batches hold as they are.
    """

    folder: Path
    manifest: Manifest
    fitted: Fitted
    topics: TopicColumns
    keys: KeyColumns
    known: KnownLabels
    weight: str | None = None
    side: SideColumn | None = None
    in_requests: bool = False
    raw: tuple[str, ...] = ()

    @classmethod
    def open(
        cls,
        folder: Path,
        experiment: Experiment,
        topics: Mapping[str, Topic] | None = None,
        memory: Memory | None = None,
    ) -> "Dataset":
        """Opens a dataset and checks that it was built for this experiment. Raises
        ``InputError``.

        Args:
          folder: of the dataset.
          experiment: that reads it.
          topics: by which its rows are cut; the experiment's where None.
          memory: whose keys its rows are to have; none where None.
        """
        manifest = load_manifest(folder)
        manifest.check_transform_files(folder)
        fitted = Fitted.load(str(folder / "transform"))
        if fitted.digest != manifest.transform_digest:
            raise InputError(
                f"{folder}/transform: does not match the manifest (sha256); run preprocessing.task"
                " again"
            )
        fitted.check_matches(experiment, str(folder))
        older = experiment.data_digest_with(json.loads(fitted.settings))
        if manifest.data_digest not in (experiment.data_digest, older):
            raise InputError(
                f"{folder}: built from other data, tasks or splits settings than this config's; run"
                " preprocessing.task again"
            )
        wanted = experiment.topics if topics is None else topics
        raw = RawColumns(folder, manifest)
        topic_columns = TopicColumns(raw, manifest.dictionaries is None, fitted, wanted)
        return cls(
            folder,
            manifest,
            fitted,
            topic_columns,
            KeyColumns(raw, memory),
            KnownLabels(experiment.known_before),
            experiment.data.weight,
            in_requests=experiment.tasks.learned_in_requests,
        )

    def keeping(self, raw: Iterable[str]) -> "Dataset":
        """The same dataset, whose batches hold these of its raw columns, too: ``raw/COLUMN``, codes
        or numbers (``trainer.data.raw_columns.RawColumns``).
        """
        return replace(self, raw=tuple(raw))

    def rows(self, split: str) -> int:
        """Rows of a split. Raises ``InputError`` where there are none."""
        self.manifest.check_splits(self.folder, [split])
        return self.manifest.splits[split].rows

    def tell_unknown(self, *splits: str, learned: bool = False) -> None:
        """Says of how many rows of splits a label is not known yet. Raises ``InputError`` where it
        is of all, and these are learned from.
        """
        for split in splits if self.known.columns else ():
            young = dict.fromkeys(self.known.columns, 0)
            for columns in self.batches(
                split, _SHUFFLED_ROWS, wanted=self.known.columns.__contains__
            ):
                for name, values in columns.items():
                    young[name] += int((values == 0).sum())
            rows = self.rows(split)
            for name, count in young.items():
                said = (
                    f"{self.folder}: {count:,} of {rows:,} rows of split '{split}' carry no"
                    f" '{name.removeprefix(KNOWN)}' yet (tasks.*.matured_after)"
                )
                if count == rows and learned:
                    raise InputError(f"{said}; expected some; give data.as_of, or older rows")
                if count:
                    print(f"note: {said}", file=sys.stderr)

    @property
    def columns(self) -> dict[str, ColumnFormat]:
        """Every column of a batch, and its format: the records', with topics and keys of memory in
        the place of what they are read from.
        """
        raw = {f"{RAW}{column}" for column in self.raw}
        kept = {
            name: column
            for name, column in self.manifest.columns.items()
            if name in raw or not name.startswith(_CUT_BY)
        }
        return kept | self.topics.columns | self.keys.columns | self.known.columns

    def shuffled_batches(
        self, split: str, batch_size: int, seed: int, epoch: int = 0, workers: Workers = ALONE
    ) -> tf.data.Dataset:
        """One epoch of a split in an order that is a function of seed, epoch and TensorFlow's
        global seed; the last batch may be smaller.

        Files are interleaved, blocks shuffled among ``_SHUFFLED_BLOCKS``, and rows mixed inside
        buffers of ``_SHUFFLED_ROWS``. Where a loss is of requests, whole files are read, of which
        each holds all that it has of a request, ``_SHUFFLED_FILES`` together, and their requests
        are mixed: a request's rows are in one batch, but for one on each of its borders.

        Of several workers each reads all rows and keeps its part of every batch
        (``trainer.data.batch_cut``), so that batches are the same, whatever their number is.
        """
        paths = self._paths(split)
        order = random_stream(seed, Purpose.FILE_ORDER, epoch).permutation(paths)
        beside = dict(zip(paths, self._side_paths(split), strict=False))
        files = tf.data.Dataset.from_tensor_slices(
            (order, [beside[path] for path in order]) if beside else (order,)
        )
        of_rows = integer_seed(seed, Purpose.ROW_ORDER, epoch)

        def mix(index: tf.Tensor, columns: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            drawn_by = tf.stack([tf.constant(of_rows, tf.int64), index])
            order = _shuffled(columns, drawn_by, in_requests=self.in_requests)
            return {name: tf.gather(column, order) for name, column in columns.items()}

        buffers = (
            self._whole_files(files)
            if self.in_requests
            else self._interleaved(files, integer_seed(seed, Purpose.BLOCK_ORDER, epoch))
        )
        batches = (
            buffers.enumerate()
            .map(mix, num_parallel_calls=2, deterministic=True)
            .rebatch(batch_size)
        )
        if workers.size > 1:
            batches = batches.map(lambda whole: part_of(whole, workers, self.in_requests))
        return batches.prefetch(4)

    def _interleaved(self, files: tf.data.Dataset, seed: int) -> tf.data.Dataset:
        """Buffers of rows of blocks that are drawn from many files."""
        records = files.interleave(
            lambda *paths: _records(1 << 20, *paths),
            cycle_length=_INTERLEAVED_FILES,
            num_parallel_calls=2,
            deterministic=True,
        )
        blocks = records.shuffle(_SHUFFLED_BLOCKS, seed=seed)
        return self._decode(blocks).rebatch(_SHUFFLED_ROWS)

    def _whole_files(self, files: tf.data.Dataset) -> tf.data.Dataset:
        """Buffers of all rows of some files."""
        return files.window(_SHUFFLED_FILES).flat_map(
            lambda *windows: self._decode(
                (windows[0] if len(windows) == 1 else tf.data.Dataset.zip(windows)).flat_map(
                    lambda *paths: _records(1 << 20, *paths)
                )
            ).rebatch(_MOST_ROWS)
        )

    def batches(
        self,
        split: str,
        batch_size: int,
        every: int = 1,
        wanted: Callable[[str], bool] | None = None,
    ) -> Iterator[Columns]:
        """A split in the order of its files, as NumPy columns.

        Args:
          split: its name.
          batch_size: rows of a batch.
          every: of its blocks of rows every ``every``-th alone.
          wanted: which columns, by name; nothing else is read. None for all of them.
        """
        beside = self._side_paths(split) if wanted is None or self._wants_side(wanted) else []
        records = _records(1 << 22, self._paths(split), *([beside] if beside else []))
        blocks = self._decode(records.shard(every, 0), wanted)
        return iter(blocks.rebatch(batch_size).prefetch(4).as_numpy_iterator())

    def blocks(self, split: str) -> Iterator[tuple[int, Columns]]:
        """A split in the order of its files, block by block: number of the file, from 0, and the
        block's columns.
        """
        for number, path in enumerate(self._paths(split)):
            for columns in self._decode(_records(1 << 22, [path])).prefetch(4).as_numpy_iterator():
                yield number, columns

    def _decode(
        self, records: tf.data.Dataset, wanted: Callable[[str], bool] | None = None
    ) -> tf.data.Dataset:
        """Columns of blocks, of ``_records`` of the split's files and, where they are beside these,
        of the side column's.
        """
        names = [name for name in self.columns if wanted is None or wanted(name)]
        readers = [
            reader
            for reader in (self.topics, self.keys, self.known)
            if any(name in reader.columns for name in names)
        ]
        read = set(names).union(*(reader.read for reader in readers))
        formats = {name: held for name, held in self.manifest.columns.items() if name in read}

        def decode(record: tf.Tensor, *beside: tf.Tensor) -> dict[str, tf.Tensor]:
            found = decode_block(record, formats)
            for reader in readers:
                found |= reader.of(found)
            columns = {name: found[name] for name in names}
            if beside and self.side:
                columns |= decode_block(beside[0], {self.side.name: self.side.format})
            return columns

        return records.map(decode, num_parallel_calls=2, deterministic=True)

    def _wants_side(self, wanted: Callable[[str], bool]) -> bool:
        return self.side is not None and wanted(self.side.name)

    def _side_paths(self, split: str) -> list[str]:
        """Files of the side column, one for each of the split's; empty where it has none."""
        return [str(path) for path in self.side.files.get(split, ())] if self.side else []

    def _paths(self, split: str) -> list[str]:
        """A split's files, which are what the manifest lists: counts are then right, too."""
        self.manifest.check_splits(self.folder, [split])
        self.manifest.check_split_files(self.folder, split)
        paths = [str(self.folder / entry.path) for entry in self.manifest.splits[split].files]
        if self.weight is not None:
            where = f"{self.folder}: split '{split}'"
            check_weights(paths, self.manifest.columns[WEIGHT], self.weight, where)
        return paths


def _shuffled(columns: dict[str, tf.Tensor], seed: tf.Tensor, *, in_requests: bool) -> tf.Tensor:
    """An order of rows, int32 ``[N]``, by chance; or of their requests, each row beside the others
    of its own.
    """
    if not in_requests:
        n_rows = tf.shape(columns["row/weight"])[0]
        return tf.random.experimental.stateless_shuffle(tf.range(n_rows), seed=seed)
    distinct, places = tf.unique(columns[REQUEST])
    order = tf.random.experimental.stateless_shuffle(tf.range(tf.size(distinct)), seed=seed)
    return tf.argsort(tf.gather(order, places), stable=True)


def _records(buffer_size: int, *paths: Any) -> tf.data.Dataset:
    """Records of files; of several files side by side, together."""
    opened = [tf.data.TFRecordDataset(path, buffer_size=buffer_size) for path in paths]
    return opened[0] if len(opened) == 1 else tf.data.Dataset.zip(*opened)
