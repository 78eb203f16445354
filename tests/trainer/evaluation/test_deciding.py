"""What is decided of a run's domains: who is compared with whom, level by level."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import Experiment
from configs.domains import Domain
from tests.trainer.conftest import SHAPE, domains_of, variant
from tests.trainer.tapped_rows import tapped_kernel, tapped_rows
from trainer.evaluation import deciding
from trainer.evaluation.activation import Verdict
from trainer.evaluation.deciding import Answering, Candidate, decide
from trainer.kernels.scoring import score_rows
from trainer.registry.decision import Decision

ROWS = tapped_rows()
EXPERIMENT = variant("finetune.activation={level: 0.05, correction: holm}")
HOME, R1, CROSSED = "scene=home", "region=r1", "region=r1,scene=home"
STRENGTHS = st.one_of(st.none(), st.sampled_from([-1.0, 0.3, 1.0, 3.0]))


def answering(name: str, strength: float | None, seed: int = 0) -> Answering | None:
    """A kernel; it helps where its strength is above 0 and harms where it is below."""
    if strength is None:
        return None
    kernel = tapped_kernel(SHAPE, strength, seed)
    return Answering(name, strength, lambda rows: score_rows(SHAPE, kernel, ROWS, rows))


def candidate(name: str, new: float | None, served: float | None = None, **more: Any) -> Candidate:
    """A domain with a new and a served kernel of these strengths; all of its rows judge."""
    domain = domain_of(name)
    return Candidate(
        domain,
        ROWS.domain_rows(domain),
        answering("the new kernel", new, 1),
        answering("version 1", served, 2),
        **more,
    )


def domain_of(name: str) -> Domain:
    return domains_of(EXPERIMENT, name)[0]


def decided(
    *candidates: Candidate,
    others: Mapping[str, Answering] | None = None,
    experiment: Experiment = EXPERIMENT,
) -> dict[str, Decision]:
    return decide(experiment, ROWS, candidates, others or {})


@pytest.mark.parametrize(
    ("new", "served", "outcome", "against"),
    [
        (1.0, None, "activate", "backbone"),
        (-1.0, None, "keep", "backbone"),
        (None, None, "keep", "backbone"),
        (1.0, 1.0, "keep", "version 1"),  # as good as what is served
        (-1.0, 1.0, "keep", "version 1"),
        (None, 1.0, "keep", "version 1"),
        (1.0, -1.0, "activate", "backbone"),  # what is served is below its fallback
        (-1.0, -1.0, "deactivate", "backbone"),
        (None, -1.0, "deactivate", "backbone"),
    ],
)
def test_a_new_kernel_is_compared_with_what_would_answer_otherwise(
    new: float | None, served: float | None, outcome: str, against: str
) -> None:
    for name in ("all", HOME, CROSSED):
        (decision,) = decided(candidate(name, new, served, otherwise="no rows")).values()
        assert (decision.outcome, decision.against) == (outcome, against)
        assert bool(decision.tests) is (new is not None)
        assert decision.positives.keys() == decision.tests.keys()
        if new is not None and new * (served or 1.0) < 0 and against == "version 1":
            test = decision.tests["ctr"]
            assert test
            assert test.delta < 0


def test_the_fallback_is_what_the_levels_above_have_become() -> None:
    """A cross-topic kernel as good as its topic's new one is no gain over it; and a kernel that was
    served is below the kernel above that this run activates, but not below the one before.
    """
    found = decided(candidate(CROSSED, 1.0), candidate(HOME, 1.0), candidate("all", -1.0))
    assert list(found) == [CROSSED, HOME, "all"], "in the order in which they were given"
    assert [decision.outcome for decision in found.values()] == ["keep", "activate", "keep"]
    assert [decision.against for decision in found.values()] == [HOME, "backbone", "backbone"]
    weak = _noisy(0.1)
    alone = decided(_served(HOME, weak))
    assert alone[HOME].outcome == "keep"
    below = decided(_served(HOME, weak), candidate("all", 1.0))
    assert (below[HOME].outcome, below[HOME].against) == ("deactivate", "all")
    assert "below all" in below[HOME].reason


def _noisy(strength: float) -> Answering:
    """A kernel that is better than the backbone, and much worse than a good one."""
    kernel = tapped_kernel(SHAPE, strength)
    noise = np.random.default_rng(1).standard_normal((len(ROWS.logits), 2)).astype(np.float32)
    return Answering(
        "version 1", strength, lambda rows: score_rows(SHAPE, kernel, ROWS, rows) + noise[rows] / 9
    )


def _served(name: str, kernel: Answering) -> Candidate:
    domain = domain_of(name)
    return Candidate(domain, ROWS.domain_rows(domain), None, kernel, "no rows")


def test_domains_that_are_not_decided_answer_as_they_do_now() -> None:
    every = answering("all", 1.0)
    assert every
    found = decided(candidate(HOME, 1.0), others={"all": every})
    assert (found[HOME].outcome, found[HOME].against) == ("keep", "all")


def test_of_a_cross_topic_domains_fallbacks_the_one_with_the_larger_gain_counts() -> None:
    home, region = answering(HOME, 0.3), answering(R1, 1.0)
    assert home
    assert region
    found = decided(candidate(CROSSED, 1.0), others={HOME: home, R1: region})
    assert found[CROSSED].against == R1


def test_a_kernel_that_is_better_than_what_is_served_but_below_the_fallback_is_not_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verdicts = iter(
        [Verdict(False, False, "unclear"), Verdict(True, False, "up"), Verdict(False, True, "down")]
    )
    monkeypatch.setattr(
        deciding, "judge", lambda evidence, *_: dict.fromkeys(evidence, next(verdicts))
    )
    found = decided(candidate(HOME, 1.0, 1.0))[HOME]
    assert (found.outcome, found.reason) == ("keep", "below backbone: down")


def test_what_cannot_stay_goes_whatever_its_figures_say() -> None:
    gone = {"otherwise": "version 1 has another shape", "must_go": True}
    assert decided(candidate(HOME, None, **gone))[HOME].outcome == "deactivate"
    worse = decided(candidate(HOME, -1.0, **gone))[HOME]
    assert worse.outcome == "deactivate"
    assert worse.reason.startswith("not better than backbone: ")
    assert worse.reason.endswith(f"; {gone['otherwise']}")
    better = decided(candidate(HOME, 1.0, **gone))[HOME]
    assert better.outcome == "activate"
    assert better.reason.startswith("better than backbone: ")
    assert better.reason.endswith(f"; {gone['otherwise']}")


def test_a_kernel_that_is_better_than_all_and_below_the_backbone_says_so() -> None:
    others = {"all": answering("all", -3.0)}
    domain = domain_of(HOME)
    new = Candidate(domain, ROWS.domain_rows(domain), answering("the new kernel", -1.0), None)
    found = decide(EXPERIMENT, ROWS, [new], others)[HOME]
    assert found.outcome == "activate"
    assert found.reason.startswith("better than all: ")
    assert "; both are below the backbone: " in found.reason


@pytest.mark.parametrize(("strength", "outcome"), [(1.0, "activate"), (-1.0, "deactivate")])
def test_the_same_kernel_once_more_is_decided_against_its_fallback(
    strength: float, outcome: str
) -> None:
    kernel = answering("the new kernel", strength)
    domain = domain_of(HOME)
    again = Candidate(domain, ROWS.domain_rows(domain), kernel, kernel)
    assert decided(again)[HOME].outcome == outcome


def test_a_domain_without_judging_rows_is_kept() -> None:
    domain = domain_of(HOME)
    nobody = np.empty(0, np.int64)
    new, served = answering("the new kernel", 1.0), answering("version 1", -1.0)
    found = decided(Candidate(domain, nobody, new, served))[HOME]
    assert found.outcome == "keep"
    assert "too few positives" in found.reason


@settings(max_examples=20)
@given(
    st.dictionaries(st.sampled_from(["all", HOME, R1, CROSSED]), st.tuples(STRENGTHS, STRENGTHS))
)
def test_decisions_agree_with_what_was_there(
    strengths: dict[str, tuple[float | None, float | None]],
) -> None:
    found = decided(
        *(candidate(name, *given, otherwise="none") for name, given in strengths.items())
    )
    assert found.keys() == strengths.keys()
    for name, decision in found.items():
        new, served = strengths[name]
        assert decision.reason
        if decision.outcome == "activate":
            assert new
            assert new > 0, "a kernel that harms is never served"
        if decision.outcome == "deactivate":
            assert served is not None
        if decision.outcome == "keep" and served is not None:
            assert served > 0, "a kernel that harms does not stay"


@pytest.mark.parametrize(("span", "days"), [(3_600, 1), (3 * 86_400, 3), (40 * 86_400, 7)])
def test_as_many_days_judge_as_rows_are_of(span: int, days: int) -> None:
    week = (
        "splits.validation.end=2025-03-14T03:00:00Z",
        "splits.test={start: 2025-03-15T03:00:00Z, end: 2025-03-16T03:00:00Z}",
    )
    start = 20_000 * 86_400
    moments = np.linspace(start, start + span - 1, len(ROWS.logits)).astype(np.int64)
    rows = replace(ROWS, columns={**ROWS.columns, "row/timestamp": moments})

    def error(drift: float) -> float:
        experiment = variant(*week, f"finetune.activation.drift={drift}")
        test = decide(experiment, rows, [candidate(HOME, 1.0)], {})[HOME].tests["ctr"]
        assert test is not None
        return test.standard_error

    assert error(0.5) == pytest.approx(np.hypot(error(0.0), 0.5 / np.sqrt(days)))
