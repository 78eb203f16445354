"""A report of any titles and rows comes out as the table of a page, and every command that has
tables for pages writes one by the same flag.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

import benchmarks.figures.__main__ as command
from benchmarks import sections
from benchmarks.figures.report import Sections, add_report_argument, block, table, write_report
from benchmarks.figures.tables import markdown, study_table
from benchmarks.method.text import MISSING, plain
from configs.cli import CommandParser, run
from configs.files import read_object

TEXTS = st.text("ab |\n\t`*-.1", max_size=8)
ROWS = st.integers(2, 5).flatmap(
    lambda width: st.lists(st.lists(TEXTS, min_size=width, max_size=width), min_size=1, max_size=5)
)


def written(folder: Path, report: Sections) -> dict[str, object]:
    path = folder / "name" / "report.json"
    write_report(path, report)
    return read_object(path, "study", "sections")


@given(ROWS)
def test_a_report_is_the_table_of_a_page(
    tmp_path_factory: pytest.TempPathFactory, cells: list[list[str]]
) -> None:
    titles, *rows = cells
    report = written(
        tmp_path_factory.getbasetemp(),
        {"one": [], "two": [block("x", "y"), table("z", *split(cells))]},
    )
    assert report["study"] == "name"
    found = markdown(study_table(report, "name/two/1"))
    assert study_table(report, "name/two/0") == "y"
    first, rule, *lines = found.split("\n")
    assert rule == "|" + "---|" * len(titles)
    shown = [[plain(cell) or MISSING for cell in row] for row in rows]
    kept = [row for row in shown if set(row[1:]) != {MISSING}]
    read = [re.split(r"(?<!\\)\|", line)[1:-1] for line in (first, *lines)]
    unescaped = [[cell.strip().replace("\\|", "|") for cell in row] for row in read]
    assert unescaped == [[plain(title) for title in titles], *kept]


def split(cells: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    return cells[0], cells[1:]


def test_a_row_has_a_cell_for_each_title() -> None:
    with pytest.raises(ValueError, match="a table: expected 2 cells, received"):
        table("a table", ["x", "y"], [["1", "2"], ["1"]])


def test_without_the_flag_nothing_is_written(tmp_path: Path) -> None:
    parser = CommandParser(prog="x")
    add_report_argument(parser)
    assert parser.parse_args([]) == argparse.Namespace(report=None)
    assert parser.parse_args(["--report", str(tmp_path / "a")]).report == tmp_path / "a"
    write_report(None, {"one": []})
    assert not list(tmp_path.iterdir())


@pytest.fixture
def section(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A package of one section."""
    module = ModuleType("made.up")
    module.measure = lambda options: {"first_ms": 1.25, "second": "not measured"}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "made", ModuleType("made"))
    monkeypatch.setitem(sys.modules, "made.up", module)
    return module


def call(monkeypatch: pytest.MonkeyPatch, folder: Path, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["made", "--output", str(folder), *words])
    try:
        run(lambda: sections.run_sections("made", ["up"], "Sections."))
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_a_section_s_figures_are_a_report(
    section: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Those that have no table of their own are listed."""
    path = tmp_path / "reports" / "up" / "report.json"
    words = ("--section", "up", "--json", "--report", str(path))
    assert call(monkeypatch, tmp_path, *words) == 0
    assert json.loads(capsys.readouterr().out)["first_ms"] == 1.25
    assert study_table(read_object(path), "up/figures/0") == [
        ["figure", "value"],
        ["first_ms", "1.25"],
        ["second", "not measured"],
    ]
    section.tables = lambda figures: {"own": [table("own", list(figures), [[1, 2]])]}  # type: ignore[attr-defined]
    assert call(monkeypatch, tmp_path, *words) == 0
    assert study_table(read_object(path), "up/own/0") == [["first_ms", "second"], ["1", "2"]]


def test_a_report_is_of_one_section(
    section: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(monkeypatch, tmp_path, "--report", str(tmp_path / "x")) == 2
    assert "--report is of one section; expected --section with it" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_text_and_a_table_of_a_report_are_written_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And kept: another run needs no report, and says which page differs."""
    root, reports = tmp_path / "root", tmp_path / "reports"
    (root / "docs").mkdir(parents=True)
    (root / "README.md").write_text("None.\n")
    page = root / "docs" / "page.md"
    page.write_text(
        "".join(f"<!-- figures: name/{of}/0 -->\n<!-- end -->\n" for of in ("text", "rows"))
    )
    write_report(
        reports / "name" / "report.json",
        {"text": [block("t", "  a | b\n\n  c\n")], "rows": [table("r", ["a", "b"], [["x|y", 1]])]},
    )
    monkeypatch.setattr(command, "ROOT", root)

    def figures(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["figures", "--reports", *words])
        try:
            run(command.main)
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    assert figures(str(reports)) == 0
    assert page.read_text() == (
        "<!-- figures: name/text/0 -->\n\n```\n  a | b\n\n  c\n```\n\n<!-- end -->\n"
        "<!-- figures: name/rows/0 -->\n\n| a | b |\n|---|---|\n| x\\|y | 1 |\n\n<!-- end -->\n"
    )
    for where in (reports, tmp_path / "nowhere"):
        assert figures(str(where), "--check") == 0
    page.write_text(page.read_text().replace("  c", "  d"))
    assert figures(str(tmp_path / "nowhere"), "--check") == 2
    assert "not as the reports say: docs/page.md" in capsys.readouterr().err
