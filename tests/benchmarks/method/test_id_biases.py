"""Biases of ids: what they minimise, which ids have none, on which rows they are fitted, and
what the study's method leaves.
"""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.method.activation import Judged, active_gains
from benchmarks.method.bench import Bench
from benchmarks.method.bias_tables import PASSES, Table, fit_biases
from benchmarks.method.columns import read_rows
from benchmarks.method.methods.id_biases import id_biases
from benchmarks.method.methods.tuned import kernels
from configs import Experiment, InputError
from configs.domains import ALL
from preprocessing.features.transform import transform_outputs
from tests.trainer.conftest import domains_of, one_line, variant
from trainer.backbone.frozen_pass import BackboneOutputs
from trainer.training.judging_users import judging_rows

USERS = {"features": ["user_id"], "precision": [2.0], "base": "backbone"}


def sigmoid(x: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-np.asarray(x, np.float64)))


def slopes(
    logits: Any,
    labels: Any,
    weights: Any,
    tables: list[Table],
    fitted: list[npt.NDArray[np.float64]],
) -> list[npt.NDArray[np.float64]]:
    """sum_n w_n (y_n - p_n) - precision * b of every table, which is 0 at the minimum."""
    total = logits + sum(biases[table.ids] for table, biases in zip(tables, fitted, strict=True))
    return [
        np.array(
            [
                (weights * (labels - sigmoid(total)))[table.ids == value].sum()
                for value in range(table.size)
            ]
        )
        - table.precision * biases
        for table, biases in zip(tables, fitted, strict=True)
    ]


# --- the fit ---


def test_by_hand() -> None:
    """Two rows at logit 0, one clicked, weigh 3 and 1: the bias b solves 3 - 4 s(b) = 2 b."""
    table = Table(np.array([2, 2, 1]), size=4, shared=2, precision=2.0)
    (biases,) = fit_biases(
        np.zeros(3, np.float32),
        np.array([1, 0, 1], np.float32),
        np.array([3, 1, 5], np.float32),
        [table],
    )
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if 3 - 4 * sigmoid(middle) > 2 * middle else (low, middle)
    np.testing.assert_allclose(biases, [0, 0, low, 0], rtol=0, atol=1e-12)
    assert 0.33 < low < 0.34  # 3 - 4 s(1/3) = 3 - 2.330 = 0.670


def test_one_table_is_stationary_and_shared_or_unseen_ids_stay_zero() -> None:
    generator = np.random.default_rng(0)
    ids = generator.integers(0, 40, 2_000)
    logits, weights = (
        2 * generator.standard_normal(2_000, np.float32),
        generator.uniform(0.5, 2.0, 2_000).astype(np.float32),
    )
    labels = (generator.random(2_000) < sigmoid(logits + 0.1 * ids - 2)).astype(np.float32)
    for precision in (0.01, 1.0, 100.0):
        tables = [Table(ids, 50, 3, precision)]
        fitted = fit_biases(logits, labels, weights, tables)
        (slope,) = slopes(logits, labels, weights, tables, fitted)
        np.testing.assert_allclose(slope[3:], 0.0, atol=1e-8)
        assert not fitted[0][:3].any()
        assert not fitted[0][40:].any()
        assert fitted[0][3:40].all()
    assert np.abs(fitted[0]).max() < 0.5  # a strong prior leaves little


def test_several_tables_are_stationary_together() -> None:
    generator = np.random.default_rng(1)
    ids = [generator.integers(0, size, 3_000) for size in (60, 9)]
    labels, weights = (
        (generator.random(3_000) < 0.2 + 0.05 * ids[1]).astype(np.float32),
        np.ones(3_000, np.float32),
    )
    logits = generator.standard_normal(3_000, np.float32)
    tables = [Table(ids[0], 60, 2, 10.0), Table(ids[1], 9, 1, 1.0)]
    fitted = fit_biases(logits, labels, weights, tables)
    for table, slope in zip(tables, slopes(logits, labels, weights, tables, fitted), strict=True):
        np.testing.assert_allclose(slope[table.shared :], 0.0, atol=1e-4)
    alone = fit_biases(logits, labels, weights, tables[:1])
    assert np.abs(alone[0] - fitted[0]).max() > 0.01


