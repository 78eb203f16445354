"""The help of a command: it fits the terminal, and names the program as its user has called it."""

import argparse
import re
import textwrap
from typing import Any

_MOST_CHOICES = 40
"""Letters of a choice's values that help spells out in place of a name for them."""

_ENTRY = re.compile(r"(?P<name> +\S.*? {2,}|\S.*? {4,})(?P<text>\S.*)")
"""A line of a list: something, and behind at least two spaces what it is."""


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Help in which no line is longer than the terminal: paragraphs and lists of a description are
    filled as they are written, and a usage has as much room as it needs.
    """

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        blocks: list[tuple[str, str, str]] = []  # before the first line, before others, words
        for line in textwrap.dedent(text).strip().replace("``", "'").splitlines():
            entry = _ENTRY.fullmatch(line)
            before = blocks[-1][1] if blocks else ""
            deep = len(line) - len(line.lstrip())
            if entry:
                blocks.append((entry["name"], " " * len(entry["name"]), entry["text"]))
            elif blocks and blocks[-1][2] and line.strip() and deep == len(before):
                blocks[-1] = (*blocks[-1][:2], f"{blocks[-1][2]} {line.strip()}")
            else:
                blocks.append((" " * deep, " " * deep, line.strip()))
        return "\n".join(
            textwrap.fill(
                called(words),
                width,
                initial_indent=indent + first,
                subsequent_indent=indent + others,
                break_long_words=False,
                break_on_hyphens=False,
            )
            for first, others, words in blocks
        )

    def _format_usage(self, *given: Any) -> str:
        usage = super()._format_usage(*given)
        if max(map(len, usage.splitlines()), default=0) > self._width:
            usage = re.sub(r"(?m)^ {9,}", " " * 8, usage)
        return usage

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)

    def format_help(self) -> str:
        """The help; what argparse keeps in one piece goes on below where it is wider."""
        lines = super().format_help().splitlines()
        return "".join(f"{part}\n" for line in lines for part in _cut(line, self._width))

    def _metavar_formatter(self, action: argparse.Action, default_metavar: str) -> Any:
        if _has_many_choices(action):
            return lambda size: (action.dest.upper(),) * size
        return super()._metavar_formatter(action, default_metavar)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if _has_many_choices(action) and action.option_strings:
            return f"{action.help or 'one of'}: {', '.join(map(str, action.choices or ()))}"
        return super()._get_help_string(action)


def _cut(line: str, width: int) -> list[str]:
    """A line in lines of ``width`` at most, cut between words; one that holds a longer word begins
    further left.
    """
    if len(line) <= width:
        return [line]
    words = line.split()
    indent = min(len(line) - len(line.lstrip()), max(width - max(map(len, words)), 0))
    return textwrap.wrap(
        line.strip(),
        width,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 4 if len(words) > 1 else indent),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _has_many_choices(action: argparse.Action) -> bool:
    """Whether an argument's values get a name in its place; the positional ones are spelled out in
    descriptions.
    """
    choices = ",".join(map(str, action.choices or ()))
    return action.metavar is None and len(choices) > _MOST_CHOICES


_called = ("", "")


def call_as(module: str, name: str) -> None:
    """Has help and mistakes of this process's command name the program as its user has called it.

    Args:
      module: what parsers call it, such as ``python -m trainer.task pretrain``.
      name: what its user does, such as ``domain-kernels pretrain``.
    """
    global _called
    _called = (module, name)


def called(text: str) -> str:
    """A text that names the program as its user has called it."""
    module, name = _called
    return re.sub(rf"{re.escape(module)}(?![\w.])", name, text) if module else text


def program(prog: str) -> str:
    """What mistakes call a program, by its parser's name: as its user has called it."""
    module, name = _called
    return name if module.startswith(f"{prog} ") else prog
