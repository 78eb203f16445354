import copy
import json
import os
import re
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from configs.domain_names import folder_name
from configs.errors import InputError
from tests.browser import Page, assert_loads_nothing, open_page
from tests.trainer.reports.made_results import make_older_result, make_result
from trainer.metrics.results import EvaluationResult
from trainer.reports.html_report import write_report
from trainer.reports.plots import legend, panel
from trainer.reports.text_table import show_gain, show_gain_over_all, show_pair

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


EVALUATED = 1_764_398_000  # 2025-11-29 06:33 UTC


def write_metrics(job, result):
    path = job / "reports" / "metrics.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result))
    os.utime(path, (EVALUATED, EVALUATED))


def make_job(folder):
    write_metrics(folder, make_result())
    (folder / "backbone").mkdir()
    (folder / "backbone" / "history.json").write_text(json.dumps(HISTORY))
    write_card(folder, "all", 3)
    return folder


def write_card(job, domain, version):
    card = job / "kernels" / folder_name(domain) / str(version) / "card.md"
    card.parent.mkdir(parents=True)
    card.write_text("# A card")
    return card


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
            for task_name in {"ctr", "cvr", "ctcvr"} - domain.undecided.keys():
                assert show_pair(domain.tasks[task_name][metric]) in page.text
                assert show_gain(domain.tasks[task_name][metric], metric) in page.text
                over_all = show_gain_over_all(domain.tasks[task_name][metric], metric)
                assert f"all: {over_all}" in page.text
    for shown in (
        "Evaluated 2025-11-29 06:33 UTC under config c0ffee000000.",
        "123,456",
        "12,345",
        "2,469",
        "kernel, version 3",
        "off, all answers",
        "too few positives: 12 of 50 (CTCVR)",
        "never tuned",
        "0.7654",
        "0.6301 -> 0.6602 -> 0.6612",
        "mean gain of 2 of 3 single-topic domains, which are decidable (1 off), CTR-AUC points",
        "Overall: 123,456 rows, 12,345 CTR, 2,469 CVR and 2,469 CTCVR positives",
        "undecidable (0 positives)",
        "S\u00e3o Paulo",
        "undecidable (4 positives)",
        "+0.78 [+0.51, +1.02]",
        "+0.31 [-0.12, +0.74]",
        "undefined",
        "3 of 5",
    ):
        assert shown in page.text
    assert "flatter" not in page.text
    assert page.tags.count("table") == 6
    assert list(report.parent.glob(".*")) == []


def test_report_loads_nothing_from_elsewhere(report):
    assert_loads_nothing(report.read_text(encoding="utf-8"))


def test_report_opens_in_a_browser(report, result, tmp_path):
    opened = open_page(report, tmp_path)
    page = Page(opened.dom)
    for name, domain in EvaluationResult.model_validate(result).domains.items():
        assert name in page.text
        assert show_gain(domain.tasks["ctr"]["auc"], "auc") in page.text
    assert page.tags.count("table") == 6
    assert len(page.images) == 10
    assert opened.console == []
    assert opened.requests == []
    # the drawings are drawn
    assert min(map(opened.count_pixels, ("#0072B2", "#D55E00", "#009E73"))) > 100


def test_every_drawing_has_a_description(report):
    page = Page(report.read_text(encoding="utf-8"))
    assert len(page.images) == 10  # two of gains, twice three of calibration, two of the training
    assert all(len(image["alt"]) > 20 for image in page.images)
    for drawing in page.drawings():
        assert ElementTree.fromstring(drawing).tag.endswith("svg")  # noqa: S314  our own text


def test_report_sorts_domains_by_topic_and_value(report):
    text = report.read_text(encoding="utf-8")
    rows = re.findall(r"<th scope=row>(.*?)</th><td class=count>[\d,]+</td>", text)
    names = ["all", "period=noon", "region=9", "region=25", "region=25,period=noon"]
    assert [name.replace("<wbr>", "") for name in rows[: len(names)]] == names


def test_names_are_written_whole_in_tables_and_short_in_drawings(job, result):
    names = [
        "city=" + "x" * 200,
        'city="Springfield, IL"',
        "city=$x^2$",
        "city=\u5317\u4eac\x1b[31m",
    ]
    for name in names:
        result["domains"][name] = copy.deepcopy(result["domains"]["all"])
    write_metrics(job, result)
    page = Page(write_report(job).read_text(encoding="utf-8"))
    gains = page.drawings()[0]
    for name in names:
        assert name.replace("\x1b", "\ufffd") in page.text
    assert "x" * 30 not in gains
    assert "city=$x^2$" in gains
    assert "city=\u5317\u4eac\ufffd[31m" in gains


