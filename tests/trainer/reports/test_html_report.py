import copy
import json
import re
from xml.etree import ElementTree

import pytest

from configs.domains import is_single_topic
from configs.errors import InputError
from tests.browser import Page, assert_loads_nothing, open_page
from trainer.reports.html_report import write_report
from trainer.reports.text_table import (
    mean_gain,
    render_table,
    show_gain,
    show_pair,
)


def cell(backbone, delta, ci95):
    return {"backbone": backbone, "kernel": backbone + delta, "delta": delta, "ci95": ci95}


UNDEFINED = {
    "backbone": "undefined",
    "kernel": "undefined",
    "delta": "undefined",
    "ci95": "undefined",
}


def task(auc, delta):
    return {
        "auc": cell(auc, delta, [delta - 0.004, delta + 0.004]),
        "gauc": cell(auc - 0.01, delta, [delta - 0.005, delta + 0.005]),
        "log_loss": cell(0.3121, -0.0123, [-0.02, -0.01]),
        "ne": cell(0.9512, -0.02, [-0.03, -0.01]),
        "pcoc": cell(1.0807, -0.07, [-0.08, -0.06]),
    }


def domain(rows, active, ctr, ctcvr):
    return {
        "rows": rows,
        "active": active,
        "ctr": task(0.6301, ctr),
        "cvr": task(0.71, ctr),
        "ctcvr": task(0.695, ctcvr),
    }


def make_result():
    domains = {
        "all": domain(123_456, True, 0.0311, 0.028),
        "region=25": domain(45_678, True, 0.02, 0.03),
        "region=9": domain(5_000, False, -0.0044, 0.01),
        "period=noon": {
            "rows": 0,
            "active": False,
            **{name: dict.fromkeys(task(0.5, 0), UNDEFINED) for name in ("ctr", "cvr", "ctcvr")},
        },
        "region=25,period=noon": domain(900, True, 0.05, 0.05),
    }
    overall = {
        name: {
            metric: {side: values[side] for side in ("backbone", "kernel")}
            for metric, values in task(0.6301, 0.0311).items()
        }
        for name in ("ctr", "cvr", "ctcvr")
    }
    return {
        "split": "test",
        "overall": overall,
        "domains": domains,
        "oracle": {"ctr": {"auc": 0.7654}, "ctcvr": {"auc": "undefined"}},
    }


HISTORY = [
    {
        "step": 100,
        "epoch": 1,
        "train_loss": 0.5,
        "validation": {"loss": 0.52, "ctr_auc": 0.61, "ctcvr_auc": "undefined"},
    },
    {
        "step": 200,
        "epoch": 1,
        "train_loss": 0.4,
        "validation": {"loss": 0.48, "ctr_auc": 0.63, "ctcvr_auc": 0.69},
    },
]


def make_job(folder):
    for name, content in {
        "reports/metrics": make_result(),
        "backbone/history": HISTORY,
        "kernels/active": {"all": 3, "region=25": 1},
    }.items():
        path = folder / f"{name}.json"
        path.parent.mkdir()
        path.write_text(json.dumps(content))
    return folder


@pytest.fixture
def result():
    return make_result()


