"""The rule by which kernels are activated: what evidence it asks for, and what it says of it."""

from collections.abc import Mapping
from statistics import NormalDist
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from configs.training import Activation
from tests.tasks import RANKING, TARGETS
from tests.trainer.conftest import random_rows, variant
from trainer.backbone.frozen_pass import BackboneOutputs
from trainer.evaluation.activation import Evidence, gather_evidence, judge
from trainer.evaluation.comparison import compare, paired_rows
from trainer.metrics.paired_tests import PairedTest
from trainer.metrics.task_metrics import METRICS

ROWS = random_rows(120)
EVERY = np.arange(120)
CORRECTIONS = ("holm", "benjamini_hochberg", "none")
PLENTY = 1_000


def proof(better: float) -> PairedTest:
    """A test with this p-value of a kernel that is no better."""
    return PairedTest(
        delta=-0.01 * NormalDist().inv_cdf(better),
        standard_error=0.01,
        better=better,
        worse=1.0 - better,
    )


def evidence(ctr: float | None, ctcvr: float | None, positives: int = PLENTY) -> Evidence:
    tests = {"ctr": ctr, "ctcvr": ctcvr}
    return Evidence(
        {task: None if p is None else proof(p) for task, p in tests.items()},
        dict.fromkeys(tests, positives),
    )


def rule(correction: str = "holm", level: float | None = 0.05, **more: Any) -> Activation:
    return Activation.model_validate({"correction": correction, "level": level, **more})


def helped(found: Mapping[str, Evidence], chosen: Activation, share: float = 1.0) -> set[str]:
    return {domain for domain, verdict in judge(found, chosen, share).items() if verdict.helps}


@pytest.mark.parametrize(
    ("ctr", "ctcvr", "helps", "harms"),
    [
        (0.001, 0.001, True, False),
        (0.001, 0.4, True, False),
        (0.4, 0.001, True, False),
        (0.001, None, True, False),
        (None, 0.001, True, False),
        (0.4, 0.4, False, False),
        (0.001, 0.999, False, False),
        (0.999, 0.001, False, False),
        (0.999, 0.5, False, True),
        (0.5, 0.999, False, True),
        (0.999, None, False, True),
        (None, None, False, False),
        (0.025, 0.4, True, False),  # half the level, since there are two tasks
        (0.026, 0.4, False, False),
        (0.05, None, True, False),  # all of it, where there is one
        (0.051, None, False, False),
    ],
)
@pytest.mark.parametrize("correction", CORRECTIONS)
def test_one_domain_helps_where_a_task_is_better_and_none_worse(
    ctr: float | None, ctcvr: float | None, helps: bool, harms: bool, correction: str
) -> None:
    verdict = judge({"all": evidence(ctr, ctcvr)}, rule(correction))["all"]
    assert (verdict.helps, verdict.harms) == (helps, harms)


def test_corrections_worked_out_by_hand() -> None:
    # One task each, so a domain's p-value is the test's. Holm's bounds: 0.0125, 0.0167, 0.025,
    # 0.05; those of Benjamini and Hochberg: 0.0125, 0.025, 0.0375, 0.05.
    found = {
        name: evidence(p, None) for name, p in zip("abcd", (0.03, 0.01, 0.6, 0.02), strict=True)
    }
    assert helped(found, rule("holm")) == {"b"}
    assert helped(found, rule("benjamini_hochberg")) == {"a", "b", "d"}
    assert helped(found, rule("none", 0.02)) == {"b", "d"}


