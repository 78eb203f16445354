"""Help fits a terminal of 80 columns and names the program as it was called; what is said after a
bar has a line of its own.
"""

import argparse
import io
import sys
from collections.abc import Iterator

import pytest

from configs.cli import CommandParser, call_as, run
from configs.errors import InputError
from configs.progress import tracked
from serving.server.flags import arguments_of
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


def wide(text: str) -> list[str]:
    return [line for line in text.splitlines() if len(line) > 80]


def test_no_line_of_the_trainers_help_is_wider_than_the_terminal() -> None:
    helps = {one.prog: one.format_help() for one in with_those_below(trainer_parser())}
    assert len(helps) > 10
    assert not {name: lines for name, text in helps.items() if (lines := wide(text))}


def test_no_line_of_the_servers_help_is_wider(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments_of(["--help"])
    said = capsys.readouterr().out
    assert "--allow-version-labels-for-unavailable-models" in said
    assert not wide(said)


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
