"""The commands of the gallery's run, in order, and the pages that they leave.

Each is run as a user would run it, in the gallery's folder; its words are what the index shows.
"""

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.method.study import ROOT, load_study
from configs.errors import InputError
from preprocessing.beam.progress import say

RUN = "run"
"""Folder of the run in the gallery's."""

LOG = f"{RUN}/log.txt"
"""What all commands have printed, in a terminal of 80 columns."""

_CONFIG = "configs/quickstart.yaml"
_LOGS, _DATA, _JOB = f"{RUN}/logs", f"{RUN}/data", f"{RUN}/job"
_DAY, _NEXT_DAY = "2025-03-17", "2025-03-18"
_SETTINGS = (
    "name=gallery",
    "data.time_zone=UTC-03:00",
    "splits={pretrain: {start: 2025-03-03T03:00:00Z, end: 2025-03-12T03:00:00Z}, finetune: {start:"
    " as_of - 5d, end: as_of - 1d}, validation: {start: as_of - 1d, end: as_of}, test: {start:"
    " as_of, end: as_of + 1d}}",
)
_FAILED_LINES = 3
_STUDY_FILE = "benchmarks/gallery/study.yaml"
"""Of the study's page; the other pages are of a job under the same settings."""

_OURS = (_CONFIG, _STUDY_FILE)
"""Words that name a file of the repository."""


@dataclass(frozen=True)
class Page:
    """A page of the gallery.

    Attributes:
      name: of its pictures' files.
      title: plain text.
      line: what it is, one sentence.
      path: in the gallery's folder.
      command: which writes it, for people.
    """

    name: str
    title: str
    line: str
    path: str
    command: str


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
      module: that is run.
      words: after it.
      as_of: what windows count from; "" for a command that reads no config.
      codes: exit codes that are no failure.
      says: file that is given what it prints; "" for none.
    """

    module: str
    words: tuple[str, ...]
    as_of: str = _DAY
    codes: tuple[int, ...] = (0,)
    says: str = ""

    def run(self, folder: Path) -> None:
        """Runs it in the gallery's folder. Raises ``InputError`` where it fails."""
        settings = [word for text in overrides() for word in ("--set", text)]
        given = ["--config", _CONFIG, *settings, "--as-of", self.as_of] if self.as_of else []
        words = ["-m", self.module]
        words += [str(ROOT / word) if word in _OURS else word for word in (*self.words, *given)]
        say(f"gallery: {self}")
        done = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in self.codes:
            last = " / ".join(done.stderr.strip().splitlines()[-_FAILED_LINES:])
            raise InputError(f"{self} ended with exit code {done.returncode}: {last}")
        with (folder / LOG).open("a", encoding="utf-8") as log:
            log.write(f"$ {self}\n{done.stdout}\n")
        if self.says:
            (folder / self.says).write_text(done.stdout, encoding="utf-8")

    def __str__(self) -> str:
        """The command without the gallery's settings."""
        config = ["--config", _CONFIG] if self.as_of else []
        return f"python -m {self.module} {shlex.join([*self.words, *config])}"


def overrides() -> list[str]:
    """What makes the quickstart's config that of the gallery."""
    return [*load_study(str(ROOT / _STUDY_FILE)).set, *_SETTINGS]


_TRAINED = ("--data", _DATA, "--job-dir", _JOB)
SUMMARY = f"{RUN}/refresh.txt"
"""What the refresh prints."""

_REPORT = Step("trainer.task", ("report", "--job-dir", _JOB), as_of="")
_EXPLAIN = Step("trainer.task", ("explain", *_TRAINED))
_DRIFT = Step(
    "operations.drift",
    (
        *(_DATA, _DATA, "--split", "pretrain", "--other-split", "test"),
        *("--job-dir", _JOB, "--html", f"{RUN}/drift.html"),
    ),
    codes=(0, 3),
)
_REFRESH = Step(
    "operations.refresh",
    (
        *("--job-dir", _JOB, "--input", f"{_LOGS}/*.parquet"),
        *("--work", f"{RUN}/refresh", "--models", f"{RUN}/models"),
    ),
    as_of=_NEXT_DAY,
    codes=(0, 3),
    says=SUMMARY,
)
_STUDY = Step(
    "benchmarks.method",
    ("--study", _STUDY_FILE, "--output", f"{RUN}/method"),
    as_of="",
)
STEPS = (
    Step("preprocessing.simulate", ("--output", _LOGS)),
    Step("preprocessing.task", ("--input", f"{_LOGS}/*.parquet", "--output", _DATA)),
    *(Step("trainer.task", (step, *_TRAINED)) for step in ("pretrain", "finetune", "evaluate")),
    _EXPLAIN,
    _REPORT,
    _DRIFT,
    _REFRESH,
    _STUDY,
)
"""All commands; the study simulates logs of its own."""

PAGES = (
    Page(
        "report",
        "Report of a job",
        "What each domain's kernel brings over the backbone, which of them are served and why, how"
        " well probabilities are calibrated, and what the data looks like.",
        f"{_JOB}/reports/report.html",
        str(_REPORT),
    ),
    Page(
        "explanation",
        "What the model reads",
        "The AUC that is lost without each input, overall and by domain, and how domains use the"
        " body's experts.",
        f"{_JOB}/reports/explanation.html",
        str(_EXPLAIN),
    ),
    Page(
        "drift",
        "Drift between two windows",
        "Features that have changed beyond what chance gives, calibration by domain, and what the"
        " backbone's age costs.",
        f"{RUN}/drift.html",
        str(_DRIFT),
    ),
    Page(
        "refresh",
        "A day's refresh",
        "What came of a day: whether it was released or refused and why, and what each domain is"
        " served by before and after.",
        f"{RUN}/refresh.html",
        str(_REFRESH),
    ),
    Page(
        "study",
        "A study",
        "Methods side by side on the same rows, with intervals over users, domain by domain.",
        f"{RUN}/method/gallery/report.html",
        str(_STUDY),
    ),
)
"""What the index shows."""
