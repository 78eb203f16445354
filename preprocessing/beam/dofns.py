"""The steps of the Beam graph. Their elements are batches; every step is a function of its
element alone, so a retry changes nothing.
"""

import io
import json
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs import Experiment, InputError
from configs.domains import Domain
from preprocessing import filesystem
from preprocessing.beam import progress
from preprocessing.beam.duplicates import Rows, duplicates_path
from preprocessing.beam.pass_summary import Tally
from preprocessing.dataset.golden_requests import draw_requests
from preprocessing.features.statistics import fit
from preprocessing.logs.files import Piece
from preprocessing.logs.readers import RawBatch, read_piece
from preprocessing.validation.row_checks import CheckedBatch, rejected_rows, validate
from preprocessing.validation.splits import split_masks


class ReadPieces(beam.DoFn):
    """``Piece`` -> ``RawBatch``; an unreadable file becomes an error on the output ``errors``,
    so that one run names them all.
    """

    ERRORS = "errors"

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment

    def process(self, piece: Piece) -> Iterator[Any]:
        """Reads one piece."""
        try:
            yield from read_piece(piece, self._experiment)
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
        _report(checked.raw.row_count)
        yield count_rows(checked, self._experiment)


class FitTransform(beam.DoFn):
    """``Statistics`` -> the fitted transform's files, and a ``Tally`` of what kept it
    from being fitted.
    """

    def __init__(self, experiment: Experiment, folder: str) -> None:
        self._experiment = experiment
        self._folder = folder

    def process(self, statistics: Any) -> Iterator[Tally]:
        """Fits and writes."""
        try:
            fitted = fit(self._experiment, statistics)
        except InputError as error:
            yield Tally(fit_errors={str(error)})
            return
        for name, content in fitted.files().items():
            filesystem.write(filesystem.join(self._folder, name), content)


class WriteBatches(beam.DoFn):
    """``CheckedBatch`` -> one file a split and one of rejected rows, and the ``Tally`` that
    lists them.
    """

    def __init__(self, experiment: Experiment, folder: str) -> None:
        self._experiment = experiment
        self._folder = folder
        self._transform: Any = None

    def setup(self) -> None:
        """Loads the fitted transform, once a worker."""
        from preprocessing.features.fitted import Fitted
        from preprocessing.features.transform import Transform

        self._transform = Transform(
            self._experiment, Fitted.load(filesystem.join(self._folder, "transform"))
        )

    def process(self, checked: CheckedBatch) -> Iterator[Tally]:
        """Transforms and writes one batch."""
        from preprocessing.dataset.tfrecord_writer import batch_columns, split_file

        tally = count_rows(checked, self._experiment)
        if checked.rejections:
            path = f"rejected/{checked.raw.key}.jsonl"
            sha256 = filesystem.write(filesystem.join(self._folder, path), rejected_lines(checked))
            tally.files["rejected"] = [(path, len(checked.rejections), sha256)]
        masks = split_masks(checked.rows, self._experiment)
        inside = np.logical_or.reduce(list(masks.values()))
        if inside.any():
            columns = batch_columns(
                checked.rows.filter(pa.array(inside)), self._transform, self._experiment
            )
            tally.formats = {
                name: (array.dtype.name, array.shape[1] if array.ndim == 2 else None)
                for name, array in columns.items()
            }
            for split, mask in masks.items():
                rows = np.flatnonzero(mask[inside])
                if len(rows):
                    path = f"{split}/{checked.raw.key}.tfrecord"
                    content = split_file(
                        columns,
                        rows,
                        seed=f"{checked.raw.source.seed}/{checked.raw.number}/{split}",
                    )
                    sha256 = filesystem.write(filesystem.join(self._folder, path), content)
                    tally.files[split] = [(path, len(rows), sha256)]
                    tally.domains[split] = count_domains(columns, rows, self._experiment)
            finetuning, seed = (
                masks[self._experiment.finetune.split],
                f"{checked.raw.source.seed}/{checked.raw.number}",
            )
            tally.golden = draw_requests(checked.rows, finetuning, self._experiment, seed)
        _report(checked.raw.row_count)
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


def _report(rows: int) -> None:
    progress.advance(rows)
    beam.metrics.Metrics.counter("preprocessing", "rows").inc(rows)


def count_rows(checked: CheckedBatch, experiment: Experiment) -> Tally:
    """Rows of a batch by split and by rule."""
    masks = split_masks(checked.rows, experiment)
    seconds = checked.rows.column(experiment.data.timestamp).to_numpy(zero_copy_only=False)
    return Tally(
        rows=checked.raw.row_count,
        rejected=Counter(rejection.rule for rejection in checked.rejections),
        outside=int(len(seconds) - np.count_nonzero(np.logical_or.reduce(list(masks.values())))),
        splits=Counter({name: int(np.count_nonzero(mask)) for name, mask in masks.items()}),
        first=int(seconds.min()) if len(seconds) else None,
        last=int(seconds.max()) if len(seconds) else None,
        json_names=set(checked.raw.names) if checked.raw.source.format == "json" else None,
    )


def count_domains(
    columns: dict[str, npt.NDArray[np.generic]], rows: Rows, experiment: Experiment
) -> dict[str, Counter[str]]:
    """Rows and labels of every domain, one histogram for each combination of topics."""
    counted: dict[str, Counter[str]] = {}
    measured: dict[str, npt.NDArray[Any] | None] = {"rows": None}
    measured.update(
        {f"label/{label}": columns[f"label/{label}"][rows] for label in experiment.label_columns}
    )

    def topics_of(domain: Domain) -> tuple[str, ...]:
        return tuple(topic for topic, _ in domain.conditions)

    for topics, domains in groupby(experiment.domains, key=topics_of):
        sizes = [len(experiment.topics[topic].names) + 1 for topic in topics]
        indices = [columns[f"topic/{topic}"][rows].astype(np.intp) for topic in topics]
        cell = np.ravel_multi_index(indices, sizes) if topics else np.zeros(len(rows), np.intp)
        histograms = {
            name: np.bincount(cell, weights, int(np.prod(sizes, dtype=int)))
            for name, weights in measured.items()
        }
        for domain in domains:
            place = (
                np.ravel_multi_index([index for _, index in domain.conditions], sizes)
                if topics
                else 0
            )
            counted[domain.name] = Counter(
                {name: int(histogram[place]) for name, histogram in histograms.items()}
            )
    return counted


def rejected_lines(checked: CheckedBatch) -> bytes:
    """One JSON object a rejected row: source, row (from 0), reason, values as they came."""
    source = checked.raw.source.path
    lines = [
        json.dumps({"source": source, "row": row.row, "reason": row.reason, "values": row.values})
        for row in rejected_rows(checked)
    ]
    return "".join(f"{line}\n" for line in lines).encode()
