"""Tables of README and docs are what the reports say, and nothing else of a page changes."""

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import benchmarks.figures.__main__ as command
from benchmarks.figures.__main__ import Figures
from benchmarks.figures.marked_page import Columns, MarkedPage
from benchmarks.figures.tables import markdown, read_markdown, shown, study_table
from configs.cli import run
from configs.errors import InputError
from tests.conftest import ROOT

LINES = st.lists(st.text("abc |-.", max_size=8), max_size=4).map("\n".join)
CELLS = st.text("ab+-.[], 1|", min_size=1, max_size=6).map(str.strip).filter(bool)


def test_the_repository_s_pages_are_as_what_is_kept_says(tmp_path: Path) -> None:
    figures = Figures(ROOT, tmp_path)
    assert figures.changes() == {}
    assert "gains" not in figures.left


@given(st.lists(LINES, min_size=3, max_size=3), st.lists(LINES, min_size=2, max_size=2), LINES)
def test_only_what_stands_between_markers_changes(
    around: list[str], inside: list[str], new: str
) -> None:
    def page(first: str) -> str:
        return (
            f"{around[0]}\n<!-- figures: a/b/c -->\n\n{first}\n\n<!-- end -->\n{around[1]}\n"
            f"<!-- figures: d/e/f; only x, y; z -->\n\n{inside[1]}\n\n<!-- end -->\n{around[2]}\n"
        )

    read = MarkedPage(page(inside[0]), "page.md")
    assert read.names == ["a/b/c", "d/e/f"]
    assert read.columns == {"a/b/c": Columns(), "d/e/f": Columns(True, ("x, y", "z"))}
    assert read.replaced({}) == page(inside[0])
    replaced = read.replaced({"a/b/c": new})
    assert replaced == page(new)
    assert MarkedPage(replaced, "page.md").content("a/b/c") == new.strip("\n")


@given(st.lists(st.tuples(LINES, LINES), min_size=1, max_size=4))
def test_any_places_change_together(places: list[tuple[str, str]]) -> None:
    """Also those with nothing between their markers."""

    def page(contents: list[str]) -> str:
        return "text\n".join(
            f"<!-- figures: {number} -->\n{content}<!-- end -->\n"
            for number, content in enumerate(contents)
        )

    before = page([old and f"\n{old}\n\n" for old, _ in places])
    contents = {str(number): new for number, (_, new) in enumerate(places)}
    after = page([f"\n{new}\n\n" for _, new in places])
    assert MarkedPage(before, "page.md").replaced(contents) == after


@given(
    st.integers(1, 4).flatmap(
        lambda width: st.lists(
            st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=4
        )
    )
)
def test_a_table_is_read_as_it_was_written(cells: list[list[str]]) -> None:
    assert read_markdown(markdown(cells)) == cells


@given(st.text("a`~ \n<>!-", max_size=40), st.text("a\n", max_size=5))
def test_a_text_of_any_lines_stands_in_a_page_and_is_all_that_changes(text: str, new: str) -> None:
    """Whatever it holds: fences, markers, or nothing."""
    text = f"{text}\n<!-- end -->\n<!-- figures: d/e/f -->\n"
    around = "Above.\n\n<!-- figures: a/b/c -->\n<!-- end -->\n\nBelow.\n"
    page = MarkedPage(around, "page.md").replaced({"a/b/c": markdown(text)})
    read = MarkedPage(page, "page.md")
    assert read.names == ["a/b/c"]
    fence, *lines, end = read.content("a/b/c").splitlines()
    assert fence == end
    assert lines == [line.rstrip() for line in text.strip("\n").split("\n")]
    again = read.replaced({"a/b/c": markdown(new)})
    assert again == MarkedPage(around, "page.md").replaced({"a/b/c": markdown(new)})


