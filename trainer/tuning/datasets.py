"""The dataset of a trial: the one that was given, or one made of the logs where settings of the
transform are tried.
"""

from dataclasses import dataclass
from pathlib import Path

from configs import Experiment, InputError
from preprocessing.dataset.manifest import MANIFEST, load_manifest

_DIGITS = 12


@dataclass(frozen=True)
class Datasets:
    """Datasets of one search.

    Attributes:
      base: the config as it is.
      given: its dataset; None where it is made like the others.
      logs: glob of the logs; None where there is the given one alone.
      folder: where datasets are made, one for each digest of settings; they are kept.
    """

    base: Experiment
    given: Path | None
    logs: str | None
    folder: Path

    def of(self, experiment: Experiment) -> Path:
        """The folder of an experiment's dataset, which is made where it is missing. Raises
        ``InputError``.
        """
        digest = experiment.data_digest
        if self.given and digest == self.base.data_digest:
            return self.given
        if self.logs is None:
            raise InputError("a trial needs a dataset of its own; give the logs (--input)")
        made = self.folder / digest[:_DIGITS]
        if (made / MANIFEST).exists():
            self._check_logs(made)
        else:
            self._make(experiment, made)
        return made

    def _check_logs(self, made: Path) -> None:
        if (before := load_manifest(made).input) != self.logs:
            raise InputError(
                f"--input: {made} was made of {before}, received {self.logs}; give these logs, or"
                " choose another --job-dir"
            )

    def _make(self, experiment: Experiment, folder: Path) -> None:
        from preprocessing.beam.dataset_job import Job as DatasetJob  # Beam: few searches need it
        from preprocessing.beam.logging import keep_quiet
        from preprocessing.task import parse_arguments

        keep_quiet()
        _, flags = parse_arguments(["--config", "-", "--output", str(folder)])
        DatasetJob(experiment, str(self.logs), str(folder), tuple(flags)).run()
