"""The table that ``evaluate`` prints: every figure, within 80 columns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.reports.made_results import UNDEFINED, cell, domain, make_result
from trainer.metrics.results import Comparison, EvaluationResult
from trainer.reports.text_table import render_table, show_gain, show_pair


def table(result):
    return render_table(EvaluationResult.model_validate(result))


@pytest.fixture
def result():
    return make_result()


def test_table_shows_every_domain_in_two_lines(result):
    lines = table(result).splitlines()
    start = {line.split()[0]: index for index, line in enumerate(lines) if line}
    names = list(result["domains"])
    first = start["domain"] + 1
    assert [line.split()[0] for line in lines[first : first + 10 : 2]] == names
    both = {name: lines[start[name] : start[name] + 2] for name in names}
    ctr, ctcvr = both["all"]
    assert ctr.endswith("+3.11 [+2.71, +3.51]")
    assert "CTR    0.6301 -> 0.6612" in ctr
    assert ctcvr.split()[:4] == ["123,456", "rows,", "kernel", "CTCVR"]
    assert "0.6950 -> 0.7230" in ctcvr
    assert ctcvr.endswith("+2.80 [+2.40, +3.20]")
    assert both["region=9"][0].endswith("-0.44 [-0.84, -0.04]")
    assert both["region=9"][1].split()[:3] == ["5,000", "rows,", "off"]
    assert both["period=noon"][0].split()[1:] == ["CTR", "undefined", "undefined"]
    assert both["period=noon"][1].split()[:3] == ["0", "rows,", "off"]
    assert "the nearest active one above it" in lines[start["off:"]]
    assert "split 'test'" in lines[0]


def test_table_shows_overall_and_best_reachable(result):
    lines = table(result).splitlines()
    rows = {line.split("  ")[0]: line.split() for line in lines[lines.index("") :] if line}
    assert rows["metric"][1:] == ["CTR", "CVR", "CTCVR"]
    assert rows["PCOC"][1:4] == ["1.0807", "->", "1.0107"]
    assert rows["best reachable AUC"][3:] == ["0.7654", "undefined", "undefined"]


def test_table_shows_the_mean_with_its_interval_and_what_is_off(result):
    text = table(result)
    assert "CTR    +0.78 [+0.51, +1.02]  over 2 single-topic domains (1 off)\n" in text
    assert "CTCVR  +0.78 [+0.51, +1.02]  over 2 single-topic domains (1 off)\n" in text


def test_table_of_an_older_result_has_the_mean_without_its_interval(result):
    del result["mean"]
    text = table(result)
    # single-topic domains with a gain: region=25 and region=9, not all, period=noon (undefined) nor
    # the cross-topic one
    assert "CTR    +0.78 [undefined]  over 2 single-topic domains (1 off)\n" in text
    assert "CTCVR  +2.00 [undefined]  over 2 single-topic domains (1 off)\n" in text


def test_table_without_truth_topics_or_inactive_domains(result):
    result["oracle"], result["domains"] = None, {"all": result["domains"]["all"]}
    del result["mean"]
    text = table(result)
    assert "reachable" not in text
    assert "off" not in text
    assert "CTR    undefined  over 0 single-topic domains\n" in text


def test_a_long_name_stands_whole_above_its_lines(result):
    name = "a_topic_with_a_long_name=" + "x" * 60
    result["domains"] = {name: result["domains"]["all"]}
    lines = table(result).splitlines()
    place = next(index for index, line in enumerate(lines) if line.startswith("a_topic"))
    above, below, ctr, ctcvr = lines[place : place + 4]
    assert above + below.strip() == name
    assert ctr.startswith("  123,456 rows, kernel  ")
    assert "CTR  " in ctr
    assert ctcvr.split()[0] == "CTCVR"


SCENES = ("home", "search", "coupons", "nearby")


def test_thirty_domains_fit_a_terminal(result):
    names = [
        "all",
        *(f"scene={scene}" for scene in SCENES),
        *(f"period={period}" for period in ("breakfast", "lunch", "afternoon", "dinner", "night")),
        *(f"region=r{region}" for region in range(1, 5)),
        *(f"region=r{region},scene={scene}" for region in range(1, 5) for scene in SCENES),
    ]
    assert len(names) == 30
    result["domains"] = {
        name: domain(35_930 - index, index % 2 == 0, 0.0101, -0.0569)
        for index, name in enumerate(names)
    }
    lines = table(result).splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[4:64:2]] == names


gains = st.floats(-0.99, 0.99)


@given(
    st.text("ab=,_1", min_size=1, max_size=200),
    st.text("test", min_size=1, max_size=64),
    st.integers(0, 999_999_999),
    st.tuples(gains, gains, gains),
)
def test_every_line_fits_a_terminal_whatever_is_in_it(name, split, rows, gain):
    result = make_result()
    long = domain(rows, False, 0.01, 0.02)
    delta, low, high = gain
    long["ctr"]["auc"] = {"backbone": 0.5, "kernel": 0.5, "delta": delta, "ci95": [low, high]}
    result["domains"][name], result["split"] = long, split
    text = table(result)
    assert max(map(len, text.splitlines())) <= 80
    assert f"{rows:,} rows" in text


def test_a_figure_keeps_its_unit_and_its_missing_interval():
    loss = Comparison(**cell(0.3, -0.0123, [-0.02, 0.01]))
    assert show_gain(loss, "log_loss") == "-0.0123 [-0.0200, +0.0100]"
    assert show_gain(Comparison(**cell(0.6, 0.0123, "undefined")), "auc") == "+1.23 [undefined]"
    nothing = Comparison(**UNDEFINED)
    assert show_gain(nothing, "auc") == show_pair(nothing) == "undefined"
