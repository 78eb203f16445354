"""Help fits the terminal, breaks no word, and names the program as it was called; what is said
after a bar has a line of its own.
"""

import argparse
import io
import sys
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.cli import CommandParser, run
from configs.errors import InputError
from configs.progress import tracked
from configs.terminal.help import call_as
from domain_kernels.command import COMMANDS, command
from trainer.task import _parser as trainer_parser

DESCRIPTION = """``python -m x``: a sentence that is written in two lines, which are together longer
than any terminal is wide.

  list             a thing and, behind spaces, what it is, which goes on below itself where a
                   line ends
  remove THING     another thing
"""


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def with_those_below(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from with_those_below(below)


def assert_fits(shown: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shown has no line that is wider than a terminal, and in each the same words."""
    said = {}
    for width in (10_000, 80, 60):
        monkeypatch.setenv("COLUMNS", str(width))
        said[width] = shown()
        assert not [line for line in said[width].splitlines() if len(line) > width]
    assert len({tuple(text.split()) for text in said.values()}) == 1
    assert len(said[60].split()) > 4


@pytest.mark.filterwarnings("ignore:.* found in sys.modules:RuntimeWarning")  # once more
@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_every_commands_help_fits_the_terminal_and_breaks_no_word(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def shown() -> str:
        monkeypatch.setattr(sys, "argv", ["domain-kernels"])
        with pytest.raises(SystemExit) as end:
            command([*([name] if name else []), "--help"])
        assert end.value.code == 0
        return capsys.readouterr().out

    assert_fits(shown, monkeypatch)


def test_so_does_that_of_every_command_of_the_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    parsers = {one.prog: one for one in with_those_below(trainer_parser())}
    assert len(parsers) > 10
    for parser in parsers.values():
        assert_fits(parser.format_help, monkeypatch)


WORDS = st.text("abc-/.", min_size=1, max_size=50)


@given(st.lists(WORDS.map("--x{}".format), max_size=5, unique=True), st.lists(WORDS), WORDS)
def test_so_does_any_help(flags: list[str], words: list[str], metavar: str) -> None:
    parser = CommandParser(prog="python -m x", description=" ".join(words))
    for flag in flags:
        parser.add_argument(flag, metavar=metavar, dest="x", help=" ".join(words))
    with pytest.MonkeyPatch.context() as patch:
        assert_fits(parser.format_help, patch)


def test_paragraphs_and_lists_are_filled_as_they_are_written() -> None:
    parser = CommandParser(prog="python -m x", description=DESCRIPTION)
    assert parser.format_help().splitlines()[2:10] == [
        "'python -m x': a sentence that is written in two lines, which are together",
        "longer than any terminal is wide.",
        "",
        "  list             a thing and, behind spaces, what it is, which goes on below",
        "                   itself where a line ends",
        "  remove THING     another thing",
        "",
        "options:",
    ]


def test_many_choices_get_a_name_and_are_listed() -> None:
    parser = CommandParser(prog="python -m x")
    names = [f"section_{number}" for number in range(9)]
    parser.add_argument("--section", choices=names, help="this one alone")
    parser.add_argument("--side", choices=["left", "right"])
    said = " ".join(parser.format_help().split())
    assert "[--section SECTION] [--side {left,right}]" in said
    assert f"this one alone: {', '.join(names)}" in said


@pytest.fixture
def called_by_name() -> Iterator[None]:
    call_as("python -m trainer.task pretrain", "domain-kernels pretrain")
    yield
    call_as("", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "domain-kernels pretrain: error: the following arguments are required: --config"),
        (
            ["--config=c", "--data=d", "--job-dir=j", "--bad"],
            (
                "domain-kernels pretrain: error: unrecognized arguments: --bad"
                " (see domain-kernels pretrain --help)\n"
            ),
        ),
    ],
)
@pytest.mark.usefixtures("called_by_name")
def test_mistakes_name_the_program_as_it_was_called(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        trainer_parser().parse_args(["pretrain", *words])
    assert capsys.readouterr().err.startswith(said)


@pytest.mark.usefixtures("called_by_name")
def test_help_names_the_program_as_it_was_called(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        trainer_parser().parse_args(["pretrain", "--help"])
    assert capsys.readouterr().out.startswith("usage: domain-kernels pretrain [-h]")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_mistake_behind_a_bar_has_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    def command() -> None:
        for _ in tracked("replay", range(3), "requests"):
            raise InputError("row 1: no domain")

    with pytest.raises(SystemExit):
        run(command)
    assert terminal.getvalue().endswith("\nerror: row 1: no domain\n")
