"""The command: what a job's files say, added to an MLflow store."""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from configs import InputError
from configs.cli import CommandParser, run
from trainer.job import Job

_DESCRIPTION = """Adds to an MLflow store what is not there yet: the pre-training of a job with its
course and figures, every kernel version, every change of what is served, and with --work every
refresh, each as a run; with --models every exported version as a version of a registered model.
Needs the extra 'mlflow' (pip install '.[mlflow]')."""


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = CommandParser(prog="python -m operations.mlflow_export", description=_DESCRIPTION)
    parser.add_argument(
        "--job-dir", type=Path, required=True, metavar="DIR", help="with a finished backbone"
    )
    parser.add_argument(
        "--tracking-uri",
        required=True,
        metavar="URI",
        help=(
            "the store, as MLflow takes it: sqlite:///mlflow.db, http://HOST:5000; a password"
            " belongs into MLflow's own environment variables"
        ),
    )
    parser.add_argument("--experiment", metavar="NAME", help="in the store (the config's name)")
    parser.add_argument("--work", type=Path, metavar="DIR", help="--work of operations.refresh")
    parser.add_argument(
        "--models", type=Path, metavar="MODELS", help="base path of the exported model"
    )
    parser.add_argument(
        "--registered-model", metavar="NAME", help="its name in the store (that of --experiment)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of lines")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command. Raises ``InputError``."""
    given = parse_arguments(arguments)
    job = Job(given.job_dir)
    job.check_finished()
    if given.work is not None and not given.work.is_dir():
        raise InputError(f"--work {given.work}: no such directory; expected operations.refresh's")
    for flag, name in (
        ("--experiment", given.experiment),
        ("--registered-model", given.registered_model),
    ):
        if name is not None and (not name.strip() or "'" in name or "/" in name):
            raise InputError(f"{flag} '{name}': expected a name without ' and /")
    from operations.mlflow_export.job_entries import job_entries
    from operations.mlflow_export.tracking_store import TrackingStore, check_address

    check_address(given.tracking_uri)
    name = given.experiment or str(job.raw_experiment()["name"])
    store = TrackingStore(given.tracking_uri, name)
    done = Exported(name)
    entries = job_entries(job, given.work, done.left_out.append)
    added = store.add(entries)
    done.added = dict(Counter(entry.kind for entry in added))
    done.there_already = len(entries) - len(added)
    if given.models is not None:
        from operations.mlflow_export.released_models import released_models

        models = released_models(given.models, done.left_out.append)
        done.registered_model = given.registered_model or name
        try:
            done.registered = len(store.register(done.registered_model, models))
        except InputError as error:
            done.left_out.append(f"the model's versions: {error}")
    print(json.dumps(asdict(done), indent=1) if given.json else done.text)


@dataclass
class Exported:
    """What the command did.

    Attributes:
      experiment: in the store.
      added: kind -> how many runs.
      there_already: how many were there.
      registered_model: its name; None without ``--models``.
      registered: how many versions of it were added.
      left_out: what could not be read, or taken by the store, a line each.
    """

    experiment: str
    added: dict[str, int] = field(default_factory=dict)
    there_already: int = 0
    registered_model: str | None = None
    registered: int = 0
    left_out: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """For people."""
        added = ", ".join(f"{count} {kind}" for kind, count in self.added.items()) or "nothing"
        lines = [f"experiment '{self.experiment}': added {added}; {self.there_already} were there"]
        if self.registered_model:
            lines.append(f"model '{self.registered_model}': {self.registered} new versions")
        return "\n".join([*lines, *(f"left out: {line}" for line in self.left_out)])


if __name__ == "__main__":
    run(main)
