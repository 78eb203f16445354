"""The steps of the Beam graph. Their elements are batches; every step is a function of its
element alone, so a retry changes nothing.
"""

import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from configs import Experiment, InputError
from preprocessing import filesystem
from preprocessing.beam import progress
from preprocessing.beam.counters import count
from preprocessing.beam.duplicates import duplicates_path
from preprocessing.beam.pass_summary import Tally
from preprocessing.beam.vocabularies import Run, counted_values, write_vocabularies
from preprocessing.dataset.domain_counts import count_domains
from preprocessing.dataset.golden_requests import draw_requests
from preprocessing.features.batch_columns import BatchColumns
from preprocessing.features.fitted import SETTINGS, Fitted
from preprocessing.features.growth import grown
from preprocessing.features.kept_columns import dictionary_path
from preprocessing.features.statistics import fit
from preprocessing.logs.files import Piece
from preprocessing.logs.readers import RawBatch, read_piece
from preprocessing.logs.schema import LogTable
from preprocessing.validation.row_checks import (
    CheckedBatch,
    first_of_each_rule,
    rejected_rows,
    validate,
)
from preprocessing.validation.splits import split_masks


class ReadPieces(beam.DoFn):
    """``Piece`` -> ``RawBatch``; an unreadable file becomes an error on the output ``errors``,
    so that one run names them all.
    """

    ERRORS = "errors"

    def __init__(self, table: LogTable) -> None:
        self._table = table

    def process(self, piece: Piece) -> Iterator[Any]:
        """Reads one piece."""
        try:
            yield from read_piece(piece, self._table)
        except InputError as error:
            yield beam.pvalue.TaggedOutput(self.ERRORS, Tally(errors={str(error)}))


class CheckRows(beam.DoFn):
    """``RawBatch`` -> ``CheckedBatch`` without the duplicates that an earlier pass found."""

    def __init__(self, experiment: Experiment, duplicates: str, duplicated: frozenset[str]) -> None:
        self._experiment = experiment
        self._duplicates = duplicates
        self._duplicated = duplicated

    def process(self, raw: RawBatch) -> Iterator[CheckedBatch]:
        """Validates one batch."""
        checked = validate(raw, self._experiment)
        if raw.place in self._duplicated:
            positions = np.load(
                io.BytesIO(filesystem.read(duplicates_path(self._duplicates, raw.place))),
                allow_pickle=False,
            )
            checked = checked.without(
                positions, f"duplicate of {', '.join(self._experiment.data.row_key)}"
            )
        yield checked


class CountRows(beam.DoFn):
    """``CheckedBatch`` -> ``Tally`` of its rows."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment

    def process(self, checked: CheckedBatch) -> Iterator[Tally]:
        """Counts one batch."""
        tally = count_rows(checked, self._experiment)
        report(tally)
        yield tally


class FitTransform(beam.DoFn):
    """``Statistics`` without vocabularies, with the ``Run`` of every partition of these beside
    them -> the fitted transform's files, and a ``Tally`` of what kept it from being fitted, or of
    how it has grown.

    Args:
      experiment: what is fitted.
      folder: where the files go.
      grown_from: folder of the transform whose vocabularies are grown; None where there is none.
    """

    def __init__(self, experiment: Experiment, folder: str, grown_from: str | None) -> None:
        self._experiment = experiment
        self._folder = folder
        self._grown_from = grown_from

    def process(self, statistics: Any, runs: Sequence[Run]) -> Iterator[Tally]:
        """Fits and writes."""
        try:
            fitted = fit(self._experiment, statistics)
        except InputError as error:
            yield Tally(fit_errors={str(error)})
            return
        if self._grown_from is not None:
            counts = counted_values(self._experiment, runs)
            new, found = grown(Fitted.load(self._grown_from), self._experiment, counts)
            new.save(self._folder)
            yield Tally(grown=found)
            return
        vocabularies = write_vocabularies(self._experiment, runs, self._folder)
        content = fitted.constants(vocabularies)
        filesystem.write(filesystem.join(self._folder, SETTINGS), content)


class WriteDictionaries(beam.DoFn):
    """``KeptValues`` -> the files of the dictionaries, and the ``Tally`` that lists them."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def process(self, kept: Any) -> Iterator[Tally]:
        """Writes them."""
        tally = Tally()
        for column, values in kept.dictionaries().items():
            path, content = dictionary_path(column), json.dumps(values, indent=0).encode()
            sha256 = filesystem.write(filesystem.join(self._folder, path), content)
            tally.dictionaries[column] = (path, len(values), sha256)
            tally.longest[column] = kept.by_column[column].longest
            tally.cut[column] = kept.by_column[column].cut
        yield tally


