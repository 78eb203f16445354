"""The training command: ``python -m trainer.task [pretrain | finetune | evaluate | report |
kernels]``.

Without a subcommand it runs pretrain, finetune, evaluate and report, which is what a training
service launches.
"""

import argparse
import json
import sys
from pathlib import Path

import tensorflow as tf

from configs import InputError
from configs.cli import CommandParser, add_config_arguments, read_config, run
from trainer.evaluation.evaluate import evaluate
from trainer.job import Job
from trainer.registry.command import add_arguments, kernels_command
from trainer.reports.html_report import write_report
from trainer.reports.text_table import render_table
from trainer.training.finetune import finetune
from trainer.training.pretrain import one_thread_an_operation, pretrain


def main() -> None:
    """Parses the command line and runs the subcommand."""
    arguments = _parser().parse_args(_with_default_subcommand(sys.argv[1:]))
    try:
        arguments.function(arguments)
    except tf.errors.DataLossError as error:
        raise InputError(
            f"a file of the dataset is damaged; run preprocessing.task again: {error.message}"
        ) from None


def _with_default_subcommand(words: list[str]) -> list[str]:
    return (
        words
        if words and (not words[0].startswith("-") or words[0] in ("-h", "--help"))
        else ["run", *words]
    )


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="python -m trainer.task",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (function, text) in _COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(function=function)
        if name not in ("report", "kernels"):
            add_config_arguments(command)
            command.add_argument(
                "--data",
                type=Path,
                required=True,
                metavar="DIR",
                help="dataset written by preprocessing.task",
            )
        command.add_argument(
            "--job-dir",
            type=Path,
            required=True,
            metavar="DIR",
            help="where the backbone, kernels and reports are",
        )
        if name in ("finetune", "run"):
            command.add_argument(
                "--domains",
                nargs="+",
                default=[],
                metavar="DOMAIN",
                help="domains to tune; all of the config's by default",
            )
        if name in ("evaluate", "run"):
            command.add_argument(
                "--json", action="store_true", help="print JSON instead of a table"
            )
            command.add_argument("--split", help="split to evaluate; evaluation.split by default")
        if name == "kernels":
            add_arguments(command)
    return parser


def _pretrain(arguments: argparse.Namespace) -> None:
    pretrain(read_config(arguments), arguments.data, Job(arguments.job_dir))


def _pretrain_alone(arguments: argparse.Namespace) -> None:
    one_thread_an_operation()  # not before the other steps, whose operations are few and large
    _pretrain(arguments)


def _finetune(arguments: argparse.Namespace) -> None:
    finetune(read_config(arguments), arguments.data, Job(arguments.job_dir), arguments.domains)


def _evaluate(arguments: argparse.Namespace) -> None:
    result = evaluate(
        read_config(arguments), arguments.data, Job(arguments.job_dir), arguments.split
    )
    print(json.dumps(result.to_json(), indent=1) if arguments.json else render_table(result))


def _run(arguments: argparse.Namespace) -> None:
    for step in (_pretrain, _finetune, _evaluate, _report):
        step(arguments)


def _report(arguments: argparse.Namespace) -> None:
    print(f"report: {write_report(arguments.job_dir)}", file=sys.stderr)


def _kernels(arguments: argparse.Namespace) -> None:
    kernels_command(arguments, _parser())


_COMMANDS = {
    "run": (_run, "pretrain, finetune, evaluate and report in turn (the default)"),
    "pretrain": (_pretrain_alone, "train the backbone; resumes where it was interrupted"),
    "finetune": (_finetune, "train kernels on the frozen backbone"),
    "evaluate": (_evaluate, "judge backbone and kernels, domain by domain"),
    "report": (_report, "write reports/report.html from the last evaluation"),
    "kernels": (_kernels, "list, compare, verify, activate, roll back or remove kernels"),
}

if __name__ == "__main__":
    tf.config.experimental.enable_op_determinism()
    run(main)