def test_reasons_say_what_was_found_and_what_was_needed() -> None:
    found = {
        "a": evidence(0.0004, 0.3),
        "b": evidence(0.3, 0.2),
        "c": evidence(0.9999, 0.4),
        "d": evidence(0.0001, 0.98),
        "e": evidence(0.001, 0.001, positives=12),
        "f": evidence(None, None),
    }
    reasons = {name: verdict.reason for name, verdict in judge(found, rule()).items()}
    assert reasons == {
        "a": "CTR-AUC higher (p = 0.0004, needed 0.013)",
        "b": "no AUC significantly higher (p = 0.2, needed 0.013)",
        "c": "CTR-AUC lower (p = 0.0001, needed 0.0083)",
        "d": "CTR-AUC higher (p = 0.0001, needed 0.013), but CTCVR-AUC lower (p = 0.02)",
        "e": "too few positives: 12 of 20 (CTR)",
        "f": "no test: too few users, or one outcome alone",
    }
    gauc = judge({"a": evidence(0.0004, 0.3)}, rule(metric="gauc"))
    assert gauc["a"].reason.startswith("CTR-GAUC higher")


def test_a_task_with_few_positives_is_not_tested_but_may_warn() -> None:
    few = Evidence(evidence(0.001, 0.001).tests, {"ctr": 50, "ctcvr": 19})
    verdict = judge({"a": few}, rule())["a"]
    assert verdict.helps
    assert verdict.reason == "CTR-AUC higher (p = 0.001, needed 0.05)"
    harm = Evidence(evidence(0.001, 0.99).tests, {"ctr": 50, "ctcvr": 19})
    assert not judge({"a": harm}, rule())["a"].helps


def test_domains_that_cannot_be_tested_cost_the_others_nothing() -> None:
    found = {"a": evidence(0.03, None)}
    hopeless = {str(n): evidence(0.5, 0.5, positives=3) for n in range(9)} | {
        "x": evidence(None, None)
    }
    assert helped(found | hopeless, rule()) == helped(found, rule()) == {"a"}


def test_each_correction_has_its_own_level() -> None:
    assert Activation().correction == "benjamini_hochberg"
    assert [rule(name, None).bound for name in CORRECTIONS] == [0.05, 0.1, 0.05]
    assert [rule(name, 0.2).bound for name in CORRECTIONS] == [0.2, 0.2, 0.2]
    for level in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(ValidationError):
            rule(level=level)
    with pytest.raises(ValidationError, match="minimum_positives"):
        rule(minimum_positives=-1)


p_of_tests = st.floats(1e-6, 1.0 - 1e-6)
domains = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=3),
    st.builds(
        evidence,
        st.none() | p_of_tests,
        st.none() | p_of_tests,
        st.sampled_from([0, 19, 20, PLENTY]),
    ),
    max_size=12,
)


@given(found=domains, level=st.floats(0.01, 0.3), share=st.floats(0.01, 1.0))
@settings(deadline=None)
def test_what_every_rule_keeps_to(found: dict[str, Evidence], level: float, share: float) -> None:
    by_rule = {name: helped(found, rule(name, level), share) for name in CORRECTIONS}
    assert by_rule["holm"] <= by_rule["benjamini_hochberg"] <= by_rule["none"]
    for name in CORRECTIONS:
        verdicts = judge(found, rule(name, level), share)
        assert list(verdicts) == list(found)
        assert not any(verdict.helps and verdict.harms for verdict in verdicts.values())
        assert all(verdict.reason for verdict in verdicts.values())

        # The order of domains does not matter, nor how they are called.
        backwards = dict(reversed(found.items()))
        assert judge(backwards, rule(name, level), share) == verdicts

        # A larger level, or more of it, never takes a kernel back.
        assert by_rule[name] <= helped(found, rule(name, 1.5 * level), share)
        assert by_rule[name] <= helped(found, rule(name, level), min(1.0, 1.5 * share))

        # Sides turned round: what helped harms.
        turned = {
            domain: Evidence(
                {
                    task: test
                    and PairedTest(
                        delta=-test.delta,
                        standard_error=test.standard_error,
                        better=test.worse,
                        worse=test.better,
                    )
                    for task, test in one.tests.items()
                },
                one.positives,
            )
            for domain, one in found.items()
        }
        swapped = judge(turned, rule(name, level), share)
        assert {domain for domain, verdict in swapped.items() if verdict.harms} == by_rule[name]