def test_extreme_rows_do_not_make_a_step_too_long() -> None:
    """Newton's own first step would be 50 / (0.002 + 0.01), about 4 000, far past the minimum
    near 16.
    """
    table = Table(np.full(50, 1), 2, 1, 0.01)
    (biases,) = fit_biases(
        np.full(50, -10, np.float32), np.ones(50, np.float32), np.ones(50, np.float32), [table]
    )
    assert 50 * (1 - sigmoid(biases[1] - 10)) == pytest.approx(0.01 * biases[1], rel=1e-6)
    assert 15 < biases[1] < 17


def test_no_rows_no_biases() -> None:
    none = np.empty(0, np.float32)
    (biases,) = fit_biases(none, none, none, [Table(np.empty(0, np.int64), 5, 1, 1.0)])
    np.testing.assert_array_equal(biases, np.zeros(5))


# --- the method ---


@pytest.fixture(scope="module")
def bench(experiment: Experiment, logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The small experiment as a study keeps it."""
    return Bench(experiment, str(logs / "*.parquet"), tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def columns(bench: Bench) -> dict[str, BackboneOutputs]:
    return {split: read_rows(bench.dataset, [split]) for split in ("finetune", "test")}


def added(
    bench: Bench, columns: dict[str, BackboneOutputs], outcome: Any, name: str, feature: str
) -> npt.NDArray[np.float32]:
    """The bias that every row of a domain of the test split was given, after checking that it is
    one for each id, ``[ids, 2]``.
    """
    domain = domains_of(bench.experiment, name)[0]
    rows = columns["test"].domain_rows(domain)
    change = outcome.logits["test"][name] - bench.rows("test").logits[rows]
    ids = columns["test"].columns[f"feature/{feature}"][rows].astype(np.int64)
    table = np.zeros(
        (transform_outputs(bench.experiment, bench.dataset.fitted)[feature].size, 2), np.float32
    )
    table[ids] = change
    np.testing.assert_allclose(table[ids], change, atol=1e-5)
    return table


@pytest.mark.parametrize("name", [ALL, "scene=home"])
def test_biases_of_a_domain_are_those_of_its_window(
    name: str, bench: Bench, columns: dict[str, BackboneOutputs]
) -> None:
    """CTR on all of the domain's rows, CVR on the clicked ones; the debt to the prior is paid by
    every user that both splits have.
    """
    outcome = id_biases(bench, bench.experiment, ["test"], USERS)[""]
    table = added(bench, columns, outcome, name, "user_id")
    assert not table[:2].any()  # missing and out of the vocabulary
    window, logits = columns["finetune"], bench.rows("finetune").logits
    rows = window.domain_rows(domains_of(bench.experiment, name)[0])
    ids = window.columns["feature/user_id"]
    seen = set(
        columns["test"]
        .columns["feature/user_id"][
            columns["test"].domain_rows(domains_of(bench.experiment, name)[0])
        ]
        .tolist()
    )
    users = [user for user in np.unique(ids[rows]).tolist() if user > 1 and user in seen]
    assert len(users) > 20
    for task, label in enumerate(("click", "conversion")):
        for user in users:
            own = rows[ids[rows] == user]
            if task == 1:
                own = own[window.labels("click")[own] > 0]
            bias = float(table[user, task])
            slope = (
                window.weights[own]
                * (window.labels(label)[own] - sigmoid(logits[own, task] + bias))
            ).sum()
            assert slope == pytest.approx(2.0 * bias, abs=1e-3)
    for user in seen - set(ids[rows].tolist()):
        assert not table[user].any()
    assert np.abs(table[:, 0]).max() > 0.1
    assert np.abs(table[:, 1]).max() > 0.1


def test_tasks_that_are_not_named_are_left_alone(
    bench: Bench, columns: dict[str, BackboneOutputs]
) -> None:
    outcome = id_biases(
        bench, bench.experiment, ["test"], {**USERS, "features": ["shop_id"], "tasks": ["cvr"]}
    )[""]
    table = added(bench, columns, outcome, ALL, "shop_id")
    assert not table[:, 0].any()
    assert table[:, 1].any()
    sizes = transform_outputs(bench.experiment, bench.dataset.fitted)
    assert outcome.parameters == sizes["shop_id"].size - 2


def test_what_it_leaves(bench: Bench, columns: dict[str, BackboneOutputs]) -> None:
    experiment, options = (
        bench.experiment,
        {"features": ["user_id", "shop_id"], "precision": [10.0, 30.0], "base": "backbone"},
    )
    found = id_biases(bench, experiment, ["test", "validation"], options)
    window, own, shared = columns["finetune"], found[""], found["all"]
    present = [domain for domain in experiment.domains if len(window.domain_rows(domain))]
    assert len(present) < len(experiment.domains)  # region r9 has no rows
    assert list(own.logits) == list(shared.logits) == ["test", "validation"]
    assert list(own.logits["test"]) == [domain.name for domain in present]
    assert list(shared.logits["test"]) == [ALL]
    np.testing.assert_array_equal(shared.logits["test"][ALL], own.logits["test"][ALL])
    sizes = transform_outputs(experiment, bench.dataset.fitted)
    assert (
        own.parameters
        == shared.parameters
        == 2 * (sizes["user_id"].size + sizes["shop_id"].size - 4)
    )
    assert shared.rows == PASSES * len(window.logits)
    assert own.rows == PASSES * sum(len(window.domain_rows(domain)) for domain in present)
    validation = bench.rows("validation")
    judged = [
        Judged(
            domain,
            rows,
            own.logits["validation"][domain.name][
                np.searchsorted(validation.domain_rows(domain), rows)
            ],
        )
        for domain in present
        for rows in [judging_rows(validation, domain)]
    ]
    active = active_gains(experiment, validation, judged)
    assert own.active == active
    assert shared.active == {name: gain for name, gain in active.items() if name == ALL}
    assert (validation.columns.keys() & {"feature/user_id", "feature/shop_id"}) <= {
        "feature/user_id"
    }  # the bench's rows stay as they were


def test_on_kernels_it_stands_on_their_logits(bench: Bench) -> None:
    """With a prior that allows no bias it is the kernels; otherwise kernels' logits and one
    number for each user.
    """
    experiment = variant("finetune.epochs=1")
    plain = kernels(bench, experiment, ["test"], {})
    frozen = id_biases(
        bench, experiment, ["test"], {**USERS, "precision": [1e9], "base": "kernels"}
    )
    for suffix in ("", "all"):
        assert frozen[suffix].logits["test"].keys() == plain[suffix].logits["test"].keys()
        for name, logits in plain[suffix].logits["test"].items():
            np.testing.assert_allclose(frozen[suffix].logits["test"][name], logits, atol=1e-5)
        assert frozen[suffix].rows > plain[suffix].rows
        assert frozen[suffix].parameters > plain[suffix].parameters
    biased = id_biases(bench, experiment, ["test"], {**USERS, "base": "kernels"})[""].logits[
        "test"
    ]["scene=home"]
    rows = read_rows(bench.dataset, ["test"])
    users = rows.columns["feature/user_id"][
        rows.domain_rows(domains_of(experiment, "scene=home")[0])
    ]
    change = biased - plain[""].logits["test"]["scene=home"]
    for user in np.unique(users)[:30]:
        assert np.ptp(change[users == user], axis=0).max() < 1e-5
    assert np.abs(change).max() > 0.1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"features": ["rating"]},
            (
                "options.features: 'rating' is no categorical feature known at serving; there are:"
                " user_id,"
            ),
        ),
        ({"features": ["position"]}, "'position' is no categorical feature known at serving"),
        ({"features": ["history"]}, "'history' is no categorical feature"),
        (
            {"features": ["user_id", "shop_id"]},
            "expected a precision for each of 2 features, received 1",
        ),
        ({"features": ["user_id", "user_id"]}, "expected different features"),
        ({"precision": [0.0]}, "options of id_biases.precision.0: Input should be greater than 0"),
        (
            {"tasks": ["ctcvr"]},
            "id_biases.tasks: 'ctcvr' is no task with a logit of its own; there are: ctr, cvr",
        ),
        ({"base": "towers"}, "options of id_biases.base"),
    ],
)
def test_mistakes_are_one_line(options: dict[str, Any], said: str, bench: Bench) -> None:
    with pytest.raises(InputError) as error:
        id_biases(bench, bench.experiment, ["test"], {**USERS, **options})
    assert said in one_line(error)
