"""The table that ``evaluate`` prints: every figure, within 80 columns or the terminal's."""

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.reports.made_results import (
    TASKS,
    UNDEFINED,
    cell,
    domain,
    make_older_result,
    make_result,
    with_all,
)
from trainer.metrics.results import DomainComparison, DomainResult, EvaluationResult
from trainer.reports.text_table import (
    describe_seen,
    render_table,
    show_decision,
    show_gain,
    show_gain_over_all,
    show_pair,
    show_served,
)


def table(result):
    return render_table(EvaluationResult.model_validate(result))


def blocks(text):
    """domain -> what it is in one line, its line for CTR, its line for CTCVR."""
    found, about = {}, []
    for line in text.split("\n\n")[1].splitlines()[1:]:
        if line.startswith(("  CTR ", "  CTCVR ")):
            found.setdefault(" ".join(about), []).append(line)
            about = about if line.startswith("  CTR ") else []
        elif line.startswith("  CTR: "):  # both are undecidable
            found[" ".join(about)], about = [line, line], []
        else:
            about.append(line.strip())
    return {about.split(": ")[0]: (about, *lines) for about, lines in found.items()}


@pytest.fixture
def result():
    return make_result()


def test_table_says_of_every_domain_what_answers_and_how_good_its_kernel_is(result):
    shown = blocks(table(result))
    assert list(shown) == list(result["domains"])
    about, ctr, ctcvr = shown["all"]
    assert about == "all: 123,456 rows, 12,345 CTR and 2,469 CTCVR positives; kernel, version 3"
    assert ctr.split("  ")[1:] == [
        "CTR",
        "",
        "0.6301 -> 0.6612",
        "",
        "+3.11 [+2.71, +3.51]",
        "+0.00 [-0.20, +0.20]",
    ]
    assert "0.6950 -> 0.7230" in ctcvr
    assert ctcvr.endswith("+2.80 [+2.40, +3.20]  +0.00 [-0.20, +0.20]")
    about, ctr, _ = shown["region=9"]
    assert about.endswith(
        "; off, all answers: not better than all: too few positives: 12 of 50 (CTCVR)"
    )
    assert ctr.endswith("-0.44 [-0.84, -0.04]  -1.23 [-1.43, -1.03]")
    about, ctr, _ = shown["period=noon"]
    assert (
        about == "period=noon: 0 rows, 0 CTR and 0 CTCVR positives; off, all answers: never tuned"
    )
    assert ctr == "  CTR: undecidable (0 positives); CTCVR: undecidable (0 positives)"


def test_table_shows_auto_beside_both_references_and_the_best_reachable(result):
    lines = table(result).splitlines()
    rows = [re.split(r"\s{2,}", line) for line in lines[lines.index("") :]]
    rows = {tuple(row[:2]): row[2:] for row in rows if len(row) == 7}
    assert rows["task", "served by"] == ["AUC", "GAUC", "log loss", "NE", "PCOC"]
    assert rows["CTR", "backbone"][0] == "0.6301"
    assert rows["CTR", "all"][0] == "0.6602"
    assert rows["CTR", "auto"][0] == "0.6612"
    assert rows["CTR", "best reachable"] == 5 * ["0.7654"]
    assert rows["CTCVR", "best reachable"] == 5 * ["undefined"]


def test_table_shows_the_means_with_their_intervals_and_what_is_off(result):
    text = table(result)
    for task in ("CTR  ", "CTCVR"):
        assert (f"{task}  +0.78 [+0.51, +1.02]  +0.31 [-0.12, +0.74]  2 of 3 (1 off)\n") in text
    assert "2 of 3: in 2 domains of 3 the task is decidable\n" in text


def test_table_shows_positives_of_all_rows_and_segments_as_domains_are_shown(result):
    text = table(result)
    assert "\n123,456 rows, 12,345 CTR, 2,469 CVR and 2,469 CTCVR positives\n" in text
    segments = text.partition("segments of city: ")[2].splitlines()[2:]
    assert (
        segments[0].strip()
        == "city=S\u00e3o Paulo: 120,000 rows, 12,000 CTR and 2,400 CTCVR positives"
    )
    assert segments[1].endswith("0.6301 -> 0.6611    +3.10 [+2.70, +3.50]  +0.10 [-0.10, +0.30]")
    assert segments[-1] == "  CTCVR: undecidable (4 positives)"


def test_a_task_that_is_undecidable_over_all_rows_has_one_line(result):
    result["undecided"] = {"ctcvr": {"positives": 30, "negatives": 7}}
    lines = table(result).splitlines()
    assert [line for line in lines if line.startswith("CTCVR  undecidable")] == [
        "CTCVR  undecidable (7 negatives)"
    ]


