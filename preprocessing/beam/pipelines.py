"""The two Beam graphs: one that counts, looks for duplicates, and fits the transform and the
dictionaries; one that applies them and writes.

They run one after the other over the same pieces, because a runner materialises what two stages
share, and reading twice is cheaper than keeping every row. Only small files leave a graph, so any
runner will do.
"""

from collections.abc import Callable
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from configs import Experiment
from preprocessing import filesystem
from preprocessing.beam import counters, dofns, vocabularies
from preprocessing.beam import duplicates as duplicate_keys
from preprocessing.beam.batch_coder import BatchCoder
from preprocessing.beam.fork_pool import Workers
from preprocessing.beam.pass_summary import Tally
from preprocessing.beam.profiling import write_features
from preprocessing.beam.progress import say
from preprocessing.beam.running import run_graph
from preprocessing.features.kept_columns import KeptValues
from preprocessing.features.statistics import Statistics
from preprocessing.logs.files import Piece
from preprocessing.logs.readers import RawBatch
from preprocessing.logs.schema import LogTable
from preprocessing.profile.describe import ReferenceProfile
from preprocessing.validation.row_checks import CheckedBatch
from preprocessing.validation.splits import rows_of_splits

for _batch in (RawBatch, CheckedBatch):
    beam.coders.registry.register_coder(_batch, BatchCoder)


def analyse(
    pieces: tuple[Piece, ...],
    experiment: Experiment,
    folder: str,
    duplicated: frozenset[str],
    fitting: bool,
    options: PipelineOptions,
    workers: Workers | None = None,
    grown_from: str | None = None,
) -> Tally:
    """Counts rows, fits the transform into ``folder/transform`` and the dictionaries into
    ``folder/dictionaries``, and notes duplicates in ``folder/duplicates``.

    Args:
      pieces: what to read.
      experiment: what to make of it.
      folder: empty working folder, or one that an earlier call has filled.
      duplicated: batches whose duplicates an earlier call has noted: these rows are left out, and
        no others are looked for.
      fitting: whether there is a transform to fit.
      options: Beam's.
      workers: processes to use instead of those that Beam would start.
      grown_from: folder of the transform whose vocabularies are grown by what would be fitted; None
        to fit a new one.

    Raises:
      InputError: the pass failed for a reason outside the program.
    """
    duplicates = filesystem.join(folder, "duplicates")

    def build(pipeline: beam.Pipeline) -> None:
        checked, errors = _checked_batches(pipeline, pieces, experiment, duplicates, duplicated)
        tallies = [errors, checked | "CountRows" >> beam.ParDo(dofns.CountRows(experiment))]
        tallies.append(
            checked
            | "KeptValues"
            >> beam.CombineGlobally(
                _Combine(experiment, KeptValues.empty, tuple(experiment.splits))
            ).without_defaults()
            | "WriteDictionaries" >> beam.ParDo(dofns.WriteDictionaries(folder))
        )
        if fitting:
            statistics = _Combine(experiment, Statistics.without_vocabularies, experiment.fitted_on)
            fit = dofns.FitTransform(experiment, filesystem.join(folder, "transform"), grown_from)
            every = grown_from is not None
            runs = beam.pvalue.AsList(
                vocabularies.runs_of_values(checked, pieces, experiment, folder, every)
            )
            tallies.append(
                checked
                | "Statistics" >> beam.CombineGlobally(statistics).without_defaults()
                | "FitTransform" >> beam.ParDo(fit, runs)
            )
        if experiment.data.row_key and not duplicated:
            tallies.append(
                checked
                | "KeysOfRows"
                >> beam.ParDo(
                    duplicate_keys.KeysOfRows(experiment, filesystem.join(folder, "keys"))
                ).with_output_types(tuple[int, Any])
                | "GroupKeys" >> beam.GroupByKey()
                | "LaterDuplicates"
                >> beam.FlatMap(duplicate_keys.later_duplicates).with_output_types(tuple[str, Any])
                | "GroupDuplicates" >> beam.GroupByKey()
                | "WriteDuplicates" >> beam.ParDo(duplicate_keys.WriteDuplicates(duplicates))
            )
        write_tally(tallies, filesystem.join(folder, "analysis.json"))

    counted = run_graph(build, options, workers)
    return _read_tally(filesystem.join(folder, "analysis.json"), counted)