def test_drawings_are_narrow_enough_for_a_telephone(report):
    """A point is more than a pixel where a drawing is as wide as a page of 420 pixels allows."""
    for drawing in Page(report.read_text(encoding="utf-8")).drawings():
        width = ElementTree.fromstring(drawing).get("width")  # noqa: S314  our own text
        assert float(width.removesuffix("pt")) < 420 - 2 * 16


def test_cards_are_linked_where_they_are(job, result):
    names = ["all", "city=S\u00e3o Paulo", "city=100%", "a=x?y#z&\"'<b>", "region=25,period=noon"]
    for name in names[1:4]:
        result["domains"][name] = copy.deepcopy(result["domains"]["all"])
    write_metrics(job, result)
    cards = [job / "kernels" / "all" / "3" / "card.md"]
    cards += [write_card(job, name, 3) for name in names[1:]]
    report = write_report(job)
    links = Page(report.read_text(encoding="utf-8")).links
    found = {(report.parent / unquote(link)).resolve() for link in links}
    assert found == {card.resolve() for card in cards}
    assert len(links) == len(cards)  # the others have none
    assert all(link.startswith("../kernels/") and link.endswith("/3/card.md") for link in links)


def test_an_explanation_is_linked_where_there_is_one(job, report):
    assert "explanation.html" not in report.read_text(encoding="utf-8")
    (job / "reports" / "explanation.html").write_text("<p>")
    links = Page(write_report(job).read_text(encoding="utf-8")).links
    assert "explanation.html" in links


def test_report_says_whose_days_are_judged(job, result):
    result["backbone_seen"] = ["validation"]
    result["domains"]["all"]["seen"] = ["train", "validation"]
    write_metrics(job, result)
    text = Page(write_report(job).read_text(encoding="utf-8")).text
    assert (
        "split 'test' overlaps days that 1 of 4 kernels learned from, and the backbone and 1 of 4"
        " kernels were stopped or judged by: its figures flatter them."
    ) in text


def test_report_of_equal_results_is_equal(job, report):
    assert write_report(job).read_bytes() == report.read_bytes()


def test_report_escapes_names(job, result):
    result["domains"]["x=<script>alert('$1$')</script>"] = copy.deepcopy(result["domains"]["all"])
    result["split"] = "<b>"
    write_metrics(job, result)
    text = write_report(job).read_text(encoding="utf-8")
    assert "<script" not in text
    assert "x=&lt;script&gt;alert(&#x27;$1$&#x27;)&lt;/script&gt;" in text
    assert "&lt;b&gt;" in text


def test_report_without_history_and_kernels(job):
    (job / "backbone" / "history.json").unlink()
    (job / "kernels" / "all" / "3" / "card.md").unlink()
    page = Page(write_report(job).read_text(encoding="utf-8"))
    assert "No training history" in page.text
    assert len(page.images) == 8
    assert page.links == []


def test_report_of_an_older_evaluation_shows_what_it_has(job):
    result = make_older_result()
    del result["mean"], result["oracle"]
    write_metrics(job, result)
    page = Page(write_report(job).read_text(encoding="utf-8"))
    assert "mean gain of 2 single-topic domains (1 off), CTR-AUC points" in page.text
    assert "+0.78 [undefined]" in page.text
    assert "off, the nearest active one above answers" in page.text
    for missing in ("reachable", "all traffic", "config", "version", "None"):
        assert missing not in page.text


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


def test_who_taught_the_backbone_is_said(job):
    record = {
        "job": "runs/<big>",
        "backbone": "ab" * 32,
        "kernels": {
            "all": {"version": 2, "sha256": ""},
            "scene=home": {"version": 1, "sha256": ""},
        },
    }
    assert "taught" not in Page(write_report(job).read_text(encoding="utf-8")).text
    (job / "backbone" / "teacher.json").write_text(json.dumps(record))
    assert (
        "The backbone was taught by runs/<big>: backbone abababababab with kernels (domain and"
        " version) all 2, scene=home 1." in Page(write_report(job).read_text(encoding="utf-8")).text
    )


def test_a_panel_of_undefined_figures_has_no_legend() -> None:
    figure, axes = panel(1.0, left=0.5, bottom=0.5)
    legend(figure, axes, [])  # a warning is an error here
    assert not figure.legends
