"""The console command: ``domain-kernels COMMAND ...`` is ``python -m MODULE ...``, with the same
options and exit codes.
"""

import difflib
import runpy
import sys
from typing import TYPE_CHECKING

import configs as configs_package
from configs.cli import CommandParser, run
from configs.errors import InputError
from configs.terminal.help import call_as
from domain_kernels.version import VERSION

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

COMMANDS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "simulate": ("preprocessing.simulate", (), "write a marketplace's logs, with their truth"),
    "suggest": ("preprocessing.suggest", (), "read a sample of logs and print a config for them"),
    "preprocess": ("preprocessing.task", (), "turn logs into a dataset"),
    "profile": ("preprocessing.profile", (), "print what a dataset looks like"),
    "remote": ("preprocessing.remote", (), "copy a job directory to an object store, or back"),
    "train": ("trainer.task", ("run",), "pretrain, finetune, evaluate and report in turn"),
    **{
        name: ("trainer.task", (name,), text)
        for name, text in {
            "pretrain": "train the backbone",
            "finetune": "train kernels on the frozen backbone",
            "gather": "add what the shards of finetune have trained",
            "evaluate": "judge backbone and kernels, domain by domain",
            "report": "write reports/report.html",
            "explain": "say what the model reads",
            "kernels": "list, show, compare, activate, roll back or remove kernels",
            "memory": "refresh, list or roll back what kernels remember",
            "tune": "try settings of pre-training",
        }.items()
    },
    "choose-score": ("trainer.task", ("score",), "choose what pages are ranked by"),
    "choose-routing": ("trainer.task", ("routing",), "choose how rows under 'auto' are answered"),
    "export": ("serving.export", (), "write a job as one SavedModel"),
    "serve": ("serving.server", (), "serve models over gRPC and HTTP"),
    "client": ("serving.client", (), "ask a server for the scores of rows"),
    "compare": ("serving.compare", (), "replay requests against two versions or domains"),
    "load-test": ("serving.load_test", (), "see how fast a server answers"),
    "score": ("serving.score", (), "score an archive of rows without a server"),
    "selfcheck": ("serving.selfcheck", (), "compare a server's answers with the trainer's"),
    "signature-lock": ("serving.signature_lock", (), "ask whether clients still fit a version"),
    "drift": ("operations.drift", (), "say what has changed between two windows of rows"),
    "mlflow-export": ("operations.mlflow_export", (), "add runs and versions to an MLflow store"),
    "refresh": ("operations.refresh", (), "do the whole day: new logs become what is served"),
}
"""Name of a command -> its module, the words that go before a user's, and what it does."""

CONFIG = "config"
"""The one command that no module has: it prints a config that comes with the package."""


def main() -> None:
    """The command ``domain-kernels``."""
    run(lambda: command(sys.argv[1:]))


def command(words: list[str]) -> None:
    """Runs a command in this process, as ``python -m`` would; ends as it does.

    Args:
      words: of the command line, without the program's name.

    Raises:
      InputError: no config of that name comes with the package.
    """
    parser = CommandParser(
        prog="domain-kernels",
        usage="%(prog)s [-h] [--version] COMMAND ...",
        description="Pre-train a recommender, freeze it, adapt it to domains by small kernels.",
        epilog="\n".join(
            [
                "commands (each takes --help):",
                *(f"  {name:<15} {text}" for name, (_, _, text) in COMMANDS.items()),
                f"  {CONFIG:<15} print a config that comes with the package: quickstart, ...",
            ]
        ),
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    first = words[:1]
    if not first or first[0].startswith("-"):
        parser.parse_args(words or ["--help"])
    elif first == [CONFIG]:
        if len(words) != 2 or words[1].startswith("-"):
            parser.error(f"{CONFIG}: expected one name: {', '.join(configs_here())}")
        print(config_text(words[1]), end="")
    elif first[0] not in COMMANDS:
        close = difflib.get_close_matches(first[0], [*COMMANDS, CONFIG], n=1)
        parser.error(
            f"no command '{first[0]}'" + (f"; did you mean '{close[0]}'?" if close else "")
        )
    else:
        module, leading, _ = COMMANDS[first[0]]
        sys.argv = [module, *leading, *words[1:]]
        call_as(" ".join(["python -m", module, *leading]), f"domain-kernels {first[0]}")
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        finally:
            call_as("", "")


def _configs() -> "Traversable":
    """Where they are; by a module of theirs, since a release has them under another name."""
    from importlib.resources import files  # not for any other command

    return files(configs_package)


def configs_here() -> list[str]:
    """Names of the configs that come with the package."""
    names = [entry.name for entry in _configs().iterdir()]
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def config_text(name: str) -> str:
    """The text of one of them. Raises ``InputError`` where there is none of that name."""
    if name not in configs_here():
        raise InputError(
            f"{CONFIG}: no '{name}' comes with the package; expected one of:"
            f" {', '.join(configs_here())}"
        )
    return _configs().joinpath(f"{name}.yaml").read_text(encoding="utf-8")