def test_a_page_shows_some_columns_of_a_table() -> None:
    cells = [["a", "b", "b", "c"], ["1", "2", "3", "4"]]
    assert shown(cells, Columns(), "x") == cells
    assert shown(cells, Columns(only=True, titles=("a", "b")), "x") == [row[:3] for row in cells]
    assert shown(cells, Columns(titles=("a", "b")), "x") == [row[3:] for row in cells]
    assert shown("a text", Columns(), "x") == "a text"
    with pytest.raises(InputError, match="figures 'x': a text has no columns; received: a"):
        shown("a text", Columns(titles=("a",)), "x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<!-- figures: a -->\n", "page.md:1: figures 'a': expected <!-- end --> below"),
        ("x\n<!-- end -->\n", "page.md:2: <!-- end -->: expected a <!-- figures: NAME -->"),
        ("<!-- figures: a -->\n<!-- figures: b -->\n", "page.md:2: .* expected <!-- end -->"),
        (2 * "<!-- figures: a -->\n<!-- end -->\n", "page.md:3: figures 'a' are there twice"),
    ],
)
def test_markers_that_do_not_match_are_one_line(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        MarkedPage(text, "page.md")


def test_the_bars_of_what_ran_are_a_table() -> None:
    asked = {"asked": "above 0", "measured": "CTR: +1.0"}
    bars = [
        {"bar": name, **asked, "met": met}
        for name, met in (("a", True), ("b", False), ("not run", None))
    ]
    assert study_table({"bars": bars}, "small/bars/0") == [
        ["bar", "asked", "measured", "met"],
        ["a", "above 0", "CTR: +1.0", "yes"],
        ["b", "above 0", "CTR: +1.0", "no"],
    ]


def report(value: float) -> dict[str, object]:
    gain = {"value": value, "low": value - 0.1, "high": value + 0.1, "unit": "points"}
    rows = [
        {"cells": ["kernels", gain, 30]},
        {"cells": ["not run", None, None]},
    ]
    table = {"title": "split 'test'", "columns": ["method", "gain", "rows"], "rows": rows}
    return {"study": "small", "sections": [{"id": "main", "tables": [table]}]}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pages like ours, with one table more."""
    root = tmp_path / "repository"
    (root / "docs" / "images").mkdir(parents=True)
    for page in ("README.md", "docs/results.md"):
        (root / page).write_text((ROOT / page).read_text(encoding="utf-8"), encoding="utf-8")
    for drawing in (ROOT / "docs" / "images").glob("results-*.svg"):
        (root / "docs" / "images" / drawing.name).write_bytes(drawing.read_bytes())
    (root / "docs" / "more.md").write_text(
        "Above.\n\n<!-- figures: small/main/test; without rows -->\n<!-- end -->\n\nBelow.\n"
    )
    monkeypatch.setattr(command, "ROOT", root)
    return root


def figures(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["figures", *map(str, words)])
    try:
        run(command.main)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_a_report_is_written_in_place_and_kept(
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page, reports = repository / "docs" / "more.md", tmp_path / "reports"
    nowhere = ("--reports", tmp_path / "nowhere")
    before = page.read_text()
    assert figures(monkeypatch, *nowhere) == 0
    assert "stays: small/main/test (in more.md): no report" in capsys.readouterr().err
    assert page.read_text() == before

    (reports / "small").mkdir(parents=True)
    (reports / "small" / "report.json").write_text(json.dumps(report(1.25)))
    assert figures(monkeypatch, "--reports", reports, "--check") == 2
    assert "not as the reports say: docs/more.md" in capsys.readouterr().err
    assert page.read_text() == before
    assert figures(monkeypatch, "--reports", reports) == 0
    assert set(capsys.readouterr().out.split()) == {"docs/more.md", "docs/results/small.json"}
    assert page.read_text() == (
        "Above.\n\n<!-- figures: small/main/test; without rows -->\n\n"
        "| method | gain |\n|---|---|\n| kernels | +1.25 [+1.15, +1.35] |\n"
        "\n<!-- end -->\n\nBelow.\n"
    )
    for where in (reports, tmp_path / "nowhere"):  # what is kept says the same
        assert figures(monkeypatch, "--reports", where, "--check") == 0
    page.write_text(page.read_text().replace("+1.25", "+9.25"))  # by hand
    assert figures(monkeypatch, *nowhere, "--check") == 2


def test_the_readme_follows_the_docs(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = repository / "docs" / "results.md"
    before, row = results.read_text(encoding="utf-8"), "| kernels, active ones | "
    gain = before.partition(row)[2].partition(" | ")[0]  # of the first table, which has it first
    assert gain[0] in "+-" and gain.endswith("]")
    results.write_text(before.replace(gain, "+7.77 [+7.04, +8.21]", 1), encoding="utf-8")
    assert figures(monkeypatch, "--reports", tmp_path) == 0
    assert f"{row}+7.77 [+7.04, +8.21] |" in (repository / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("marker", "said"),
    [
        ("small/main/far_test", "the report has no such table; there are: split 'test'"),
        ("small/main/test; without costs", "no column costs; there are: method, gain, rows"),
        ("small", "expected STUDY/SECTION/SPLIT, or 'gains'"),
    ],
)
def test_a_table_that_there_is_not_is_one_line(
    repository: Path, tmp_path: Path, marker: str, said: str
) -> None:
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "report.json").write_text(json.dumps(report(1.0)))
    (repository / "docs" / "more.md").write_text(f"<!-- figures: {marker} -->\n<!-- end -->\n")
    with pytest.raises(InputError, match=said):
        Figures(repository, tmp_path).changes()