@given(found=domains, better=p_of_tests)
@settings(deadline=None)
def test_more_evidence_never_takes_a_kernel_back(found: dict[str, Evidence], better: float) -> None:
    for name in CORRECTIONS:
        before = helped(found, rule(name))
        for domain, one in found.items():
            test = one.tests["ctr"]
            if test is None or better > test.better:
                continue
            stronger = Evidence({**one.tests, "ctr": proof(better)}, one.positives)
            assert before <= helped({**found, domain: stronger}, rule(name))


def test_evidence_is_gathered_from_the_rows_that_judge() -> None:
    knowing = ROWS.logits + 4 * np.stack([ROWS.labels("click"), ROWS.labels("conversion")], 1)
    pairs = list(paired_rows(variant(), ROWS, EVERY, knowing))
    found = gather_evidence(pairs, RANKING, rule())
    assert tuple(found.tests) == tuple(found.positives) == RANKING
    assert found.positives["ctr"] == ROWS.labels("click").sum()
    figures = compare(variant(), ROWS, EVERY, knowing)
    for task in RANKING:
        test = found.tests[task]
        assert test is not None
        assert test.delta == pytest.approx(figures[task]["auc"].delta)
    for metric in get_args(Activation.model_fields["metric"].annotation):
        chosen = rule(metric=metric, level=0.2)
        assert judge({"all": gather_evidence(pairs, RANKING, chosen)}, chosen)["all"].helps
    without = BackboneOutputs(knowing, ROWS.taps, ROWS.columns)
    lost = gather_evidence(
        paired_rows(variant(), without, EVERY, ROWS.logits), RANKING, rule(level=0.2)
    )
    assert judge({"all": lost}, rule(level=0.2))["all"].harms


def test_more_days_of_rows_drift_less() -> None:
    knowing = ROWS.logits + 4 * np.stack([ROWS.labels("click"), ROWS.labels("conversion")], 1)
    pairs = list(paired_rows(variant(), ROWS, EVERY, knowing))

    def error(drift: float, days: float = 1.0) -> float:
        test = gather_evidence(pairs, RANKING, rule(drift=drift), days).tests["ctr"]
        assert test is not None
        return test.standard_error

    users = error(0.0)
    assert error(0.03) == pytest.approx(np.hypot(users, 0.03))
    assert error(0.03, 9.0) == pytest.approx(np.hypot(users, 0.01))
    assert error(0.03, 0.5) == error(0.03), "a part of a day is a day"


def test_a_kernel_against_itself_is_no_gain() -> None:
    figures = compare(variant(), ROWS, EVERY, ROWS.logits)
    for task in TARGETS:
        for metric in METRICS:
            assert figures[task][metric].delta == 0.0
            assert figures[task][metric].ci95 == (0.0, 0.0)
    same = gather_evidence(paired_rows(variant(), ROWS, EVERY, ROWS.logits), RANKING, rule())
    verdict = judge({"all": same}, rule())["all"]
    assert (verdict.helps, verdict.harms) == (False, False)


def test_one_class_is_undefined() -> None:
    labels = {f"label/{name}": np.zeros(120, np.float32) for name in ("click", "conversion")}
    silent = BackboneOutputs(ROWS.logits, ROWS.taps, {**ROWS.columns, **labels})
    figures = compare(variant(), silent, EVERY, ROWS.logits)
    cells = [cell for task in figures.values() for cell in task.values()]
    assert {value for cell in cells for value in cell.model_dump().values()} == {"undefined"}
    found = gather_evidence(paired_rows(variant(), silent, EVERY, ROWS.logits), RANKING, rule())
    assert set(found.tests.values()) == {None}
    assert judge({"all": found}, rule())["all"].reason == "too few positives: 0 of 20 (CTR)"
