import copy
import math
import re
from xml.etree import ElementTree

import pytest

from benchmarks.method.report import write_report
from benchmarks.method.text import numeric_columns, render_text, show_cell, trend
from configs.errors import InputError
from tests.benchmarks.method.test_figures import CURVE, FOREST, SCATTER, points
from tests.browser import Page, assert_loads_nothing, open_page

EVIL = "x=<script>alert('$1$')</script>\"&--"


def auc(value):
    return {"value": value, "unit": "auc"}


def make_result():
    rows = [
        {
            "cells": ["zero-shot", auc(0.67234), None, {"value": 12_345, "unit": "count"}, None],
            "group": "ours",
        },
        {
            "cells": ["kernels", auc(0.6801), points(0.52, 0.31, 0.74), None, None],
            "group": "ours",
            "emphasis": True,
        },
        {
            "cells": [
                "LoRA",
                auc(0.67),
                points(-0.3, -0.5, -0.1),
                7,
                {"value": 200, "unit": "seconds"},
            ],
            "group": "rivals",
        },
        {"cells": ["STAR", auc(None), points(0.1, -0.2, 0.4), 7, "undefined"], "group": "rivals"},
    ]
    columns = ["method", "CTR-AUC", "CTR gain", "rows", "training"]
    main = {"title": "Methods", "note": "Higher is better.", "columns": columns, "rows": rows}
    return {
        "study": "globo",
        "title": "The method on the Globo data",
        "description": "What each part brings.\n\nAgainst zero-shot.",
        "command": "python -m benchmarks.method globo",
        "seeds": [17, 18, 19],
        "facts": ["Impressions are constructed."],
        "sections": [
            {
                "id": "main",
                "title": "Side by side",
                "text": "One.\n\nTwo.",
                "tables": [main],
                "plots": [FOREST, SCATTER],
            },
            {"id": "a-width", "title": "Width", "text": "", "tables": [], "plots": [CURVE]},
        ],
        "bars": [
            {
                "bar": "gain over the best baseline",
                "asked": "+3.0 points",
                "measured": "+0.6 [0.4, 0.8]",
                "met": False,
            },
            {"bar": "no domain loses", "asked": "0", "measured": "0", "met": True},
            {"bar": "cross-topic", "asked": "+0.3", "measured": None, "met": None},
        ],
    }


