"""``python -m trainer.task explain``: its arguments, and what it prints."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import Experiment, InputError
from configs.cli import whole_number
from configs.files import json_objects
from preprocessing.filesystem import folder_argument
from trainer.job import Job

if TYPE_CHECKING:
    from trainer.metrics.explanation_results import RequestExplanation

_DESCRIPTION = """Say what the model reads.

Without --request or --example: AUC that is lost when an input is permuted among rows of a split,
overall and by domain, for the backbone alone and as rows are served, and how the body's gates mix
experts. JOB/reports/explanation.json and explanation.html hold it, too.

With one of them: how far each input moves the predictions of each row.
"""
_ROWS, _PERMUTATIONS = 20_000, 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is explained, on which rows, and how it is printed."""
    parser.description = _DESCRIPTION
    parser.add_argument(
        "--data",
        type=folder_argument,
        metavar="DIR",
        help="dataset written by python -m preprocessing.task; not with --example",
    )
    parser.add_argument("--split", help="split of the rows; evaluation.split by default")
    parser.add_argument(
        "--rows",
        type=whole_number(1),
        metavar="N",
        help=f"take at most so many rows, of whole users ({_ROWS:,})",
    )
    parser.add_argument(
        "--permutations", type=whole_number(1), metavar="N", help=f"of each input ({_PERMUTATIONS})"
    )
    parser.add_argument(
        "--output",
        type=folder_argument,
        metavar="DIR",
        help="folder of explanation.json and explanation.html; JOB/reports by default",
    )
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--request", metavar="ID", help="explain the rows of this request")
    one.add_argument(
        "--example",
        type=folder_argument,
        metavar="FILE",
        help="explain rows of JSON lines, as a client sends them",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def check_arguments(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Exits with code 2 where an argument is missing, too many or out of range."""
    example = arguments.example is not None
    way = "--example" if example else "--request" if arguments.request is not None else ""
    refused = {
        "--data": example and arguments.data,
        "--split": example and arguments.split,
        "--rows": way and arguments.rows is not None,
        "--permutations": way and arguments.permutations is not None,
        "--output": way and arguments.output,
    }
    for name, given in refused.items():
        if given:
            parser.error(f"explain {way} takes no {name}")
    if not example and arguments.data is None:
        parser.error("explain needs --data, or --example")


def explain_command(arguments: argparse.Namespace, experiment: Experiment, job: Job) -> str:
    """Explains, and gives what is to be printed. Raises ``InputError`` as
    ``trainer.explanation.explain`` says.
    """
    from trainer.explanation.explain import explain
    from trainer.reports.explanation_text import render_importance, render_request

    if arguments.request is not None or arguments.example is not None:
        found = _of_request(arguments, experiment, job)
        return _json(found.model_dump(mode="json")) if arguments.json else render_request(found)
    folder = arguments.output or job.reports
    if arguments.output and not folder.is_dir():
        raise InputError(f"--output: no such directory: {folder}")
    result = explain(
        experiment,
        arguments.data,
        job,
        arguments.split,
        rows=arguments.rows or _ROWS,
        permutations=arguments.permutations or _PERMUTATIONS,
        output=arguments.output,
    )
    print(f"explanation: {folder / 'explanation.html'}", file=sys.stderr)
    return _json(result.model_dump(mode="json")) if arguments.json else render_importance(result)


def _of_request(
    arguments: argparse.Namespace, experiment: Experiment, job: Job
) -> "RequestExplanation":
    from trainer.explanation.explain import explain_example, explain_request

    if arguments.request is not None:
        return explain_request(experiment, arguments.data, job, arguments.request, arguments.split)
    requests = _read_rows(arguments.example)
    return explain_example(experiment, job, requests, str(arguments.example))


def _read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of JSON lines. Raises ``InputError`` where there are none, or a line is no object."""
    try:
        with path.open("rb") as lines:
            rows = [row for _, row in json_objects(lines, str(path))]
    except OSError as error:
        raise InputError(f"--example {path}: cannot be read: {error.strerror}") from None
    if not rows:
        raise InputError(f"--example {path}: no rows; expected a JSON object in each line")
    return rows


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1)
