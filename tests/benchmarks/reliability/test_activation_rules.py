"""Simulated runs and the rules that decide them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.reliability import activation_rules as module
from benchmarks.reliability.expected_gain import chances_of_a_gain, shrink
from benchmarks.reliability.simulated_runs import (
    CLICK,
    DOMAINS,
    LEVELS,
    ORDER,
    TASKS,
    Run,
    draw_log,
    draw_scores,
    error_of,
)
from configs.domains import BACKBONE
from configs.training import Activation
from preprocessing.auc import roc_auc
from trainer.evaluation.activation import Evidence
from trainer.metrics.paired_tests import PairedTest

EQUAL = dict.fromkeys(TASKS, 0.0)


def run_of(scenario: str, seed: int, rows: int = 3_000) -> Run:
    random = np.random.default_rng(seed)
    return Run(draw_log(random, rows), module.SCENARIOS[scenario](random), random)


def test_a_log_is_like_the_quickstart_s() -> None:
    log = draw_log(np.random.default_rng(1), 40_000)
    assert len(DOMAINS) == 30
    assert [len(level) for level in LEVELS] == [1, 13, 16]
    assert log.labels[CLICK].mean() == pytest.approx(0.15, abs=0.02)
    assert log.labels[ORDER].mean() == pytest.approx(0.03, abs=0.01)
    assert (log.labels[ORDER] <= log.labels[CLICK]).all()
    for level in LEVELS[1:]:
        by_topics: dict[tuple[str, ...], list[int]] = {}
        for domain in level:
            topics = tuple(topic for topic, _ in domain.conditions)
            by_topics.setdefault(topics, []).extend(log.rows_of(domain))
        for rows in by_topics.values():
            assert sorted(rows) == list(range(40_000))
    # A request belongs to one user, and has one scene.
    assert len(np.unique(np.stack([log.request, log.user, log.topics["scene"]]), axis=1).T) == 4_000


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("gain", [-2.0, 0.0, 1.0, 3.0])
def test_a_model_is_as_much_better_as_it_is_told_to_be(task: str, gain: float) -> None:
    random = np.random.default_rng(2)
    log = draw_log(random, 200_000)
    backbone, kernel = (
        roc_auc(log.labels[task], draw_scores(log, {**EQUAL, task: value}, random)[task])
        for value in (0.0, gain)
    )
    assert backbone is not None
    assert kernel is not None
    assert 100.0 * (kernel - backbone) == pytest.approx(gain, abs=0.35)


def test_a_gain_out_of_reach_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a gain of 20 CLICK points is out of reach; expected -"):
        error_of(CLICK, 20)


def test_what_answers_follows_what_was_activated() -> None:
    run = run_of("many_small", 3)
    nothing = run.decide(lambda evidence, share: [])
    assert set(nothing.answers.values()) == {BACKBONE}
    assert (nothing.worth, nothing.errors, nothing.added) == (0.0, 0, {})
    everything = run.decide(lambda evidence, share: list(evidence))
    assert all(domain.name == answer for domain, answer in everything.answers.items())
    assert everything.errors == sum(gain <= 0 for gain in everything.added.values())
    single = run.decide(lambda evidence, share: evidence.keys() & {"scene=1", "all"})
    answers = {domain.name: answer for domain, answer in single.answers.items()}
    assert answers["region=2,scene=1"] == answers["scene=1"] == "scene=1"
    assert answers["region=2,scene=3"] == answers["period=0"] == "all"
    assert single.added["scene=1"] == pytest.approx(run.worth("scene=1") - run.worth("all"))


@pytest.mark.parametrize("scenario", module.SCENARIOS)
def test_nobody_does_better_than_who_knows_the_truth(scenario: str) -> None:
    run = run_of(scenario, 4)
    best = run.best().worth
    for rule in module.RULES.values():
        assert run.decide(rule).worth <= best + 1e-9


def test_rules_of_one_level_stand_in_order() -> None:
    """Of what is activated against the same references: the first level's."""
    for seed in range(5):
        run = run_of("on_top_of_all", seed)
        (all_traffic,) = LEVELS[0]
        evidence = {all_traffic.name: run.evidence(all_traffic, BACKBONE)}
        chosen = {name: set(rule(evidence, 1.0)) for name, rule in module.RULES.items()}
        assert chosen["never"] <= chosen["holm"] <= chosen["benjamini_hochberg"]
        assert chosen["probable_gain"] <= chosen["expected_gain"]