@pytest.fixture
def job(tmp_path):
    return make_job(tmp_path)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report that was written once, for tests that only read it."""
    return write_report(make_job(tmp_path_factory.mktemp("job")))


def test_table_shows_every_domain(result):
    lines = render_table(result).splitlines()
    row = {line.split()[0]: line for line in lines if line}
    assert row["all"].split()[1:3] == ["123,456", "kernel"]
    assert "0.6301 -> 0.6612  +3.11 [+2.71, +3.51]" in row["all"]
    assert "0.6950 -> 0.7230  +2.80 [+2.40, +3.20]" in row["all"]
    assert "-0.44 [-0.84, -0.04]" in row["region=9"]
    assert row["region=9"].split()[2] == "off"
    assert row["period=noon"].split()[1:] == ["0", "off", *["undefined"] * 4]
    assert [line.split()[0] for line in lines[3:8]] == list(result["domains"])
    assert "serves the backbone" in row["off:"]
    assert "test" in lines[0]
    assert max(len(line) for line in lines) <= 130


def test_table_shows_overall_best_reachable_and_mean_gain(result):
    text = render_table(result)
    ctr = next(line for line in text.splitlines() if line.startswith("CTR "))
    assert ctr.split("  ")[-1] == "0.7654"
    assert "1.0807 -> 1.0107" in ctr
    # single-topic domains with a gain: region=25 and region=9, not all, period=noon (undefined) nor
    # the cross-topic one
    assert "mean gain of single-topic domains, CTR: +0.78 AUC points over 2 domains" in text
    assert "mean gain of single-topic domains, CTCVR: +2.00 AUC points over 2 domains" in text


def test_table_without_truth_topics_or_inactive_domains(result):
    result["oracle"], result["domains"] = None, {"all": result["domains"]["all"]}
    text = render_table(result)
    assert "reachable" not in text
    assert "off" not in text
    assert "CTR: undefined" in text


def test_table_cuts_long_names_only(result):
    name = "a_topic_with_a_long_name=" + "x" * 60
    result["domains"][name] = result["domains"]["all"]
    lines = render_table(result).splitlines()
    assert max(len(line) for line in lines) <= 130
    assert any(line.startswith("a_topic_with_a_long_name=xx...") for line in lines)


def test_single_topics_and_their_mean(result):
    assert [name for name in result["domains"] if is_single_topic(name)] == [
        "region=25",
        "region=9",
        "period=noon",
    ]
    assert mean_gain(result["domains"], "ctr") == (pytest.approx(0.0078), 2)
    assert mean_gain({"all": result["domains"]["all"]}, "ctr") == (None, 0)


def test_a_figure_keeps_its_unit_and_its_missing_interval():
    assert show_gain(cell(0.3, -0.0123, [-0.02, 0.01]), "log_loss") == "-0.0123 [-0.0200, +0.0100]"
    assert show_gain(cell(0.6, 0.0123, "undefined"), "auc") == "+1.23 [undefined]"
    assert show_gain(UNDEFINED, "auc") == show_pair(UNDEFINED) == "undefined"


def test_report_shows_every_figure(report, result):
    assert (report.name, report.parent.name) == ("report.html", "reports")
    page = Page(report.read_text(encoding="utf-8"))
    for name, values in result["domains"].items():
        assert name in page.text
        for metric in ("auc", "gauc", "log_loss", "ne", "pcoc"):
            for task_name in ("ctr", "cvr", "ctcvr"):
                assert show_pair(values[task_name][metric]) in page.text
                assert show_gain(values[task_name][metric], metric) in page.text
    for shown in (
        "123,456",
        "kernel (version 3)",
        "off (serves the backbone)",
        "0.7654",
        "+0.78 points",
        "undefined",
        "3 of 5",
    ):
        assert shown in page.text
    assert page.tags.count("table") == 4
    assert list(report.parent.glob(".*")) == []


def test_report_loads_nothing_from_elsewhere(report):
    assert_loads_nothing(report.read_text(encoding="utf-8"))


def test_report_opens_in_a_browser(report, result, tmp_path):
    opened = open_page(report, tmp_path)
    page = Page(opened.dom)
    for name, values in result["domains"].items():
        assert name in page.text
        assert show_gain(values["ctr"]["auc"], "auc") in page.text
    assert page.tags.count("table") == 4
    assert len(page.images) == 3
    assert opened.console == []
    assert opened.requests == []
    assert (
        min(opened.count_pixels("#0072B2"), opened.count_pixels("#D55E00")) > 100
    )  # the drawings are drawn


def test_report_has_three_drawings_with_a_description(report):
    page = Page(report.read_text(encoding="utf-8"))
    assert len(page.images) == 3
    assert all(len(image["alt"]) > 20 for image in page.images)
    for drawing in page.drawings():
        assert ElementTree.fromstring(drawing).tag.endswith("svg")  # noqa: S314  our own text


def test_report_sorts_domains_by_topic_and_value(report):
    text = report.read_text(encoding="utf-8")
    rows = re.findall(r"<th scope=row>([^<]*)</th><td>[\d,]+</td>", text)
    assert rows[:5] == ["all", "period=noon", "region=9", "region=25", "region=25,period=noon"]


def test_report_of_equal_results_is_equal(job, report):
    assert write_report(job).read_bytes() == report.read_bytes()


def test_report_escapes_names(job, result):
    result["domains"]["x=<script>alert('$1$')</script>"] = copy.deepcopy(result["domains"]["all"])
    result["split"] = "<b>"
    (job / "reports" / "metrics.json").write_text(json.dumps(result))
    text = write_report(job).read_text(encoding="utf-8")
    assert "<script" not in text
    assert "x=&lt;script&gt;alert(&#x27;$1$&#x27;)&lt;/script&gt;" in text
    assert "&lt;b&gt;" in text


def test_report_without_history_and_kernels(job):
    (job / "backbone" / "history.json").unlink()
    (job / "kernels" / "active.json").unlink()
    page = Page(write_report(job).read_text(encoding="utf-8"))
    assert "No training history" in page.text
    assert len(page.images) == 2


def test_report_needs_an_evaluation(tmp_path):
    with pytest.raises(
        InputError, match=r"metrics\.json: not found; run trainer\.task evaluate first"
    ):
        write_report(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "not json",
        "[]",
        '{"split": "test"}',
        '{"split": "t", "domains": {"all": 3}, "overall": {}, "oracle": null}',
    ],
)
def test_a_broken_evaluation_leaves_the_old_report(job, content):
    before = write_report(job).read_bytes()
    (job / "reports" / "metrics.json").write_text(content)
    with pytest.raises(InputError):
        write_report(job)
    assert (job / "reports" / "report.html").read_bytes() == before
    assert list((job / "reports").glob(".*")) == []
