"""The mean gain over domains: a user who is drawn is drawn in all of them."""

import numpy as np
import pytest

from configs.domains import Domain
from configs.random_streams import Purpose, random_stream
from tests.tasks import TARGETS, TASKS
from tests.trainer.conftest import domains_of, random_rows, variant
from trainer.backbone.frozen_pass import BackboneOutputs, Floats
from trainer.evaluation.comparison import compare_with_both
from trainer.evaluation.mean_gain import MeanGains
from trainer.kernels.scoring import predicted_rows, task_rows
from trainer.metrics.results import DomainResult
from trainer.metrics.task_metrics import METRICS, task_metrics

EXPERIMENT = variant("evaluation.bootstrap=25")
DRAWN = random_rows(600)
ROWS = BackboneOutputs(
    DRAWN.logits,
    DRAWN.taps,
    {**DRAWN.columns, "row/user": DRAWN.columns["row/request"] % 7},  # a request has one user
)
ALL_TRAFFIC = ROWS.logits + 0.2 * np.stack([ROWS.labels("click"), ROWS.labels("click")], 1)
BETTER = ROWS.logits + 0.5 * np.stack([ROWS.labels("click"), ROWS.labels("conversion")], 1)
NAMES = ("all", "scene=home", "scene=search", "region=r1", "region=r1,scene=home")


@pytest.fixture(scope="module")
def taken() -> tuple[MeanGains, dict[str, DomainResult]]:
    return taken_in(ROWS, {"all", "scene=home"})


def taken_in(rows: BackboneOutputs, active: set[str]) -> tuple[MeanGains, dict[str, DomainResult]]:
    gains, results = MeanGains(EXPERIMENT, rows), {}
    for domain in domains_of(EXPERIMENT, *NAMES):
        inside = rows.domain_rows(domain)
        sides = (BETTER[inside], ALL_TRAFFIC[inside])
        figures = compare_with_both(EXPERIMENT, rows, inside, *sides)
        gains.add(domain.name, inside, *sides, figures)
        results[domain.name] = DomainResult(
            rows=len(inside), active=domain.name in active, tasks=figures
        )
    return gains, results


def delta_of(
    domain: Domain, task: str, name: str, times: dict[int, int], reference: Floats
) -> float | None:
    """The difference to a reference in a domain where each user counts as often as drawn; nothing
    is shared with what is tested but the metrics.
    """
    inside = ROWS.domain_rows(domain)
    kept, labels = task_rows(EXPERIMENT, ROWS, inside, task)
    rows = inside[kept]
    weights = ROWS.weights[rows] * [times[user] for user in ROWS.columns["row/user"][rows].tolist()]
    before, after = (
        task_metrics(
            labels,
            predicted_rows(TASKS, logits)[task][rows],
            weights,
            ROWS.columns["row/request"][rows],
        )[name]
        for logits in (reference, BETTER)
    )
    return None if before is None or after is None else after - before


@pytest.mark.parametrize("second", [False, True], ids=["over the backbone", "over all"])
@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("task", TARGETS)
def test_mean_and_interval_are_those_of_users_drawn_in_all_domains_at_once(
    taken: tuple[MeanGains, dict[str, DomainResult]], task: str, name: str, second: bool
) -> None:
    gains, results = taken
    single = domains_of(EXPERIMENT, "scene=home", "scene=search", "region=r1")
    cells = {domain.name: results[domain.name].tasks[task][name] for domain in single}
    own = {key: (cell.delta, cell.delta_all)[second] for key, cell in cells.items()}
    reference = ALL_TRAFFIC if second else ROWS.logits
    users = np.unique(ROWS.columns["row/user"])
    means = []
    for draw in range(25):
        drawn = random_stream(EXPERIMENT.seed, Purpose.BOOTSTRAP, draw).integers(
            len(users), size=len(users)
        )
        counts = np.bincount(drawn, minlength=len(users))
        times = dict(zip(users.tolist(), counts.tolist(), strict=True))
        found = {domain.name: delta_of(domain, task, name, times, reference) for domain in single}
        means.append(np.mean([own[key] if found[key] is None else found[key] for key in own]))
    mean = gains.results(results)[task][name]
    assert (mean.domains, mean.off) == (3, 2)
    delta, ci95 = (mean.delta_all, mean.ci95_all) if second else (mean.delta, mean.ci95)
    assert delta == pytest.approx(np.mean(list(own.values())))
    assert ci95 == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])))


def test_without_a_kernel_of_all_traffic_the_mean_over_it_is_undefined() -> None:
    gains, results = MeanGains(EXPERIMENT, ROWS), {}
    for domain in domains_of(EXPERIMENT, *NAMES):
        inside = ROWS.domain_rows(domain)
        figures = compare_with_both(EXPERIMENT, ROWS, inside, BETTER[inside], None)
        gains.add(domain.name, inside, BETTER[inside], None, figures)
        results[domain.name] = DomainResult(rows=len(inside), active=True, tasks=figures)
    mean = gains.results(results)["ctr"]["auc"]
    assert mean.delta != "undefined"
    assert mean.ci95 != "undefined"
    assert (mean.delta_all, mean.ci95_all) == ("undefined", "undefined")


def test_a_domain_without_a_gain_is_not_counted() -> None:
    conversions = ROWS.labels("conversion").copy()
    (home,) = domains_of(EXPERIMENT, "scene=home")
    conversions[ROWS.domain_rows(home)] = 0
    rows = BackboneOutputs(
        ROWS.logits, ROWS.taps, {**ROWS.columns, "label/conversion": conversions}
    )
    gains, results = taken_in(rows, set())
    found = gains.results(results)
    assert (found["ctr"]["auc"].domains, found["ctcvr"]["auc"].domains) == (3, 2)
    others = [results[name].tasks["ctcvr"]["auc"].delta for name in ("scene=search", "region=r1")]
    assert found["ctcvr"]["auc"].delta == pytest.approx(np.mean(others))


def test_one_user_and_no_domain_give_no_interval() -> None:
    rows = BackboneOutputs(
        ROWS.logits, ROWS.taps, {**ROWS.columns, "row/user": np.zeros(600, np.int64)}
    )
    gains, results = taken_in(rows, set())
    mean = gains.results(results)["ctr"]["auc"]
    assert mean.ci95 == "undefined"
    assert mean.delta != "undefined"
    nothing = MeanGains(EXPERIMENT, ROWS).results({"all": results["all"]})["ctr"]["auc"]
    assert (nothing.delta, nothing.ci95, nothing.domains) == ("undefined", "undefined", 0)