class WriteBatches(beam.DoFn):
    """``CheckedBatch`` -> one file a split and one of rejected rows, the ``Tally`` that lists
    them, and, on the output ``profile``, what the batch gives to the profile.

    Args:
      experiment: says what is written.
      folder: where; the fitted transform and the dictionaries are there.
      longest: of every column with a dictionary, the most different values of a row's list.
    """

    PROFILE = "profile"

    def __init__(self, experiment: Experiment, folder: str, longest: dict[str, int]) -> None:
        self._experiment = experiment
        self._folder = folder
        self._longest = longest
        self._transform: Any = None
        self._kept: Any = None

    def setup(self) -> None:
        """Loads the fitted transform and the dictionaries, once a worker."""
        from preprocessing.features.kept_columns import KeptColumns
        from preprocessing.features.transform import Transform

        self._transform = Transform(
            self._experiment, Fitted.load(filesystem.join(self._folder, "transform"))
        )
        self._kept = KeptColumns.load(self._experiment, self._folder, self._longest)

    def process(self, checked: CheckedBatch) -> Iterator[Any]:
        """Transforms and writes one batch."""
        from preprocessing.dataset.tfrecord_writer import batch_columns, split_file
        from preprocessing.features.topic import topics_of_batch
        from preprocessing.profile.counts import count_batch

        tally = count_rows(checked, self._experiment)
        write_rejected(checked, self._folder, tally)
        masks = split_masks(checked.rows, self._experiment)
        inside = np.logical_or.reduce(list(masks.values()))
        if inside.any():
            rows_inside = BatchColumns(checked.rows.filter(pa.array(inside)))
            columns = batch_columns(rows_inside, self._transform, self._kept, self._experiment)
            topics = topics_of_batch(self._experiment.topics, rows_inside)
            tally.formats = {
                name: (array.dtype.name, array.shape[1] if array.ndim == 2 else None)
                for name, array in columns.items()
            }
            splits = {split: np.flatnonzero(mask[inside]) for split, mask in masks.items()}
            seed = f"{checked.raw.source.seed}/{checked.raw.number}"
            counts = count_batch(self._experiment, rows_inside, columns, splits, seed)
            yield beam.pvalue.TaggedOutput(self.PROFILE, counts)
            for split, rows in splits.items():
                if len(rows):
                    path = f"{split}/{checked.raw.key}.tfrecord"
                    content = split_file(columns, rows, seed=f"{seed}/{split}")
                    sha256 = filesystem.write(filesystem.join(self._folder, path), content)
                    tally.files[split] = [(path, len(rows), sha256)]
                    tally.domains[split] = count_domains(columns, topics, rows, self._experiment)
            finetuning = masks[self._experiment.finetune.split]
            tally.golden = draw_requests(checked.rows, finetuning, self._experiment, seed)
        report(tally)
        yield tally


class WriteTally(beam.DoFn):
    """The merged ``Tally`` of a pass -> a JSON file for the command to read; the only thing that
    leaves the graph.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def process(self, tally: Tally) -> None:
        """Writes it."""
        filesystem.write(self._path, tally.to_json())


def report(tally: Tally) -> None:
    """Says that a step is done with a batch: to the command, and to Beam's counters."""
    progress.advance(tally.rows)
    count(tally)


def count_rows(checked: CheckedBatch, experiment: Experiment) -> Tally:
    """Rows of a batch by split and by rule."""
    masks = split_masks(checked.rows, experiment)
    seconds = checked.rows.column(experiment.data.timestamp).to_numpy(zero_copy_only=False)
    labels = {
        name: checked.rows.column(name).to_numpy() > threshold
        for name, threshold in experiment.tasks.thresholds.items()
    }
    return replace(
        count_rejected(checked),
        outside=int(len(seconds) - np.count_nonzero(np.logical_or.reduce(list(masks.values())))),
        splits=Counter({name: int(np.count_nonzero(mask)) for name, mask in masks.items()}),
        positives={
            split: Counter({name: int(values[mask].sum()) for name, values in labels.items()})
            for split, mask in masks.items()
        },
        first=int(seconds.min()) if len(seconds) else None,
        last=int(seconds.max()) if len(seconds) else None,
    )


def count_rejected(checked: CheckedBatch) -> Tally:
    """Rows of a batch, and those that broke a rule."""
    place, path = checked.raw.place, checked.raw.source.path
    return Tally(
        rows=checked.raw.row_count,
        rejected=Counter(rejection.rule for rejection in checked.rejections),
        examples={
            rule: (place, row.row, f"{path} row {row.row}: {row.reason}")
            for rule, row in first_of_each_rule(checked).items()
        },
        json_names=set(checked.raw.names) if checked.raw.source.format == "json" else None,
    )


def write_rejected(checked: CheckedBatch, folder: str, tally: Tally) -> None:
    """Writes the rejected rows of a batch, if there are any, to ``rejected/`` in a folder, and
    lists the file in the batch's tally.
    """
    if checked.rejections:
        path = f"rejected/{checked.raw.key}.jsonl"
        sha256 = filesystem.write(filesystem.join(folder, path), rejected_lines(checked))
        tally.files["rejected"] = [(path, len(checked.rejections), sha256)]


def rejected_lines(checked: CheckedBatch) -> bytes:
    """One JSON object a rejected row: source, row (from 0), reason, values as they came."""
    source = checked.raw.source.path
    lines = [
        json.dumps({"source": source, "row": row.row, "reason": row.reason, "values": row.values})
        for row in rejected_rows(checked)
    ]
    return "".join(f"{line}\n" for line in lines).encode()
