"""The words of ``trainer.task tune``, and what is looked at before TensorFlow is loaded."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from configs import InputError
from trainer.prerequisites import check_dataset
from trainer.tuning.search_space import SearchSpace

Number = TypeVar("Number", int, float)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what ``tune`` has beside ``--config`` and ``--job-dir``."""
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="dataset of the config as it is; made of the logs where it is not given",
    )
    parser.add_argument(
        "--input",
        metavar="GLOB",
        help="logs, of which a dataset is made where settings of features want another one",
    )
    parser.add_argument(
        "--trials",
        type=_above_zero(int),
        required=True,
        metavar="N",
        help="trials in all, those of earlier runs in this --job-dir included",
    )
    parser.add_argument(
        "--timeout",
        type=_above_zero(float),
        metavar="SECONDS",
        help="no trial begins later than this; one that has begun is trained to its end",
    )


def open_space(arguments: argparse.Namespace) -> SearchSpace:
    """What is to be tried. Raises ``InputError`` where it cannot be, or there is no dataset."""
    space = SearchSpace.of_file(arguments.config, arguments.set)
    if arguments.data is None and not arguments.input:
        raise InputError("no dataset: expected --data, or --input with the logs to make it of")
    space.check(has_logs=bool(arguments.input))
    if arguments.data is not None:
        check_dataset(arguments.data, *space.base.fitted_on, space.base.pretrain.validation)
    import optuna  # noqa: F401 - where it is not installed, that is said at once

    return space


def _above_zero(kind: Callable[[str], Number]) -> Callable[[str], Number]:
    def parse(text: str) -> Number:
        try:
            number = kind(text)
        except ValueError:
            number = kind("0")
        if not 0 < number < float("inf"):
            raise argparse.ArgumentTypeError(f"expected a number above 0, received {text!r}")
        return number

    return parse
