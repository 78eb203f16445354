"""The words of ``trainer.task tune``, and what is looked at before TensorFlow is loaded."""

import argparse

from configs import InputError
from configs.cli import config_overrides, seconds, whole_number
from preprocessing.dataset.manifest import as_of_dataset
from preprocessing.filesystem import folder_argument
from preprocessing.validation.newest_day import as_of_logs
from trainer.prerequisites import check_dataset
from trainer.tuning.search_space import SearchSpace


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what ``tune`` has beside ``--config`` and ``--job-dir``."""
    parser.add_argument(
        "--data",
        type=folder_argument,
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
        type=whole_number(1),
        required=True,
        metavar="N",
        help="trials in all, those of earlier runs in this --job-dir included",
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        metavar="SECONDS",
        help="no trial begins later than this; one that has begun is trained to its end",
    )


def open_space(arguments: argparse.Namespace) -> SearchSpace:
    """What is to be tried. Raises ``InputError`` where it cannot be, or there is no dataset."""
    known = as_of_logs(arguments.input) if arguments.data is None else as_of_dataset(arguments.data)
    space = SearchSpace.of_file(arguments.config, config_overrides(arguments), known)
    if arguments.data is None and not arguments.input:
        raise InputError("no dataset: expected --data, or --input with the logs to make it of")
    space.check(has_logs=bool(arguments.input))
    if arguments.data is not None:
        check_dataset(arguments.data, *space.base.fitted_on, space.base.pretrain.validation)
    import optuna  # noqa: F401 - where it is not installed, that is said at once

    return space
