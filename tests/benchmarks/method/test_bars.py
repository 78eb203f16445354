"""Bars: what is asked of a figure, task by task, and when it is met."""

from typing import Any

import pytest

import trainer  # noqa: F401 - before TensorFlow
from benchmarks.method.bars import measure
from benchmarks.method.results import Results
from benchmarks.method.study import Bar
from configs import Experiment, InputError
from configs.domains import Domain, Topic
from tests.benchmarks.method.test_results import outcome_of

DOMAIN = "scene=home"


def results_of(experiment: Experiment, own: float, zero: float, gauc: float = 0.5) -> Results:
    """Two methods under two seeds, by the AUC of a domain and of all rows."""
    outcomes = {}
    for seed in (17, 18):
        for name, value in (("own", own), ("zero", zero)):
            outcomes[name, seed] = outcome_of(None, **{DOMAIN: value, "auto": value})
            for cell in outcomes[name, seed]["splits"]["test"].values():
                level = gauc if name == "own" else 0.5
                for task in ("ctr", "ctcvr"):
                    cell[task] |= {"gauc": level, "gauc_draws": [level, level + 0.02]}
    return Results(outcomes, experiment.domains, experiment.tasks.ranking)


def bar_of(**changed: Any) -> Bar:
    return Bar.model_validate({"bar": "b", "method": "own", "against": "zero", **changed})


@pytest.mark.parametrize(
    ("changed", "asked", "met"),
    [
        ({"kind": "level", "at_least": [0.62, 0.61]}, ">= 0.6200 / 0.6100", True),
        ({"kind": "level", "at_least": [0.62, 0.64]}, ">= 0.6200 / 0.6400", False),
        ({"kind": "level", "at_least": [0.62, 0.64], "tasks": ["ctr"]}, ">= 0.6200", True),
        ({"kind": "level", "slice": DOMAIN, "at_least": [0.64, 0.0]}, ">= 0.6400 / 0.0000", False),
        ({"kind": "level", "metric": "gauc", "at_least": [0.5, 0.5]}, "GAUC >= 0.5000 / ", False),
        ({"at_least": [2.5, 2.9]}, ">= 2.5 / 2.9 points", True),
        ({"at_least": [2.5, 3.1]}, ">= 2.5 / 3.1 points", False),
        ({"at_least": [9.0, 2.9], "tasks": ["ctcvr"]}, ">= 2.9 points", True),
        ({"metric": "gauc"}, "GAUC above 0: interval and every seed", False),
        ({"metric": "gauc", "kind": "not_below"}, "GAUC not significantly below", False),
        ({"kind": "not_below"}, "not significantly below", True),
    ],
)
def test_a_bar_is_met_by_what_it_asks(
    changed: dict[str, Any], asked: str, met: bool, experiment: Experiment
) -> None:
    found = measure(bar_of(**changed), results_of(experiment, 0.63, 0.6, gauc=0.48))
    assert found["asked"].startswith(asked)
    assert found["met"] is met
    assert ("CTR:" in found["measured"]) is ("ctr" in changed.get("tasks", ["ctr"]))


def test_a_bar_has_a_number_for_each_task() -> None:
    names = ("view", "to_cart", "to_buy")
    outcomes = {
        (name, 17): {
            "active": None,
            "splits": {
                "test": {
                    DOMAIN: {
                        "rows": 5,
                        **{task: {"auc": value, "draws": [value, value]} for task in names},
                    }
                }
            },
        }
        for name, value in (("own", 0.63), ("zero", 0.6))
    }
    domain = Domain.parse(DOMAIN, {"scene": Topic(column="scene", values=("home",))})
    results = Results(outcomes, [domain], names)
    found = measure(bar_of(at_least=[2.9, 2.9, 3.1]), results)
    assert found["asked"] == ">= 2.9 / 2.9 / 3.1 points" and found["met"] is False
    assert [part.partition(":")[0] for part in found["measured"].split("; ")] == [
        "VIEW",
        "TO_CART",
        "TO_BUY",
    ]
    found = measure(bar_of(at_least=[2.9, 2.9, 3.1], tasks=["to_cart"]), results)
    assert found["asked"] == ">= 2.9 points" and found["met"] is True
    assert measure(bar_of(), results)["met"] is True


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"tasks": ["cvr"]},
            "'cvr' is no task over all rows of the study's config; there are: ctr, ctcvr",
        ),
        ({"at_least": [1.0]}, "at_least: expected a number for each of ctr, ctcvr, received 1"),
        ({"at_least": [1.0, 2.0, 3.0]}, "received 3"),
    ],
)
def test_a_bar_of_other_tasks_is_refused(
    changed: dict[str, Any], said: str, experiment: Experiment
) -> None:
    with pytest.raises(InputError, match=f"bar 'b': .*{said}"):
        bar_of(**changed).check_tasks(experiment.tasks.ranking)


def test_a_figure_that_there_is_not_is_not_measured(experiment: Experiment) -> None:
    results = results_of(experiment, 0.63, 0.6)
    for changed in (
        {"method": "nobody"},
        {"kind": "level", "slice": "scene=moon"},
        {"kind": "not_below", "against": "nobody"},
    ):
        found = measure(bar_of(**changed), results)
        assert found["met"] is None and "not measured" in found["measured"]
