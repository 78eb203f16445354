"""The whole job: logs in, a finished dataset out, or one clear line that says why not."""

import hashlib
import json
import re
from contextlib import nullcontext
from dataclasses import dataclass, field

from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from configs import Experiment, InputError
from configs.operations.growth import refuse_progressive
from preprocessing import filesystem
from preprocessing.beam import guards, pipelines
from preprocessing.beam.fork_pool import Workers, forks_wanted
from preprocessing.beam.output_folder import PARTIAL, OutputFolder
from preprocessing.beam.pass_summary import Tally
from preprocessing.beam.profiling import complete_profile
from preprocessing.beam.progress import Progress, say
from preprocessing.beam.runners import check_runner
from preprocessing.dataset.domain_counts import domains_without_rows
from preprocessing.dataset.given_transform import OF_A_JOB, given_transform
from preprocessing.dataset.golden_requests import GOLDEN_FILE
from preprocessing.dataset.manifest import (
    MANIFEST,
    PROFILE_FILE,
    FileEntry,
    Growing,
    Manifest,
    SplitSummary,
)
from preprocessing.features.fitted import Fitted
from preprocessing.features.kept_columns import DICTIONARIES
from preprocessing.features.output_spec import transform_outputs, vocabulary_sizes
from preprocessing.logs.files import Plan, find_sources, plan
from preprocessing.profile.describe import ReferenceProfile
from preprocessing.profile.given_reference import given_reference
from preprocessing.remote.folder import part_here

_GIVEN = "given"
"""Folder of the transform that is grown, while that is done."""
_RESERVED = (
    "transform",
    DICTIONARIES,
    "rejected",
    "duplicates",
    "keys",
    "counts",
    _GIVEN,
    MANIFEST,
    GOLDEN_FILE,
    PROFILE_FILE,
    "analysis.json",
    "written.json",
)
_OURS = re.compile(
    rf"manifest\.json|{re.escape(GOLDEN_FILE)}|{re.escape(PROFILE_FILE)}"
    rf"|transform/[^/]+|{DICTIONARIES}/[^/]+\.json"
    r"|rejected/[^/]+-[0-9a-f]{8}-\d{5,}\.jsonl"
    rf"|[A-Za-z0-9_][A-Za-z0-9_.-]*/[^/]+-[0-9a-f]{{8}}-\d{{5,}}\.tfrecord|{re.escape(PARTIAL)}/.*"
)