def apply(
    pieces: tuple[Piece, ...],
    experiment: Experiment,
    folder: str,
    duplicated: frozenset[str],
    longest: dict[str, int],
    fitting: bool,
    reference: ReferenceProfile | None,
    options: PipelineOptions,
    workers: Workers | None = None,
) -> Tally:
    """Writes the dataset's files into ``folder``, with the transform, the dictionaries and the
    duplicates that are there.

    ``longest`` is what ``analyse`` has found (``Tally.longest``), ``reference`` is what the
    profile compares with where nothing was fitted; the rest is as there.

    Raises:
      InputError: the pass failed for a reason outside the program.
    """

    def build(pipeline: beam.Pipeline) -> None:
        checked, errors = _checked_batches(
            pipeline, pieces, experiment, filesystem.join(folder, "duplicates"), duplicated
        )
        written = checked | "WriteBatches" >> beam.ParDo(
            dofns.WriteBatches(experiment, folder, longest)
        ).with_outputs(dofns.WriteBatches.PROFILE, main="tallies")
        parts = written[dofns.WriteBatches.PROFILE]
        write_features(parts, experiment, folder, fitting, reference)
        write_tally([errors, written.tallies], filesystem.join(folder, "written.json"))

    counted = run_graph(build, options, workers)
    return _read_tally(filesystem.join(folder, "written.json"), counted)


def _checked_batches(
    pipeline: beam.Pipeline,
    pieces: tuple[Piece, ...],
    experiment: Experiment,
    duplicates: str,
    duplicated: frozenset[str],
) -> tuple[beam.PCollection, beam.PCollection]:
    batches, errors = read_batches(pipeline, pieces, LogTable.of(experiment))
    check = beam.ParDo(dofns.CheckRows(experiment, duplicates, duplicated)).with_output_types(
        CheckedBatch
    )
    return batches | "CheckRows" >> check, errors


def read_batches(
    pipeline: beam.Pipeline, pieces: tuple[Piece, ...], table: LogTable
) -> tuple[beam.PCollection, beam.PCollection]:
    """The rows of all pieces as ``RawBatch``, and a ``Tally`` for each that cannot be read."""
    read = (
        pipeline
        | "Pieces" >> beam.Create(pieces, reshuffle=False)
        | "Spread"
        >> beam.Reshuffle()  # otherwise one worker would read all that was made in one place
        | "Read"
        >> beam.ParDo(dofns.ReadPieces(table))
        .with_output_types(RawBatch)
        .with_outputs(dofns.ReadPieces.ERRORS, main="batches")
    )
    return read.batches, read[dofns.ReadPieces.ERRORS]


class _Combine(beam.CombineFn):
    """``CheckedBatch`` -> mergeable statistics of the rows of some splits; ``empty`` makes those
    of no rows.
    """

    def __init__(
        self,
        experiment: Experiment,
        empty: Callable[[Experiment], Any],
        splits: tuple[str, ...],
    ) -> None:
        self._experiment = experiment
        self._empty = empty
        self._splits = splits

    def create_accumulator(self) -> Any:
        return self._empty(self._experiment)

    def add_input(self, accumulator: Any, element: CheckedBatch) -> Any:
        rows = rows_of_splits(element.rows, self._experiment, self._splits)
        return accumulator if rows is None else accumulator.add(rows)

    def merge_accumulators(self, accumulators: Any) -> Any:
        first, *others = accumulators
        for other in others:
            first = first.merge(other)
        return first

    def compact(self, accumulator: Any) -> Any:
        return accumulator.compact()

    def extract_output(self, accumulator: Any) -> Any:
        return accumulator


def _merge_tallies(tallies: Any) -> Tally:
    merged = Tally()
    for tally in tallies:
        merged.merge(tally)
    return merged


def write_tally(tallies: list[beam.PCollection], path: str) -> None:
    """Merges the tallies of a pass, and writes them where the command reads them."""
    _ = (
        tallies
        | "AllTallies" >> beam.Flatten()
        | "MergeTallies" >> beam.CombineGlobally(_merge_tallies)
        | "WriteTally" >> beam.ParDo(dofns.WriteTally(path))
    )


def _read_tally(path: str, counted: dict[str, int]) -> Tally:
    """The tally that a pass wrote; says where the runner's counters are others."""
    tally = Tally.from_json(filesystem.read(path))
    expected = counters.named_counts(tally)
    if counted and counted != expected:
        name = min(
            name for name in {*counted, *expected} if counted.get(name) != expected.get(name)
        )
        say(
            f"warning: the runner counted {counted.get(name, 0):,} for {name}, and there are"
            f" {expected.get(name, 0):,}: it ran steps twice, or lost counts; the dataset is whole"
        )
    return tally
