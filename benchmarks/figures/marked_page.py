"""Places of a page between markers: ``<!-- figures: NAME -->`` above and ``<!-- end -->`` below.
``; without TITLE; TITLE`` after the name leaves columns out, ``; only TITLE; TITLE`` all others.
Lines of a fenced block are text, whatever they look like.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from configs.errors import InputError

_BEGIN = re.compile(r"^<!-- figures: (\S+?)(?:; (without|only) (.+?))? -->$")
_END = "<!-- end -->"
_FENCE = re.compile(r"^(`{3,}|~{3,})([^`]*)$")


class Columns(NamedTuple):
    """Which columns of a table a page shows.

    Attributes:
      only: whether ``titles`` are those, or all others.
      titles: of columns.
    """

    only: bool = False
    titles: tuple[str, ...] = ()


class MarkedPage:
    """A page's text, and what stands between its markers.

    Attributes:
      columns: name -> which of its table's are shown.
    """

    def __init__(self, text: str, name: str) -> None:
        """Reads the markers.

        Args:
          text: the page.
          name: of the page, for errors.

        Raises:
          InputError: a marker has no end or no beginning, or a name is there twice.
        """
        self._lines = text.splitlines(keepends=True)
        self._places: dict[str, tuple[int, int]] = {}
        self.columns: dict[str, Columns] = {}
        opened: tuple[str, int] | None = None
        for number, line in _outside_fences(self._lines):
            begins, ends = _BEGIN.match(line.rstrip()), line.rstrip() == _END
            if (begins and opened) or (ends and not opened):
                raise InputError(
                    f"{name}:{number + 1}: {line.strip()}: expected"
                    f" {_END if opened else 'a <!-- figures: NAME --> above it'}"
                )
            if begins:
                opened = (begins[1], number + 1)
                if begins[1] in self._places:
                    raise InputError(f"{name}:{number + 1}: figures '{begins[1]}' are there twice")
                titles = tuple(filter(None, (begins[3] or "").split("; ")))
                self.columns[begins[1]] = Columns(begins[2] == "only", titles)
            if ends and opened:
                self._places[opened[0]] = (opened[1], number)
                opened = None
        if opened:
            raise InputError(f"{name}:{opened[1]}: figures '{opened[0]}': expected {_END} below")

    @property
    def names(self) -> list[str]:
        """Names of the figures, in the page's order."""
        return list(self._places)

    def content(self, name: str) -> str:
        """What stands between two markers, without the empty lines around it."""
        start, end = self._places[name]
        return "".join(self._lines[start:end]).strip("\n")

    def replaced(self, contents: Mapping[str, str]) -> str:
        """The page with other contents between some of its markers."""
        lines = list(self._lines)
        for name in reversed(self._places):  # from below, so that places above stay where they are
            if name in contents:
                start, end = self._places[name]
                lines[start:end] = [f"\n{contents[name]}\n\n"]
        return "".join(lines)


def _outside_fences(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Lines that are not of a fenced block, with their numbers from 0; of one without an end all
    lines are, as Markdown has it.
    """
    fence = ""
    for number, line in enumerate(lines):
        found = _FENCE.match(line.rstrip())
        if not fence:
            fence = found[1] if found else ""
            if not found:
                yield number, line
        elif found and found[1].startswith(fence) and not found[2]:
            fence = ""
