"""One refresh, step by step. What a step has done is written down, so that a run that was killed
goes on where it was; nothing that is served changes before all that can be checked has been.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

import trainer  # noqa: F401 - before TensorFlow

# isort: split
from configs import Experiment
from configs.asides import make_folder, sole_writer
from configs.files import delete
from operations.refresh.checks import (
    RefusedError,
    check_data,
    check_release,
    rejected_share,
    rows_by_day,
    rows_by_piece,
)
from operations.refresh.finishing import (
    served_memory,
    summarise,
    timed,
    with_model,
    with_repair,
    with_report,
)
from operations.refresh.preconditions import (
    check_order,
    check_places,
    counted_before,
    has_dataset,
    later_day,
)
from operations.refresh.progress_file import (
    ProgressFile,
    State,
    key_of,
    listed_files,
    registry_was_ahead,
    rows_key_of,
    summary_before,
)
from operations.refresh.summary import REFUSED, Auc, Summary
from preprocessing.beam.dataset_job import Job as DatasetJob
from preprocessing.beam.guards import UnfitRowsError
from preprocessing.dataset.manifest import Manifest, load_manifest
from preprocessing.profile.data_profile import read_profile
from trainer.evaluation.proposal import Proposal
from trainer.job import Job
from trainer.registry.kernel_registry import KernelStore

_NAME = "%Y-%m-%dT%H%MZ"
_DAY = 86_400.0


@dataclass
class Refresh:
    """A refresh.

    Attributes:
      experiment: of the config, its windows counted from ``as_of``.
      logs: glob, folder or file.
      job: whose kernels are tuned.
      work: folder of all refreshes; each has one in it, named after its ``as_of``.
      models: base path of the exported model; None to export nothing.
      beam_flags: options for Beam.
      notes: what is odd and stops nothing.
    """

    experiment: Experiment
    logs: str
    job: Job
    work: Path
    models: Path | None = None
    beam_flags: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)

    @property
    def as_of(self) -> datetime:
        """What its windows count from; of a config with fixed windows the end of the last of
        them that fine-tuning reads.
        """
        settings, splits = self.experiment.finetune, self.experiment.splits
        return self.experiment.as_of or splits[settings.validation].end

    @property
    def progress(self) -> ProgressFile:
        """Where it stands."""
        return ProgressFile(self.work / self.as_of.strftime(_NAME))

    def plan(self) -> list[str]:
        """What ``run`` would do, a line a step; nothing is changed."""
        files, store = self._files(), KernelStore(self.job)
        former = self.progress.state()
        state = self._state(former, files)
        pinned, active = store.pinned(), store.active()
        tuned = [d.name for d in self.experiment.domains if d.name not in pinned]
        lines = [
            f"{self.experiment.name}, as of {self.as_of:%Y-%m-%d %H:%M}Z, in {self.progress.folder}"
        ]
        settings = self.experiment.finetune
        for split in (settings.split, settings.validation):
            window = self.experiment.splits[split]
            lines.append(
                f"  split '{split}': {window.start.isoformat()} to {window.end.isoformat()}"
            )
        summary = self.progress.summary()
        if summary and state == former:
            later = later_day(self.work, self.progress.folder.name)
            rest = f"{later} is later, and nothing is done" if later else "the model is looked at"
            return [*lines, f"  it is finished: {summary.outcome}; {rest}"]
        made = self._has_data(state, files)
        return [
            *lines,
            f"  dataset: {'is there' if made else f'made of {len(files)} files'}",
            f"  kernels: {len(tuned)} domains tuned and judged, {len(active)} are active,"
            f" {len(pinned)} pinned"
            if not state.tuned
            else "  kernels: decided already",
            f"  model: {self.models or 'not exported (no --models)'}",
        ]

    def run(self) -> Summary:
        """Does it, or goes on with it, and writes ``summary.json``.

        Raises:
          InputError: config, job or logs cannot be used; what is served is as it was.
        """
        self.job.check_finished()
        check_places(self.work, self.models)
        make_folder(self.work)
        with sole_writer(self.work):
            progress, files = self.progress, self._files()
            former, finished = progress.state(), progress.summary()
            state = self._state(former, files)
            if finished and state == former:
                return self._again(finished, state)
            if not state.tuned:
                check_order(self.work, progress.folder.name)
            self.notes += counted_before(progress, former, state.key, self.job)
            delete(progress.folder / "summary.json")
            progress.write(state)
            summary = self._refresh(state, files)
            progress.finish(summary)
            return summary

    def _again(self, finished: Summary, state: State) -> Summary:
        """A refresh that is finished, once more: the model alone is looked at, and that only where
        no later day has decided what is served.
        """
        if later_day(self.work, self.progress.folder.name):
            return finished
        if state.tuned:
            again = with_model(finished, self.job, self.models)
        elif finished.registry_ahead:
            again = with_repair(finished, self.job, self.models)
        else:
            again = finished
        if again != finished:
            self.progress.finish(again)
        return again

    def _refresh(self, state: State, files: list[Any]) -> Summary:
        reasons: list[str] = []
        rows: dict[str, int] = {}
        manifest = None
        try:
            state = self._dataset(state, files)
            manifest = load_manifest(self.progress.data)
            learned, judging = self._days(manifest)
            rows = learned | judging
            self._check_rows(manifest, learned, judging)
            state = self._tune(state)
        except RefusedError as refused:
            reasons = refused.reasons
            state = self.progress.state() or state
        summary = summarise(
            self.experiment, self.as_of, self.job, self.progress.data if manifest else None, state
        ).model_copy(
            update={
                "rows": rows,
                "rejected": rejected_share(manifest) if manifest else None,
                "notes": tuple(dict.fromkeys(self.notes)),
            }
        )
        if reasons or manifest is None:
            stopped = {"outcome": REFUSED, "reasons": tuple(reasons), "domains": {}}
            summary = summary.model_copy(update=stopped)
            ahead = registry_was_ahead(self.work, self.progress.folder)
            return with_repair(summary, self.job, self.models) if ahead else summary
        summary = with_report(summary, self.experiment, self.job, self.progress.data, manifest)
        return with_model(summary, self.job, self.models)

    def _files(self) -> list[Any]:
        return listed_files(self.logs, self.experiment)

    def _key(self, files: list[Any]) -> str:
        return key_of(self.experiment, files, self._backbone)

    @property
    def _backbone(self) -> str:
        return str(self.job.fingerprint()["fingerprint"])

    def _state(self, former: State | None, files: list[Any]) -> State:
        """Where this very refresh stands; of another one only the dataset may be of use.

        Args:
          former: what is written down.
          files: the logs'.
        """
        key = self._key(files)
        if former and former.key == key:
            return former
        rows_key = former.rows_key if former else None
        store = KernelStore(self.job)
        return State(
            key=key, rows_key=rows_key, before=store.active(), memory=served_memory(self.job)
        )

    def _has_data(self, state: State, files: list[Any]) -> bool:
        wanted, data = rows_key_of(self.experiment, files, self._backbone), self.progress.data
        return state.rows_key == wanted and has_dataset(data)

    def _dataset(self, state: State, files: list[Any]) -> State:
        """The rows of the windows under the job's transform."""
        if self._has_data(state, files):
            return state
        wanted = rows_key_of(self.experiment, files, self._backbone)
        self.progress.write(state.model_copy(update={"rows_key": None}))
        with timed() as took:
            try:
                DatasetJob(
                    self.experiment,
                    self.logs,
                    str(self.progress.data),
                    self.beam_flags,
                    str(self.job.folder),
                ).run()
            except UnfitRowsError as error:
                raise RefusedError([str(error)]) from None
        return self._done(state, "dataset", took, rows_key=wanted)

    def _days(self, manifest: Manifest) -> list[dict[str, int]]:
        """Rows by day of the split that kernels learn from, and of that which judges; by pieces of
        24 hours where days begin within them.
        """
        settings, splits = self.experiment.finetune, self.experiment.splits
        read = [
            (self._moments(manifest, name), splits[name].start, splits[name].end)
            for name in (settings.split, settings.validation)
        ]
        days = [rows_by_day(self.experiment, *window) for window in read]
        return days if all(days) else [rows_by_piece(*window) for window in read]

    def _check_rows(
        self, manifest: Manifest, learned: dict[str, int], judging: dict[str, int]
    ) -> None:
        """Raises ``RefusedError`` where the rows are not to be learned from."""
        settings, splits = self.experiment.finetune, self.experiment.splits
        reasons = [
            f"split '{name}', {splits[name].start.isoformat()} to {splits[name].end.isoformat()},"
            " has no rows: its logs are missing"
            for name in (settings.split, settings.validation)
            if not manifest.splits[name].rows
        ]
        if not reasons:
            profile = read_profile(self.progress.data)
            reasons, notes = check_data(self.experiment, manifest, profile, learned, judging)
            self.notes += notes
        if reasons:
            raise RefusedError(reasons)

    def _moments(self, manifest: Manifest, split: str) -> Any:
        from trainer.backbone.stored_taps import split_columns
        from trainer.data.dataset import Dataset

        if not manifest.splits[split].rows:
            return np.empty(0, np.int64)
        dataset = Dataset.open(self.progress.data, self.experiment)
        return split_columns(dataset, split, lambda name: name == "row/timestamp")[
            "row/timestamp"
        ].astype(np.int64)

    def _tune(self, state: State) -> State:
        """Memory and kernels of every domain, judged against what is served."""
        if state.tuned:
            return state
        from trainer.training.finetune import finetune

        before = summary_before(self.work, self.progress.folder)
        yesterday = before.auc.after if before and before.auc else None

        def approve(proposal: Proposal) -> None:
            """Refuses, or writes down what is about to be served and why."""
            auc = Auc(
                backbone=proposal.auc({}),
                before=proposal.auc(proposal.before),
                after=proposal.auc(proposal.after),
                yesterday=yesterday,
            )
            found = check_release(self.experiment, len(proposal.before), proposal.deactivated, auc)
            now = self.progress.state() or state
            if now.reasons is None or found:
                reasons = {name: one.reason for name, one in proposal.decisions.items()}
                self.progress.write(now.model_copy(update={"auc": auc, "reasons": reasons}))
            if found:
                raise RefusedError(found)

        with timed() as took:
            finetune(self.experiment, self.progress.data, self.job, [], approve)
        return self._done(self.progress.state() or state, "finetune", took, tuned=True)

    def _done(self, state: State, step: str, took: Mapping[str, float], **update: Any) -> State:
        seconds = state.seconds | {step: took["seconds"]}
        now = state.model_copy(update={**update, "seconds": seconds})
        self.progress.write(now)
        return now