def test_runs_without_gain_are_left_alone_and_gains_are_found() -> None:
    outcomes = {
        scenario: [
            run_of(scenario, seed, rows=4_000).decide(module.RULES["benjamini_hochberg"])
            for seed in range(12)
        ]
        for scenario in ("no_gain", "on_top_of_all")
    }
    assert sum(outcome.errors > 0 for outcome in outcomes["no_gain"]) <= 4  # 1 expected
    assert sum("all" in outcome.added for outcome in outcomes["on_top_of_all"]) >= 8


def test_every_rule_and_every_kind_of_gain_has_a_title() -> None:
    assert list(module._RULE_TITLES) == list(module.RULES)
    assert ["no_gain", *module._SCENARIO_TITLES] == list(module.SCENARIOS)


def test_figures_are_flat_and_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_RUNS_QUICK", 2), ("_RUNS_WITH_GAINS_QUICK", 2), ("_TESTS_QUICK", 3)):
        monkeypatch.setattr(module, name, value)
    found = module.figures(quick=True)
    json.dumps(found, allow_nan=False)
    for rule in module.RULES:
        low, share, high = (
            found[f"no_gain_runs_with_errors_{rule}{end}_ratio"] for end in ("_low", "", "_high")
        )
        assert 0.0 <= float(low) <= float(share) <= float(high) <= 1.0
        for scenario in module.SCENARIOS:
            if scenario != "no_gain":
                assert float(found[f"{scenario}_regret_{rule}_points"]) >= -1e-9
                assert 0.0 <= float(found[f"{scenario}_false_{rule}_ratio"]) <= 1.0
    assert found == module.figures(quick=True)
    (rules,) = module.tables(found)["rules"]
    assert len(rules["rows"]) == len(module.RULES)
    never = rules["rows"][0]["cells"]
    assert never[:2] == ["never activate", "0.0% [0.0, 84.2]"]
    assert [f"{float(regret):.2f}" for regret in never[2:-1]] == never[2:-1]
    powers = never[-1].removesuffix("%").split(" / ")
    assert len(powers) == 5
    assert set(powers) <= {"0", "-"}  # of a small log no domain has the most rows


@given(
    deltas=st.lists(st.floats(-0.05, 0.05), min_size=1, max_size=8),
    error=st.floats(0.0005, 0.02),
)
@settings(deadline=None)
def test_shrinking_goes_towards_the_others_and_keeps_the_order(
    deltas: list[float], error: float
) -> None:
    values = np.array(deltas)
    errors = np.full(values.size, error)
    means, _ = shrink(values, errors)
    low, high = min(0.0, *deltas), max(0.0, *deltas)
    assert ((low - 1e-9 <= means) & (means <= high + 1e-9)).all()
    assert (np.diff(means[np.argsort(values)]) >= -1e-12).all()
    turned, _ = shrink(-values, errors)
    np.testing.assert_allclose(turned, -means, atol=1e-12)


def test_a_gain_is_the_more_probable_the_better_the_others_are() -> None:
    def chance(others: float) -> float:
        tests = {"own": 0.005} | {str(number): others for number in range(5)}
        evidence = {
            name: Evidence(
                dict.fromkeys(
                    TASKS,
                    PairedTest(delta=delta, standard_error=0.006, better=0.5, worse=0.5),
                ),
                dict.fromkeys(TASKS, 100),
            )
            for name, delta in tests.items()
        }
        return chances_of_a_gain(evidence, Activation())["own"]

    assert chance(-0.01) < chance(0.0) < chance(0.01)