@dataclass(frozen=True)
class Job:
    """A dataset to be built.

    Attributes:
      experiment: what is built.
      input: glob, folder or file of the logs, on any Beam filesystem.
      output: folder of the dataset; a former dataset in it is replaced, anything else refused.
      beam_flags: options for Beam, as on a command line.
      transform: folder of a job or dataset whose transform is applied; None to fit one.
      grow: folder of one whose transform is grown by what would be fitted; None to begin anew.
      shared_filesystem: whether every worker has the command's local folders, where they run on
        other machines.
    """

    experiment: Experiment
    input: str
    output: str
    beam_flags: tuple[str, ...] = field(default=())
    transform: str | None = None
    shared_filesystem: bool = False
    grow: str | None = None

    def run(self) -> Manifest:
        """Builds the dataset. Until its last moment everything happens in ``.partial``, and the
        manifest is moved into place last.

        Raises:
          InputError: bad input; a former dataset is untouched.
        """
        if self.grow is not None:
            refuse_progressive(self.experiment.pretrain.progressive, "--grow")
        paths = {"--input": self.input, "--output": self.output, self._option: self._source}
        check_runner(self._options(), paths, self.shared_filesystem)
        FileSystems.set_options(self._options())
        filesystem.look(*filter(None, paths.values()))
        # They get ready while we look at the logs.
        with (
            Workers(self.beam_flags) if forks_wanted(self._options()) else nullcontext()
        ) as workers:
            return self._run(workers)

    def _run(self, workers: Workers | None) -> Manifest:
        self._check_split_names()
        guards.warn_of_overlap(self.experiment)
        given, reference = self._given()
        planned = plan(find_sources(self.input, self.experiment.evaluation.truth), self.experiment)
        for path in planned.empty:
            say(f"warning: {path}: no rows")
        if not planned.pieces:
            raise InputError(f"{self.input}: no rows in {len(planned.empty)} file(s)")
        try:
            output = self._output
            output.check(_OURS, "files that are no dataset's", "an empty folder or a dataset")
            with output.alone():
                if given:
                    given.save(self._given_folder if self.grow else self._transform_folder)
                tally, written = self._run_passes(planned, reference, workers)
                manifest = self._manifest(tally, written)
                self._warn_of_empty_domains(manifest)
                output.publish((file.path for file in manifest.files()), manifest.to_json())
        except OSError as error:
            raise InputError(f"{self.output}: {error}") from None
        return manifest

    @property
    def _output(self) -> OutputFolder:
        return OutputFolder(self.output, MANIFEST, (GOLDEN_FILE, PROFILE_FILE))

    @property
    def _partial(self) -> str:
        return self._output.partial

    def _options(self) -> PipelineOptions:
        return PipelineOptions(
            list(self.beam_flags)
        )  # a fresh one for every pass: runners change theirs

    @property
    def _transform_folder(self) -> str:
        return filesystem.join(self._partial, "transform")

    @property
    def _given_folder(self) -> str:
        return filesystem.join(self._partial, _GIVEN)

    @property
    def _source(self) -> str | None:
        """The job or dataset whose transform is read."""
        return self.transform if self.grow is None else self.grow

    @property
    def _option(self) -> str:
        """What names it."""
        return "--transform" if self.grow is None else "--grow"

    def _given(self) -> tuple[Fitted | None, ReferenceProfile | None]:
        """The transform that is applied or grown, and what new rows are compared with: the rows
        that its moments were fitted on, which growing leaves as they are.
        """
        if self._source is None:
            return None, None
        if filesystem.one_name(self._source) == filesystem.one_name(self.output):
            raise InputError(
                f"{self._option} and --output are the same folder, {self.output}; a run that is"
                " killed would leave neither; expected another --output"
            )
        try:
            with part_here(self._source, OF_A_JOB) as source:
                given = given_transform(source, self.experiment, self._source, self._option)
                return given, given_reference(source)
        except OSError as error:
            raise InputError(f"{self._option}: {error}") from None

    def _check_split_names(self) -> None:
        for name in _RESERVED:
            if name in self.experiment.splits:
                raise InputError(
                    f"splits: '{name}' is a folder of its own in every dataset; expected another"
                    " name"
                )

    def _run_passes(
        self, planned: Plan, reference: ReferenceProfile | None, workers: Workers | None
    ) -> tuple[Tally, Tally]:
        """Analyses, once more where rows turned out to be duplicates (nothing may be fitted on
        them), then writes.
        """
        tally = self._analyse("analyse", planned, frozenset(), workers)
        duplicated = frozenset(tally.duplicated)
        if duplicated:
            tally = self._analyse("analyse again, without duplicates", planned, duplicated, workers)
        if tally.fit_errors:
            raise InputError(min(tally.fit_errors))
        guards.warn_of_long_lists(tally)
        if self._source is None:
            guards.warn_of_fractions(Fitted.load(self._transform_folder))
        with Progress("write") as progress:
            written = pipelines.apply(
                planned.pieces,
                self.experiment,
                self._partial,
                duplicated,
                tally.longest,
                self._source is None,
                reference,
                self._options(),
                workers,
            )
            progress.rows = written.rows
        guards.check_errors(written)
        if (written.rows, written.rejected, written.splits, written.outside) != (
            tally.rows,
            tally.rejected,
            tally.splits,
            tally.outside,
        ):
            raise InputError(f"{self.input}: the logs changed while they were read; run again")
        return tally, written

    def _analyse(
        self, name: str, planned: Plan, duplicated: frozenset[str], workers: Workers | None
    ) -> Tally:
        with Progress(name) as progress:
            tally = pipelines.analyse(
                planned.pieces,
                self.experiment,
                self._partial,
                duplicated,
                self.transform is None,
                self._options(),
                workers,
                self._given_folder if self.grow else None,
            )
            progress.rows = tally.rows
        guards.check_errors(tally)
        guards.check_rows(tally, self.experiment, self.input, self._source is None)
        return tally

    def _manifest(self, tally: Tally, written: Tally) -> Manifest:
        experiment = self.experiment
        folder = self._transform_folder
        fitted = Fitted.load(folder)
        transform_files = tuple(
            FileEntry(
                path=f"transform/{name}",
                rows=0,
                sha256=hashlib.sha256(filesystem.read(path)).hexdigest(),
            )
            for name, path in filesystem.list_files(folder).items()
        )
        splits = {
            name: SplitSummary(
                rows=written.splits[name],
                domains={
                    domain.name: written.domain_counts(name, domain.name, experiment.label_columns)
                    for domain in experiment.domains
                },
                files=written.file_entries(name),
            )
            for name in experiment.splits
        }
        return Manifest(
            data_digest=experiment.data_digest,
            transform_digest=fitted.digest,
            input=self.input,
            columns=written.column_formats(),
            vocabulary_sizes=vocabulary_sizes(transform_outputs(experiment, fitted)),
            splits=splits,
            rejected=dict(sorted(tally.rejected.items())),
            rejected_files=written.file_entries("rejected"),
            transform_files=transform_files,
            outside_splits=written.outside,
            golden_requests=self._golden_requests(written) if written.golden else None,
            dictionaries=tally.dictionary_entries(),
            profile=complete_profile(self._partial, experiment, written),
            transform_from=self.transform,
            grown=self._growing(fitted, tally),
            as_of=experiment.as_of,
            windows={name: (split.start, split.end) for name, split in experiment.splits.items()},
        )

    def _growing(self, fitted: Fitted, tally: Tally) -> Growing | None:
        if self.grow is None or fitted.grown_from is None:
            return None
        return Growing.model_validate(
            {
                "source": self.grow,
                "transform_digest": fitted.grown_from,
                "features": tally.grown,
            }
        )

    def _warn_of_empty_domains(self, manifest: Manifest) -> None:
        with_rows = {
            name
            for split in manifest.splits.values()
            for name, counts in split.domains.items()
            if counts.rows
        }
        dictionaries = {
            column: json.loads(filesystem.read(filesystem.join(self._partial, file.path)))
            for column, file in (manifest.dictionaries or {}).items()
        }
        if empty := domains_without_rows(self.experiment, with_rows, dictionaries):
            say(f"warning: {empty}")

    def _golden_requests(self, written: Tally) -> FileEntry:
        content = "".join(f"{line}\n" for _, line in written.golden).encode()
        sha256 = filesystem.write(filesystem.join(self._partial, GOLDEN_FILE), content)
        return FileEntry(path=GOLDEN_FILE, rows=len(written.golden), sha256=sha256)