@pytest.fixture
def result():
    return copy.deepcopy(make_result())


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report that was written once, for tests that only read it."""
    path = tmp_path_factory.mktemp("study") / "report.html"
    write_report(make_result(), path)
    return path


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        (None, "-"),
        ("", "-"),
        ("joint,\n\x1b[1m lr", "joint, [1m lr"),
        (12_345, "12,345"),
        (0.25, "0.25"),
        (12_345.6, "12,346"),
        (math.nan, "undefined"),
        (True, "yes"),
        (points(0.52, 0.31, 0.74), "+0.52 [+0.31, +0.74]"),
        (points(-0.3), "-0.30"),
        (points(0.1, None, 0.4), "+0.10"),
        (points(None, 0.1, 0.4), "-"),
        (points("undefined", 0.1, 0.4), "undefined"),
        ({"value": 0.67234, "unit": "auc"}, "0.6723"),
        ({"value": 0.67234, "low": 0.66, "high": 0.68, "unit": "auc"}, "0.6723 [0.6600, 0.6800]"),
        ({"value": 2_988_181.0, "unit": "count"}, "2,988,181"),
        ({"value": 0.0123, "unit": "seconds"}, "12.3 ms"),
        ({"value": 0.9999, "unit": "seconds"}, "1 s"),
        ({"value": 72.34, "unit": "seconds"}, "72.3 s"),
        ({"value": 99.6, "unit": "seconds"}, "1 min 40 s"),
        ({"value": 3_599.7, "unit": "seconds"}, "1 h 0 min"),
        ({"value": 6_690, "unit": "seconds"}, "1 h 51 min"),
        ({"value": 3, "unit": ""}, "3"),
        ({"value": 1.5}, "1.5"),
        ({"value": 5, "unit": "MiB"}, "5 MiB"),
    ],
)
def test_every_kind_of_cell(cell, shown):
    assert show_cell(cell) == shown


@pytest.mark.parametrize(
    ("cell", "where"),
    [
        (points(0.5, 0.1, 0.9), "up"),
        (points(-0.5, -0.9, -0.1), "down"),
        (points(0.5, -0.1, 0.9), "even"),
        (points(0.5, 0.0, 0.9), "even"),
        (points(0.5), "even"),
        (points(None), ""),
        ({"value": 0.6, "low": 0.5, "high": 0.7, "unit": "auc"}, ""),
        (0.5, ""),
    ],
)
def test_a_difference_stands_where_its_interval_does(cell, where):
    assert trend(cell) == where


def test_columns_of_numbers_keep_to_the_right(result):
    table = result["sections"][0]["tables"][0]
    assert numeric_columns(table) == [False, True, True, True, True]
    table["rows"][0]["cells"][3] = "many"
    assert numeric_columns(table) == [False, True, True, False, True]


def test_text_shows_everything(result):
    lines = render_text(result).splitlines()
    assert lines[:2] == ["The method on the Globo data", "============================"]
    for line in (
        "command: python -m benchmarks.method globo",
        "seeds: 17, 18, 19",
        "* Impressions are constructed.",
        "One.",
        "Two.",
    ):
        assert line in lines
    row = {" ".join(line.split()[:2]): line for line in lines if line}
    assert row["zero-shot 0.6723"].split() == ["zero-shot", "0.6723", "-", "12,345", "-"]
    assert row["* kernels"].split() == [
        "*",
        "kernels",
        "0.6801",
        "+0.52",
        "[+0.31,",
        "+0.74]",
        "-",
        "-",
    ]
    assert row["LoRA 0.6700"].endswith("3 min 20 s")
    assert [line for line in lines if line.startswith("[")][:2] == ["[ours]", "[rivals]"]
    assert re.search(
        r"gain over the best baseline +\+3\.0 points +\+0\.6 \[0\.4, 0\.8\] +not met$",
        "\n".join(lines),
        re.MULTILINE,
    )
    assert [
        line.split("  ")[-1].strip()
        for line in lines
        if line.startswith(("no domain", "cross-topic"))
    ] == ["met", "not measured"]
    assert lines[-1] == "[plot, in the report: Gain against width]"


def test_a_wide_table_continues_below(result):
    table = result["sections"][0]["tables"][0]
    table["columns"] = ["domain", *(f"method {number}" for number in range(14))]
    table["rows"] = [
        {"cells": [name, *[points(0.52, 0.31, 0.74)] * 14]} for name in ("scene=1", "region=25")
    ]
    lines = render_text(result).splitlines()
    assert max(map(len, lines)) <= 130
    titles = [line.split() for line in lines if line.startswith("domain ")]
    assert len(titles) > 1
    assert [f"method {number}" for number in range(14)] == re.findall(
        r"method \d+", " ".join(map(" ".join, titles))
    )
    assert sum(line.startswith("scene=1 ") for line in lines) == len(titles)


def test_report_shows_everything(report):
    page = Page(report.read_text(encoding="utf-8"))
    for shown in (
        "+0.52 [+0.31, +0.74]",
        "-0.30 [-0.50, -0.10]",
        "0.6723",
        "12,345",
        "3 min 20 s",
        "undefined",
        "17, 18, 19",
    ):
        assert shown in page.text
    for shown in (
        "What each part brings.",
        "Impressions are constructed.",
        "Higher is better.",
        "python -m benchmarks.method globo",
    ):
        assert shown in page.text
    assert (page.tags.count("table"), page.tags.count("tr")) == (2, 4 + 5 + 2)
    assert list(report.parent.iterdir()) == [report]


def test_report_colours_differences(report):
    cells = re.findall(r'<td class="number (\w+)">(.)', report.read_text(encoding="utf-8"))
    assert cells == [("up", "+"), ("down", "-"), ("even", "+")]
    assert report.read_text(encoding="utf-8").count("<tr class=emphasis>") == 1


def test_report_shows_a_group_once(report):
    text = report.read_text(encoding="utf-8")
    rows = re.findall(r"<th (?:colspan=5 scope=colgroup|scope=row)>([^<]*)</th>", text)
    assert rows[3:] == ["ours", "zero-shot", "kernels", "rivals", "LoRA", "STAR"]


def test_contents_lead_to_the_sections_in_order(report):
    text = report.read_text(encoding="utf-8")
    page = Page(text)
    assert [link for link in page.links if link.startswith("#")] == [
        "#main",
        "#a-width",
    ]
    assert page.ids == ["main", "a-width"]
    assert (
        text.index("<nav")
        < text.index('id="main"')
        < text.index("Side by side</h2>")
        < text.index('id="a-width"')
    )
    assert text.index("Asked and measured") < text.index("<nav")


def test_report_loads_nothing_from_elsewhere(report):
    text = report.read_text(encoding="utf-8")
    assert_loads_nothing(text)
    assert "default-src 'none'" in text


def test_report_escapes_everything(result, tmp_path):
    def spoil(value):
        if isinstance(value, dict):
            return {
                key: item if key in ("kind", "unit") else spoil(item) for key, item in value.items()
            }
        return (
            [spoil(item) for item in value]
            if isinstance(value, list)
            else f"{value}{EVIL}"
            if isinstance(value, str)
            else value
        )

    write_report(spoil(result), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "<script" not in text
    assert page.ids == [f"main{EVIL}", f"a-width{EVIL}"]
    for name in (
        "kernels",
        "rivals",
        "CTR gain",
        "Width",
        "Two.",
        "+3.0 points",
        "Impressions are constructed.",
    ):
        assert f"{name}{EVIL}" in page.text
    assert f"kernels{EVIL}" in page.images[0]["alt"]
    for drawing in page.drawings():
        ElementTree.fromstring(drawing)  # noqa: S314  our own text


def test_report_of_little(tmp_path):
    write_report({"title": "Nothing yet", "sections": []}, tmp_path / "report.html")
    assert "Nothing yet" in Page((tmp_path / "report.html").read_text()).text


def test_report_of_equal_results_is_equal(report, result, tmp_path):
    write_report(result, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_bytes() == report.read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        lambda result: result.pop("sections"),
        lambda result: result["sections"][0].pop("id"),
        lambda result: result["sections"][0]["tables"][0]["rows"][0]["cells"].pop(),
        lambda result: result["bars"][0].update(met="perhaps"),
        lambda result: result["sections"][1]["plots"][0].update(kind="pie"),
        lambda result: result["sections"][1]["plots"][0]["series"][0]["y"].pop(),
    ],
)
def test_a_broken_result_leaves_the_old_report(result, tmp_path, change):
    path = tmp_path / "report.html"
    path.write_text("former")
    result = copy.deepcopy(result)  # the plots are shared
    change(result)
    with pytest.raises(
        InputError, match=r"report\.html: the study's result is not in the expected form"
    ):
        write_report(result, path)
    assert path.read_text() == "former"
    assert list(tmp_path.iterdir()) == [path]


def test_report_needs_its_folder(result, tmp_path):
    with pytest.raises(InputError, match=r"none/report\.html: cannot be written"):
        write_report(result, tmp_path / "none" / "report.html")


def test_report_opens_in_a_browser(report, tmp_path):
    opened = open_page(report, tmp_path)
    page = Page(opened.dom)
    for shown in (
        "zero-shot0.6723–12,345–",  # noqa: RUF001
        "kernels0.6801+0.52 [+0.31, +0.74]",
        "no domain loses00met",
        "cross-topic+0.3–not measured",  # noqa: RUF001
    ):
        assert shown in page.text
    assert page.ids == ["main", "a-width"]
    assert len(page.images) == 3
    assert opened.console == []
    assert opened.requests == []
    assert opened.screenshot.stat().st_size > 30_000
    assert (
        min(opened.count_pixels("#0072B2"), opened.count_pixels("#D55E00")) > 100
    )  # the drawings are drawn


def test_a_browser_tells_of_errors_and_requests(tmp_path):
    page, folder = tmp_path / "page.html", tmp_path / "browser"
    folder.mkdir()
    page.write_text(
        "<!DOCTYPE html><title>x</title><p>before</p><img src='http://example.test/x.png'><script>wrong()</script>"
    )
    opened = open_page(page, folder)
    assert "before" in opened.dom
    assert len(opened.console) == 1
    assert "wrong is not defined" in opened.console[0]
    assert opened.requests == ["http://example.test/x.png"]
