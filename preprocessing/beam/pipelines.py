"""The two Beam graphs: one that counts, looks for duplicates, and fits the transform and the
dictionaries; one that applies them and writes.

They run one after the other over the same pieces, because a runner materialises what two stages
share, and reading twice is cheaper than keeping every row. Only small files leave a graph, so any
runner will do.
"""

import copy
import re
from collections.abc import Callable
from typing import Any

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, PortableOptions

from configs import Experiment, InputError
from preprocessing import filesystem
from preprocessing.beam import counters, dofns, vocabularies
from preprocessing.beam import duplicates as duplicate_keys
from preprocessing.beam.batch_coder import BatchCoder
from preprocessing.beam.fork_pool import WorkerDied, Workers
from preprocessing.beam.pass_summary import Tally
from preprocessing.beam.profiling import write_features
from preprocessing.beam.progress import say
from preprocessing.features.kept_columns import KeptValues
from preprocessing.features.statistics import Statistics
from preprocessing.logs.files import Piece
from preprocessing.logs.readers import RawBatch
from preprocessing.profile.describe import ReferenceProfile
from preprocessing.validation.row_checks import CheckedBatch
from preprocessing.validation.splits import rows_of_splits

_ERROR_LINE = re.compile(r"^(?:RuntimeError: )*(?:[\w.]+\.)?(\w*Error): (.*)$", re.MULTILINE)
_USER_CAUSED = ("InputError", "BeamIOError", "OSError", "PermissionError", "FileNotFoundError")

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
            fit = dofns.FitTransform(experiment, filesystem.join(folder, "transform"))
            runs = beam.pvalue.AsList(
                vocabularies.runs_of_values(checked, pieces, experiment, folder)
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
        _write_tally(tallies, filesystem.join(folder, "analysis.json"))

    counted = _run(build, options, workers)
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
        _write_tally([errors, written.tallies], filesystem.join(folder, "written.json"))

    counted = _run(build, options, workers)
    return _read_tally(filesystem.join(folder, "written.json"), counted)


def _checked_batches(
    pipeline: beam.Pipeline,
    pieces: tuple[Piece, ...],
    experiment: Experiment,
    duplicates: str,
    duplicated: frozenset[str],
) -> tuple[beam.PCollection, beam.PCollection]:
    read = (
        pipeline
        | "Pieces" >> beam.Create(pieces, reshuffle=False)
        | "Spread"
        >> beam.Reshuffle()  # otherwise one worker would read all that was made in one place
        | "Read"
        >> beam.ParDo(dofns.ReadPieces(experiment))
        .with_output_types(RawBatch)
        .with_outputs(dofns.ReadPieces.ERRORS, main="batches")
    )
    check = beam.ParDo(dofns.CheckRows(experiment, duplicates, duplicated)).with_output_types(
        CheckedBatch
    )
    checked = read.batches | "CheckRows" >> check
    return checked, read[dofns.ReadPieces.ERRORS]


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


def _write_tally(tallies: list[beam.PCollection], path: str) -> None:
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


def _run(
    build: Callable[[beam.Pipeline], None], options: PipelineOptions, workers: Workers | None = None
) -> dict[str, int]:
    """Runs a graph; what the runner counted."""
    again = copy.deepcopy(options)  # runners change theirs
    local = again.view_as(DirectOptions)
    try:
        return _run_once(build, options, workers)
    except InputError:
        raise
    except Exception as error:
        if local.direct_running_mode != "multi_threading":
            raise
        # Seldom, under load, Beam's threaded local runner loses its place in what a thread has
        # written ("Invalid PaneInfoEncoding"). Steps may be run again, as any runner may; a mistake
        # of ours fails again.
        first = next(iter(str(error).splitlines()), "")
        say(
            f"warning: the local runner failed ({type(error).__name__}: {first}); once more, in one"
            " thread"
        )
        local.direct_running_mode, local.direct_num_workers = "in_memory", 1
        return _run_once(build, again, None)


def _run_once(
    build: Callable[[beam.Pipeline], None], options: PipelineOptions, workers: Workers | None
) -> dict[str, int]:
    try:
        pipeline = beam.Pipeline(
            runner=workers.runner(options) if workers else None, options=options
        )
    except (ValueError, RuntimeError) as error:
        raise InputError(f"Beam refuses its options: {error}") from None
    try:
        with pipeline:
            build(pipeline)
        return counters.counted(pipeline.result)
    except InputError:
        raise
    except WorkerDied as death:
        raise InputError(str(death)) from None
    except Exception as error:
        # Runners turn a step's exception into text; what a user can cause must still be one line,
        # and a mistake of ours a traceback.
        found = _ERROR_LINE.findall(str(error))
        if found and found[-1][0] in _USER_CAUSED:
            raise InputError(re.sub(r" \[while running '[^']*'\]$", "", found[-1][1])) from None
        if isinstance(error, OSError):
            raise InputError(str(error)) from None
        endpoint = options.view_as(PortableOptions).job_endpoint
        if endpoint and isinstance(error, grpc.RpcError | grpc.FutureTimeoutError):
            raise InputError(
                f"--job_endpoint {endpoint}: the job service does not answer; start it, or name"
                " another HOST:PORT"
            ) from None
        raise
