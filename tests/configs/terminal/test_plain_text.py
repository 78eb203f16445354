"""Tables fit the terminal they are printed in, and lose nothing by it."""

import os
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.terminal.plain_text import align, fit, page_width, rows_fitted, terminal_width, wrap

WIDTHS = st.integers(40, 120)
CELLS = st.text("abc+-.,[]0189", max_size=16)
WORDS = st.lists(st.text("abc", min_size=1, max_size=12), max_size=12).map(" ".join)


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    """Tables of up to nine columns whose last one may hold words; titles are unlike each other."""
    columns = draw(st.integers(1, 9))
    titles = [f"t{place}" for place in range(columns)]
    rows = draw(
        st.lists(
            st.tuples(*([CELLS] * (columns - 1)), WORDS if columns > 1 else CELLS).map(list),
            min_size=1,
            max_size=5,
        )
    )
    return [titles, *rows]


@given(tables(), WIDTHS)
def test_no_line_is_longer_than_the_terminal_is_wide(rows: list[list[str]], width: int) -> None:
    assert all(len(line) <= width for line in fit(rows, width=width))


@given(tables(), WIDTHS)
def test_nothing_is_cut(rows: list[list[str]], width: int) -> None:
    """The first column may come again."""
    wanted = Counter(word for row in rows for cell in row for word in cell.split())
    shown = Counter(word for line in fit(rows, width=width) for word in line.split())
    assert wanted <= shown
    again = Counter(word for row in rows for word in row[0].split())
    assert set((shown - wanted).elements()) <= set(again.elements())


@given(tables())
def test_a_table_that_fits_is_aligned_as_ever(rows: list[list[str]]) -> None:
    lines = [line.rstrip() for line in align(rows)]
    assert fit(rows, width=max(40, *map(len, align(rows)))) == lines


@given(tables(), st.integers(60, 120))
def test_rows_keep_their_figures_beside_their_names(rows: list[list[str]], width: int) -> None:
    rows = [row[:-1] or row for row in rows]
    shown = rows_fitted(rows, width)
    assert all(len(line) <= width for lines in shown for line in lines)
    assert len({len(lines) for lines in shown}) == 1
    for row, lines in zip(rows, shown, strict=True):
        assert all(line.startswith(row[0]) for line in lines)
        assert Counter(" ".join(row).split()) <= Counter(" ".join(lines).split())


@given(WORDS.map(lambda text: f"  {text}x"), WIDTHS)
def test_a_sentence_is_wrapped_and_keeps_its_words(text: str, width: int) -> None:
    lines = wrap(text, "      ", width)
    assert all(len(line) <= width for line in lines)
    assert " ".join(lines).split() == text.split()
    assert lines[0].startswith("  ")
    assert all(line.startswith("      ") for line in lines[1:])


def test_the_width_is_that_of_the_environment_or_none_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "71")
    assert terminal_width() == page_width() == 71
    monkeypatch.delenv("COLUMNS")
    read, write = os.pipe()
    with os.fdopen(read, "rb"), os.fdopen(write, "w") as piped:
        monkeypatch.setattr(sys, "__stdout__", piped)
        assert terminal_width() > 10_000  # a program reads a row as one line
        assert page_width() == 80
