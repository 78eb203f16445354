"""What every command has in common: mistakes are one line and exit code 2."""

import argparse
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.cli import CommandParser, run, tensorflow_file_errors
from configs.errors import InputError, did_you_mean
from domain_kernels.command import COMMANDS
from preprocessing.filesystem import folder_argument


def parsers(module: str, leading: Sequence[str]) -> list[argparse.ArgumentParser]:
    """The parser that a command makes, and those of its own commands that a user can name."""
    made: list[argparse.ArgumentParser] = []

    def shown(parser: argparse.ArgumentParser, _: object = None) -> None:
        made.append(parser)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CommandParser, "print_help", shown)
        patch.setattr(sys, "argv", [module, *leading, "--help"])
        with pytest.raises(SystemExit):
            runpy.run_module(module, run_name="__main__")
    return made


@pytest.mark.filterwarnings("ignore:.* found in sys.modules:RuntimeWarning")  # once more
@pytest.mark.parametrize("name", COMMANDS)
def test_what_names_a_file_or_a_folder_is_not_empty(name: str) -> None:
    """Whatever is read as a path, and whatever else is called so, in every command."""
    module, leading, _ = COMMANDS[name]
    (parser,) = parsers(module, leading)
    places = [
        action
        for action in parser._actions
        if action.type in (Path, folder_argument)
        or str(action.metavar).partition(".")[0] in ("DIR", "FILE", "GLOB")
    ]
    assert places
    for action in places:
        called = action.option_strings[0] if action.option_strings else str(action.metavar)
        with pytest.raises(InputError, match=f"^{called} is empty; expected a "):
            parser._get_values(action, [""])  # type: ignore[attr-defined]


def missing(name: str) -> None:
    raise ModuleNotFoundError(f"No module named '{name}'", name=name)


@pytest.mark.parametrize(
    ("name", "library", "extra"),
    [
        ("tensorflow", "tensorflow", "train"),
        ("keras.src.layers", "keras", "train"),
        ("tensorflow_serving.apis", "tensorflow_serving", "serve"),
        ("lightgbm", "lightgbm", "bench"),
    ],
)
def test_a_library_that_is_not_installed_is_one_line(
    name: str, library: str, extra: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        run(lambda: missing(name))
    assert end.value.code == 2
    assert (
        capsys.readouterr().err
        == f"error: {library} is not installed: run make install, or pip install '.[{extra}]'\n"
    )


def test_a_module_of_ours_that_is_missing_is_a_mistake_of_ours() -> None:
    with pytest.raises(ModuleNotFoundError):
        run(lambda: missing("trainer.nothing"))


def test_input_errors_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise InputError("two\nlines")

    with pytest.raises(SystemExit) as end:
        run(fail)
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: two lines\n"


def test_the_nearest_name_is_offered_else_what_there_is() -> None:
    assert did_you_mean("scene=hmoe", ["all", "scene=home"]) == "; did you mean 'scene=home'?"
    assert did_you_mean("x", ["all", "scene=home"]) == "; there are: all, scene=home"
    assert did_you_mean("x", []) == "; there are: none"
    many = [f"region={number}" for number in range(12)]
    assert did_you_mean("x", many).endswith("region=9 and 2 more")


@given(st.text(), st.lists(st.text(), max_size=20))
def test_only_known_names_are_offered(name: str, known: list[str]) -> None:
    said = did_you_mean(name, known)
    if said.startswith("; did you mean"):
        assert said.removeprefix("; did you mean '").removesuffix("'?") in known
    else:
        assert said.startswith("; there are: ")


def test_a_full_disk_is_one_line_whoever_finds_it() -> None:
    from configs.tensorflow_import import tf

    for kind in (tf.errors.ResourceExhaustedError, tf.errors.PermissionDeniedError):
        with pytest.raises(InputError, match=r"^no room$"), tensorflow_file_errors():
            raise kind(None, None, "no room")
    disk: list[Exception] = [
        tf.errors.UnknownError(None, None, "{{node A}} /job/ckpt; No space left on device [Op:B]"),
        RuntimeError("Can't close\nerrno = 28, error message = 'No space left on device'"),
        ValueError("/job/model.keras: Disk quota exceeded"),
    ]
    for error in disk:
        with pytest.raises(InputError, match=r"No space|quota") as caught, tensorflow_file_errors():
            raise error
        assert "\n" not in str(caught.value)
        assert "{{" not in str(caught.value)
        assert "[Op" not in str(caught.value)
    with pytest.raises(tf.errors.InvalidArgumentError), tensorflow_file_errors():
        raise tf.errors.InvalidArgumentError(None, None, "a mistake of ours")
