"""What commands have in common: ``--config`` and ``--set``, how numbers are read, and one line and
exit code 2 for what a user can cause.
"""

import argparse
import errno
import math
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from configs.digests.code import install_words
from configs.errors import A_FOLDER, InputError
from configs.progress import end_bars
from configs.terminal.help import HelpFormatter, called, program

if TYPE_CHECKING:
    from configs.load import FindAsOf
    from configs.schema import Experiment

_EXTRAS = {
    **dict.fromkeys(
        (
            "apache_beam",
            "google_crc32c",
            "h5py",
            "keras",
            "keras_rs",
            "matplotlib",
            "numpy",
            "pyarrow",
            "scipy",
            "sklearn",
            "tensorflow",
            "tensorflow_recommenders",
            "tf_keras",
            "tqdm",
        ),
        "train",
    ),
    **dict.fromkeys(("grpc", "grpc_health", "prometheus_client", "tensorflow_serving"), "serve"),
    "boto3": "aws",
    "lightgbm": "bench",
    "mlflow": "mlflow",
    "optuna": "tune",
}
"""Library that a command may miss -> extra of setup.py that installs it."""


_PLACES = {
    **dict.fromkeys(("DIR", "MODELS", "FROM", "TO", "DATASET", "VERSION"), A_FOLDER),
    **dict.fromkeys(("FILE", "FILE.png", "PEM"), "a file"),
    "GLOB": "a glob, a folder or a file",
}
"""What an argument calls its value -> what that names, which an empty text cannot."""


def _expected_place(action: argparse.Action) -> str:
    """What an argument should name, if a place; empty for any other."""
    by_type = "a file or a folder" if action.type is Path else ""
    return _PLACES.get(str(action.metavar), by_type)


class CommandParser(argparse.ArgumentParser):
    """A parser whose mistakes are one line; abbreviations of options are off, so that an
    option's meaning never changes by itself.
    """

    def __init__(self, *args: object, **settings: object) -> None:
        settings.setdefault("allow_abbrev", False)
        settings.setdefault("formatter_class", HelpFormatter)
        settings["prog"] = called(str(settings["prog"])) if settings.get("prog") else None
        super().__init__(*args, **settings)  # type: ignore[arg-type]

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        """The value of an argument. Raises ``InputError`` where it should name a file or a folder
        and is empty, as a variable of a shell is that was never set.
        """
        if not arg_string and (expected := _expected_place(action)):
            name = action.option_strings[0] if action.option_strings else str(action.metavar)
            raise InputError(f"{name} is empty; expected {expected}")
        return super()._get_value(action, arg_string)

    def error(self, message: str) -> NoReturn:
        """Prints one line and exits with code 2."""
        prog = program(self.prog)
        self.exit(2, f"{prog}: error: {message} (see {prog} --help)\n")


def add_config_arguments(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Adds ``--config FILE``, which may be left out where it is not required, ``--set
    key.path=value`` and ``--as-of``.
    """
    parser.add_argument("--config", required=required, metavar="FILE", help="experiment (YAML)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY.PATH=VALUE",
        help="override one setting; may be repeated",
    )
    parser.add_argument(
        "--as-of",
        metavar="DATE",
        help=(
            "what windows such as 'as_of - 6d' count from: a date (when that day begins) or a"
            " moment in ISO 8601; the dataset's where there is one"
        ),
    )


def whole_number(least: int, most: int = 2**31 - 1) -> Callable[[str], int]:
    """An argparse type: a whole number from ``least`` to ``most``."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(
                f"must be a whole number from {least} to {most}, received {text}"
            )
        return number

    return parse


def _number(text: str) -> float:
    """NaN where the text is none, which lies within no bounds."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def seconds(text: str) -> float:
    """An argparse type: a number of seconds, at least 0."""
    number = _number(text)
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds, 0 or more, received {text}")
    return number


def share(text: str) -> float:
    """An argparse type: a share, from 0 to 1."""
    number = _number(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"must be a share, 0 to 1, received {text}")
    return number


def config_overrides(arguments: argparse.Namespace) -> list[str]:
    """What ``--set`` and ``--as-of`` change in a config."""
    if arguments.as_of is not None and not arguments.as_of.strip():
        raise InputError("--as-of is empty; expected a date or a moment in ISO 8601")
    given = [] if arguments.as_of is None else [f"as_of={arguments.as_of}"]
    return [*arguments.set, *given]


def read_config(
    arguments: argparse.Namespace, find_as_of: "FindAsOf | None" = None
) -> "Experiment":
    """The experiment that ``add_config_arguments`` describes. Raises ``ConfigError``.

    Args:
      arguments: of the command.
      find_as_of: as ``configs.load.load_experiment`` takes it.
    """
    from configs.load import load_experiment  # pydantic: not every command reads an experiment

    return load_experiment(arguments.config, config_overrides(arguments), find_as_of)


_OF_THE_DISK = tuple(
    os.strerror(number)
    for number in (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EIO,
        errno.EFBIG,
        errno.EMFILE,
        errno.EACCES,
    )
)
"""What libraries quote of the operating system where a file cannot be written or read."""


_WHERE_IN_THE_GRAPH = re.compile(r"^\{\{[^}]*\}\} | \[Op:\w+\][^;]*$")


@contextmanager
def tensorflow_file_errors() -> Iterator[None]:
    """Raises ``InputError`` where TensorFlow, or a library that it or Keras writes with, finds a
    disk full or a file that it may not write or read, whatever class the error is of.
    """
    from configs.tensorflow_import import tf

    try:
        yield
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        said = str(getattr(error, "message", error))
        memory_or_rights = (tf.errors.ResourceExhaustedError, tf.errors.PermissionDeniedError)
        if isinstance(error, memory_or_rights) or any(words in said for words in _OF_THE_DISK):
            lines = said.splitlines() or [type(error).__name__]
            first = (line for line in lines if any(words in line for words in _OF_THE_DISK))
            raise InputError(_WHERE_IN_THE_GRAPH.sub("", next(first, lines[0]))) from None
        raise


def run(command: Callable[[], None]) -> None:
    """Runs a command's main function: ``InputError`` (or a file that cannot be used, or a library
    of ours that is not installed) is one line and exit code 2, Ctrl-C exit code 130.
    """
    try:
        command()
    except BrokenPipeError:  # whoever read our output has had enough, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(141)
    except (InputError, OSError) as error:
        end_bars()
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in _EXTRAS:
            raise
        how = install_words(_EXTRAS[library])
        print(f"error: {library} is not installed: run {how}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        end_bars()
        print("interrupted", file=sys.stderr)
        sys.exit(130)
