import copy
import json
import re
from xml.etree import ElementTree

import pytest

from configs.errors import InputError
from tests.browser import Page, assert_loads_nothing, open_page
from tests.trainer.reports.made_results import make_result
from trainer.metrics.results import EvaluationResult
from trainer.reports.html_report import write_report
from trainer.reports.text_table import show_gain, show_pair

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


def test_report_shows_every_figure(report, result):
    assert (report.name, report.parent.name) == ("report.html", "reports")
    page = Page(report.read_text(encoding="utf-8"))
    for name, domain in EvaluationResult.model_validate(result).domains.items():
        assert name in page.text
        for metric in ("auc", "gauc", "log_loss", "ne", "pcoc"):
            for task_name in ("ctr", "cvr", "ctcvr"):
                assert show_pair(domain.tasks[task_name][metric]) in page.text
                assert show_gain(domain.tasks[task_name][metric], metric) in page.text
    for shown in (
        "123,456",
        "kernel (version 3)",
        "off (the nearest active one above answers)",
        "0.7654",
        "mean gain of 2 single-topic domains (1 off), CTR-AUC points",
        "+0.78 [+0.51, +1.02]",
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
    for name, domain in EvaluationResult.model_validate(result).domains.items():
        assert name in page.text
        assert show_gain(domain.tasks["ctr"]["auc"], "auc") in page.text
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


def test_report_of_an_older_evaluation_has_the_mean_without_its_interval(job, result):
    del result["mean"], result["oracle"]
    (job / "reports" / "metrics.json").write_text(json.dumps(result))
    page = Page(write_report(job).read_text(encoding="utf-8"))
    assert "mean gain of 2 single-topic domains (1 off), CTR-AUC points" in page.text
    assert "+0.78 [undefined]" in page.text
    assert "reachable" not in page.text


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
    with pytest.raises(InputError) as error:
        write_report(job)
    assert str(error.value).startswith(str(job / "reports" / "metrics.json"))
    assert "\n" not in str(error.value)
    assert (job / "reports" / "report.html").read_bytes() == before
    assert list((job / "reports").glob(".*")) == []
