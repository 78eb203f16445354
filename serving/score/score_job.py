"""The whole job: an archive in, a finished folder of scores out, or one clear line that says why
not.
"""

import re
import time
from contextlib import nullcontext
from dataclasses import dataclass, field

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from configs import InputError
from preprocessing import filesystem
from preprocessing.beam import guards
from preprocessing.beam.fork_pool import Workers, forks_wanted
from preprocessing.beam.output_folder import PARTIAL, OutputFolder
from preprocessing.beam.pass_summary import Tally
from preprocessing.beam.pipelines import read_batches, write_tally
from preprocessing.beam.progress import Progress, say
from preprocessing.beam.runners import check_runner
from preprocessing.beam.running import run_graph
from preprocessing.logs.files import Plan, find_sources, plan
from preprocessing.logs.schema import LogTable
from serving.score.archive_model import ArchiveModel
from serving.score.request import Request
from serving.score.score_batches import SCORES, ScoreBatches
from serving.score.score_result import RESULT, ScoreResult

_TALLY = "tally.json"
_LEFT_BY_A_KILLED_RUN = re.compile(
    rf"{SCORES}/[^/]+-[0-9a-f]{{8}}-\d{{5,}}\.parquet|rejected/[^/]+-[0-9a-f]{{8}}-\d{{5,}}\.jsonl"
    rf"|{re.escape(PARTIAL)}/.*"
)
"""What may be in the output without ``score.json``: a run that was killed while it moved files into
place.
"""


@dataclass(frozen=True)
class ScoreJob:
    """An archive to be scored.

    Attributes:
      models: base path of the model, local or on any filesystem of Beam's.
      input: glob, folder or file of the archive, likewise.
      output: folder of the scores, likewise; empty, or not there.
      version: of the model; None for the newest.
      domain: see ``Request.of``, as for the following.
      domain_column: see there.
      keep: see there.
      batch_rows: see there.
      max_rejected: tolerated share of rejected rows; None for what the version says.
      beam_flags: options for Beam, as on a command line.
      shared_filesystem: whether every worker has the command's local folders, where they run on
        other machines.
    """

    models: str
    input: str
    output: str
    version: int | None
    domain: str | None
    domain_column: str | None
    keep: tuple[str, ...] | None
    batch_rows: int
    max_rejected: float | None
    beam_flags: tuple[str, ...] = field(default=())
    shared_filesystem: bool = False

    def run(self) -> ScoreResult:
        """Scores the archive. Until its last moment everything happens in ``.partial``, and
        ``score.json`` is moved into place last.

        Raises:
          InputError: bad input; nothing is in the output then.
        """
        begin = time.monotonic()
        paths = {"--models": self.models, "--input": self.input, "--output": self.output}
        check_runner(self._options(), paths, self.shared_filesystem)
        FileSystems.set_options(self._options())
        filesystem.look(*paths.values())
        output = OutputFolder(self.output, RESULT)
        output.check(_LEFT_BY_A_KILLED_RUN, "files already", "an empty folder")
        # They get ready while we look at the model and the archive.
        with (
            Workers(self.beam_flags) if forks_wanted(self._options()) else nullcontext()
        ) as workers:
            sources = find_sources(self.input)
            model = ArchiveModel.open(self.models, self.version)
            request = Request.of(model, self.domain, self.domain_column, self.keep, self.batch_rows)
            table = request.table(model)
            planned = plan(sources, table)
            for path in planned.empty:
                say(f"warning: {path}: no rows")
            if not planned.pieces:
                raise InputError(f"{self.input}: no rows in {len(planned.empty)} file(s)")
            try:
                with output.alone():
                    tally = self._score(planned, table, model, request, output.partial, workers)
                    result = self._result(tally, model, request, time.monotonic() - begin)
                    files = (*result.files, *result.rejected_files)
                    output.publish((file.path for file in files), result.to_json())
            except OSError as error:
                raise InputError(f"{self.output}: {error}") from None
        return result

    def _options(self) -> PipelineOptions:
        return PipelineOptions(list(self.beam_flags))  # a fresh one: runners change theirs

    def _score(
        self,
        planned: Plan,
        table: LogTable,
        model: ArchiveModel,
        request: Request,
        folder: str,
        workers: Workers | None,
    ) -> Tally:
        def build(pipeline: beam.Pipeline) -> None:
            batches, errors = read_batches(pipeline, planned.pieces, table)
            tallies = batches | "Score" >> beam.ParDo(ScoreBatches(model, request, folder))
            write_tally([errors, tallies], filesystem.join(folder, _TALLY))

        with Progress("score") as progress:
            run_graph(build, self._options(), workers)
            tally = Tally.from_json(filesystem.read(filesystem.join(folder, _TALLY)))
            progress.rows = tally.rows
        guards.check_errors(tally)
        guards.check_json_names(tally, table.read, self.input)
        if not tally.rows:
            raise InputError(f"{self.input}: no rows")
        limit = model.logs.max_rejected if self.max_rejected is None else self.max_rejected
        guards.check_share(tally, tally.rejected.total(), self.input, limit, "--max-rejected")
        return tally

    def _result(
        self, tally: Tally, model: ArchiveModel, request: Request, seconds: float
    ) -> ScoreResult:
        served = tally.domains.get(SCORES, {})
        return ScoreResult(
            input=self.input,
            models=self.models,
            version=model.version,
            fingerprint=model.fingerprint,
            domain=request.domain,
            domain_column=request.domain_column,
            batch_rows=request.batch_rows,
            columns=(*request.keep, *model.outputs),
            rows=tally.rows,
            scored=tally.splits[SCORES],
            rejected=dict(sorted(tally.rejected.items())),
            domains={name: counts["rows"] for name, counts in sorted(served.items())},
            files=tally.file_entries(SCORES),
            rejected_files=tally.file_entries("rejected"),
            seconds=round(seconds, 3),
        )