def test_the_order_of_amounts_has_a_table_where_something_predicts_them(result):
    assert "order of amounts" not in table(result)
    result["order_agreement"] = {"stay": {"backbone": 0.5, "kernel": 0.7123, "all": "undefined"}}
    assert re.search(r"STAY +0\.5000 +undefined +0\.7123\n", table(result))


def test_table_of_an_older_result_shows_what_it_has():
    result = make_older_result()
    del result["mean"]
    text = table(result)
    # single-topic domains with a gain: region=25 and region=9, not all, period=noon (undefined) nor
    # the cross-topic one
    assert "CTR    +0.78 [undefined]  2 (1 off)\n" in text
    assert "CTCVR  +2.00 [undefined]  2 (1 off)\n" in text
    assert "all: 123,456 rows; kernel\n" in text
    assert "region=9: 5,000 rows; off, the nearest active one above answers\n" in text
    for missing in ("over all", "all traffic", "never tuned", "None"):
        assert missing not in text


def test_table_without_truth_topics_or_inactive_domains(result):
    result["oracle"], result["domains"] = None, {"all": result["domains"]["all"]}
    del result["mean"]
    text = table(result)
    assert "reachable" not in text
    assert "off" not in text
    assert "CTR    undefined      undefined  0\n" in text


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
    text = table(result)
    assert max(map(len, text.splitlines())) <= 80
    assert list(blocks(text)) == names


def test_a_narrow_terminal_has_every_figure_too(result, monkeypatch):
    wide = Counter(table(result).split())
    monkeypatch.setenv("COLUMNS", "60")
    again = {"task", "metric", "served", "by", *(name.upper() for name in TASKS)}
    narrow = Counter(table(result).split())
    assert wide <= narrow
    assert narrow - wide
    sides = {"CTR", "backbone", "all", "auto", "best", "reachable", "NDCG", "MRR", "recall", "GAUC"}
    assert set(narrow - wide) <= again | sides


gains = st.floats(-0.99, 0.99)


@given(
    st.text(min_size=1, max_size=200),
    st.text("test", min_size=1, max_size=64),
    st.integers(0, 999_999_999),
    st.tuples(gains, gains, gains),
    st.sampled_from((60, 80, 200)),
)
def test_every_line_fits_a_terminal_whatever_is_in_it(name, split, rows, gain, width):
    result = make_result()
    long = domain(rows, False, 0.01, 0.02)
    delta, low, high = gain
    long["ctr"]["auc"] = with_all(
        {"backbone": 0.5, "kernel": 0.5, "delta": delta, "ci95": [low, high]}, delta
    )
    result["domains"][name], result["split"] = long, split
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        text = table(result)
    assert max(map(len, text.splitlines())) <= min(width, 80)
    assert f"{rows:,} rows" in " ".join(text.split())
    assert all(letter.isprintable() for letter in text.replace("\n", ""))


def test_a_figure_keeps_its_unit_and_its_missing_interval():
    loss = DomainComparison(**with_all(cell(0.3, -0.0123, [-0.02, 0.01]), 0.004))
    assert show_gain(loss, "log_loss") == "-0.0123 [-0.0200, +0.0100]"
    assert show_gain_over_all(loss, "log_loss") == "+0.0040 [+0.0020, +0.0060]"
    alone = DomainComparison(**cell(0.6, 0.0123, "undefined"))
    assert show_gain(alone, "auc") == "+1.23 [undefined]"
    assert show_gain_over_all(alone, "auc") == "undefined"
    nothing = DomainComparison(**UNDEFINED)
    assert show_gain(nothing, "auc") == show_pair(nothing) == "undefined"


@pytest.mark.parametrize(
    ("active", "decided", "words"),
    [
        (True, 3, "why"),
        (False, None, "why"),
        (True, None, "activated by hand; before: why"),
        (False, 3, "deactivated by hand; before: why"),
    ],
)
def test_a_decision_that_was_changed_by_hand_is_not_the_reason(active, decided, words):
    content = domain(10, active, 0.0, 0.0)
    content["decision"] = content["decision"] | {"reason": "why", "active": decided}
    found = DomainResult.model_validate(content)
    assert show_decision(found) == words
    assert show_served(found) == ("kernel, version 3" if active else "off, all answers")


def test_days_that_nobody_has_seen_are_not_spoken_of(result):
    assert describe_seen(EvaluationResult.model_validate(result)) is None
    assert describe_seen(EvaluationResult.model_validate(make_older_result())) is None
    for of_domain in result["domains"].values():
        of_domain["seen"] = ["train"]
    assert describe_seen(EvaluationResult.model_validate(result)) == (
        "split 'test' overlaps days that 4 of 4 kernels learned from: its figures flatter them"
    )
