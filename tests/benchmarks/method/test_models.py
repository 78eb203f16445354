"""Methods that train whole backbones, and boosted trees: what they start from, what they leave
alone, what their scores are.
"""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from scipy.special import expit

from benchmarks.method.bench import Bench
from benchmarks.method.boosted_features import BoostedFeatures, DailyRates
from benchmarks.method.columns import read_rows, read_scored_rows
from benchmarks.method.methods.boosted import boosted, task_logits
from benchmarks.method.methods.full import full
from benchmarks.method.methods.scratch import scratch
from benchmarks.method.methods.update import Update, trainable_copy, update
from benchmarks.method.outcome import Outcome
from benchmarks.method.trainee import Trainee
from configs import Experiment, InputError
from configs.domains import ALL, Domain
from configs.prediction.tasks import Tasks
from preprocessing.features.transform import transform_outputs
from tests.trainer.conftest import domains_of, one_line
from trainer.backbone.fingerprint import check_fingerprint
from trainer.backbone.frozen_pass import BackboneOutputs, run_frozen
from trainer.backbone.model import build_backbone, inference_model
from trainer.backbone.saving import job_fingerprint
from trainer.kernels.scoring import mean_auc, predicted_rows
from trainer.metrics.task_metrics import auc, log_loss
from trainer.training.judging_users import stopping_rows

SPLITS = ["test"]
STEPS = {"batch_size": 256}
FASTER = {"batch_size": 256, "learning_rate": 0.003, "embedding_learning_rate": 0.05}


@pytest.fixture(scope="module")
def bench(experiment: Experiment, logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The small experiment as a study keeps it."""
    tf.config.experimental.enable_op_determinism()
    return Bench(experiment, str(logs / "*.parquet"), tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def window(bench: Bench, experiment: Experiment) -> BackboneOutputs:
    return read_rows(bench.dataset, [experiment.finetune.split])


@pytest.fixture(scope="module")
def both(bench: Bench, experiment: Experiment) -> Outcome:
    """Full fine-tuning of two domains, one after the other."""
    return full(
        bench, experiment, SPLITS, {**STEPS, "epochs": 1, "domains": ["scene=home", "period=lunch"]}
    )[""]


def loss(experiment: Experiment, rows: BackboneOutputs, logits: npt.NDArray[np.float32]) -> float:
    scores = predicted_rows(experiment.tasks, logits)
    found = [
        log_loss(rows.labels(experiment.tasks.targets[task].label), scores[task])
        for task in experiment.tasks.ranking
    ]
    return sum(value for value in found if value is not None)


def check_shapes(outcome: Outcome, bench: Bench, experiment: Experiment, names: list[str]) -> None:
    assert list(outcome.logits) == SPLITS
    for split, by_domain in outcome.logits.items():
        assert list(by_domain) == names
        for domain in domains_of(experiment, *names):
            logits = by_domain[domain.name]
            assert logits.shape == (len(bench.rows(split).domain_rows(domain)), 2)
            assert logits.dtype == np.float32
            assert np.isfinite(logits).all()
    assert outcome.seconds > 0


# --- rows in memory ---


def test_rows_in_memory_are_those_of_the_files(bench: Bench, experiment: Experiment) -> None:
    rows = read_rows(bench.dataset, ["validation", "test"])
    parts = [
        run_frozen(bench.backbone, bench.dataset, split, None, split)
        for split in ("validation", "test")
    ]
    for name, values in parts[0].columns.items():
        np.testing.assert_array_equal(
            rows.columns[name], np.concatenate([values, parts[1].columns[name]])
        )
    assert set(rows.columns) - set(parts[0].columns) == {
        f"feature/{name}" for name in transform_outputs(experiment, bench.dataset.fitted)
    }
    domain = domains_of(experiment, "region=r1")[0]
    assert len(rows.domain_rows(domain)) == sum(len(part.domain_rows(domain)) for part in parts)


# --- a trainee ---


@pytest.fixture(scope="module")
def trainee(bench: Bench, experiment: Experiment) -> Trainee:
    return Trainee(
        trainable_copy(bench), experiment, Update(epochs=1, batch_size=500, learning_rate=0.001)
    )


def test_training_depends_on_its_start_alone_and_traces_one_step(
    trainee: Trainee, bench: Bench, experiment: Experiment, window: BackboneOutputs
) -> None:
    validation = read_scored_rows(bench, "validation")
    start = trainee.weights()
    home, lunch = domains_of(experiment, "scene=home", "period=lunch")
    assert len(window.domain_rows(home)) % 500  # a smaller last batch
    first = trainee.train(start, window, validation, home)
    weights = trainee.weights()
    trainee.train(start, window, validation, lunch, epochs=2)
    assert trainee.train(start, window, validation, home) == first
    for one, other in zip(trainee.weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert trainee._learner.step.experimental_get_tracing_count() == 1
    trainee.train(start, window, validation, home, epochs=0)
    for one, other in zip(trainee.weights(), start, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_best_weights_are_kept_the_start_included(
    trainee: Trainee,
    bench: Bench,
    experiment: Experiment,
    window: BackboneOutputs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    validation, start, everyone = (
        read_scored_rows(bench, "validation"),
        trainee.weights(),
        Domain(ALL),
    )

    def train(*figures: float | None) -> list[npt.NDArray[Any]]:
        answers = iter(figures)
        monkeypatch.setattr(trainee, "_judge", lambda *_: next(answers))
        assert trainee.train(start, window, validation, everyone, epochs=len(figures) - 1) == list(
            figures
        )
        return trainee.weights()

    def same(one: list[npt.NDArray[Any]], other: list[npt.NDArray[Any]]) -> bool:
        return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))

    once = train(0.5, 0.6)
    assert same(train(0.5, 0.6, 0.55), once)
    assert same(train(0.5, 0.5, 0.4), start)
    assert not same(train(0.5, 0.6, 0.7), once)
    assert same(train(None, None), once)  # no figure: the last weights
    assert not same(once, start)


def test_figures_are_those_of_the_stopping_rows(
    trainee: Trainee, bench: Bench, experiment: Experiment, window: BackboneOutputs
) -> None:
    validation, home = (
        read_scored_rows(bench, "validation"),
        domains_of(experiment, "scene=home")[0],
    )
    figures = trainee.train(trainee.weights(), window, validation, home)
    rows = stopping_rows(validation, home)
    assert max(figures) == mean_auc(experiment, validation, rows, trainee.score(validation, rows))  # type: ignore[type-var]


# --- update ---


@pytest.fixture(scope="module")
def updated(bench: Bench, experiment: Experiment) -> Outcome:
    return update(bench, experiment, SPLITS, FASTER)[""]


def test_update_learns_the_window_and_leaves_the_backbone_alone(
    bench: Bench,
    experiment: Experiment,
    window: BackboneOutputs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures = iter([0.0, 1.0])  # the stopping rows accept the epoch
    monkeypatch.setattr(Trainee, "_judge", lambda *_: next(figures))
    updated = update(bench, experiment, ["finetune", *SPLITS], FASTER)[""]
    before, after = bench.rows("finetune").logits, updated.logits["finetune"][ALL]
    assert loss(experiment, window, after) < loss(experiment, window, before)
    assert updated.rows == len(window.logits)
    assert updated.notes["stopping_auc"][ALL] == [0.0, 1.0]
    trainable = trainable_copy(bench).trainable_variables
    assert updated.parameters == sum(variable.numpy().size for variable in trainable)
    check_fingerprint(
        bench.job.fingerprint(),
        job_fingerprint(trainable_copy(bench), bench.job),
        "the file",
    )
    np.testing.assert_array_equal(
        run_frozen(bench.backbone, bench.dataset, "finetune", None, "again").logits, before
    )


# --- full ---


def test_full_without_epochs_scores_as_the_backbone(bench: Bench, experiment: Experiment) -> None:
    outcome = full(bench, experiment, SPLITS, {"epochs": 0, "start": "backbone"})[""]
    rows = bench.rows("test")
    present = [domain for domain in experiment.domains if len(rows.domain_rows(domain))]
    assert len(present) < len(experiment.domains)  # region r9 has no rows
    check_shapes(outcome, bench, experiment, [domain.name for domain in present])
    for domain in present:
        np.testing.assert_allclose(
            outcome.logits["test"][domain.name], rows.logits[rows.domain_rows(domain)], atol=1e-5
        )
    assert outcome.rows == 0
    assert outcome.active == {}


def test_a_domain_does_not_depend_on_those_trained_before_it(
    both: Outcome, bench: Bench, experiment: Experiment
) -> None:
    check_shapes(both, bench, experiment, [ALL, "scene=home", "period=lunch"])
    alone = full(bench, experiment, SPLITS, {**STEPS, "epochs": 1, "domains": ["period=lunch"]})[""]
    np.testing.assert_array_equal(
        both.logits["test"]["period=lunch"], alone.logits["test"]["period=lunch"]
    )
    np.testing.assert_array_equal(both.logits["test"][ALL], alone.logits["test"][ALL])


def test_full_starts_from_the_update(
    both: Outcome, updated: Outcome, experiment: Experiment, window: BackboneOutputs
) -> None:
    np.testing.assert_array_equal(both.logits["test"][ALL], updated.logits["test"][ALL])
    home, lunch = domains_of(experiment, "scene=home", "period=lunch")
    assert both.rows == updated.rows + len(window.domain_rows(home)) + len(
        window.domain_rows(lunch)
    )
    assert list(both.notes["stopping_auc"]) == [ALL, "scene=home", "period=lunch"]
    for domain in (home, lunch):  # the best of the start and the epoch, so no worse than the start
        start, after = both.notes["stopping_auc"][domain.name]
        assert start is not None
        assert after != start


# --- scratch ---


def test_scratch_repeats_itself(bench: Bench, experiment: Experiment) -> None:
    options = {"batch_size": 256, "domains": ["scene=home"]}
    outcome, again = (scratch(bench, experiment, SPLITS, options)[""] for _ in range(2))
    np.testing.assert_array_equal(
        outcome.logits["test"]["scene=home"], again.logits["test"]["scene=home"]
    )
    check_shapes(outcome, bench, experiment, [ALL, "scene=home"])
    start, after = outcome.notes["stopping_auc"]["scene=home"]
    assert after != start
    home = domains_of(experiment, "scene=home")[0]
    assert outcome.rows == len(read_rows(bench.dataset, ["pretrain", "finetune"]).domain_rows(home))
    np.testing.assert_array_equal(outcome.logits["test"][ALL], bench.rows("test").logits)


def test_scratch_starts_from_a_new_backbone_of_its_seed(
    bench: Bench, experiment: Experiment
) -> None:
    home, other = (
        domains_of(experiment, "scene=home")[0],
        experiment.model_copy(update={"seed": 18}),
    )
    outcome = scratch(bench, other, SPLITS, {"epochs": 0, "domains": ["scene=home"]})[""]
    expected = []
    for chosen in (other, experiment):
        model = inference_model(
            build_backbone(chosen, transform_outputs(chosen, bench.dataset.fitted)), chosen
        )
        rows = run_frozen(model, bench.dataset, "test", None, "new")
        expected.append(rows.logits[rows.domain_rows(home)])
    np.testing.assert_allclose(outcome.logits["test"]["scene=home"], expected[0], atol=1e-6)
    assert not np.allclose(expected[0], expected[1], atol=1e-3)


# --- boosted ---


def test_boosted_scores_every_row(bench: Bench, experiment: Experiment) -> None:
    options = {"rounds": 15, "leaves": 15}
    outcome, again = (boosted(bench, experiment, SPLITS, options)[""] for _ in range(2))
    check_shapes(outcome, bench, experiment, [ALL])
    np.testing.assert_array_equal(outcome.logits["test"][ALL], again.logits["test"][ALL])
    rows = bench.rows("test")
    scores = predicted_rows(experiment.tasks, outcome.logits["test"][ALL])
    for task in experiment.tasks.ranking:
        value = auc(rows.labels(experiment.tasks.targets[task].label), scores[task])
        assert value is not None
        assert value > 0.55
    trained = bench.dataset.rows("pretrain") + bench.dataset.rows("finetune")
    assert outcome.rows == trained * sum(outcome.notes["rounds"].values())
    assert 0 < outcome.parameters <= 2 * 15 * 29


def test_the_reconstruction_keeps_both_probabilities(experiment: Experiment) -> None:
    generator = np.random.default_rng(0)
    ctr, ctcvr = generator.normal(-1.0, 2.0, (2, 2000))
    logits, contradicting = task_logits(experiment.tasks, {"ctr": ctr, "cvr": ctcvr})
    scores = predicted_rows(experiment.tasks, logits)
    p_ctr, p_ctcvr = 1 / (1 + np.exp(-ctr)), 1 / (1 + np.exp(-ctcvr))
    np.testing.assert_allclose(scores["ctr"], p_ctr, rtol=1e-5)
    np.testing.assert_allclose(scores["ctcvr"], np.minimum(p_ctcvr, p_ctr), rtol=1e-5)
    kept = np.flatnonzero(p_ctcvr < p_ctr)
    assert 0 < len(kept) < 2000
    np.testing.assert_array_equal(np.flatnonzero(~contradicting), kept)
    order = kept[np.argsort(p_ctcvr[kept])]
    resolved = np.diff(p_ctcvr[order]) > 1e-5 * p_ctcvr[order][1:]
    assert (np.diff(scores["ctcvr"][order])[resolved] > 0).all()
    far = {"ctr": np.array([-60.0, 60.0, 5.0]), "cvr": np.array([60.0, -60.0, 5.0])}
    assert np.isfinite(task_logits(experiment.tasks, far)[0]).all()


def test_trees_of_any_tasks_keep_the_probabilities_over_all_rows() -> None:
    """Three tasks one after another, beside one by itself: the products along the way are what the
    models say, but where they say more than those before them.
    """
    tasks = Tasks.model_validate(
        {
            "view": {"label": "viewed"},
            "cart": {"label": "carted", "after": "view", "entire": {"name": "to_cart"}},
            "buy": {"label": "bought", "after": "cart", "entire": {"name": "to_buy"}},
            "like": {"label": "liked"},
        }
    )
    raw = dict(zip(tasks.towers, np.random.default_rng(0).normal(0, 2, (4, 500)), strict=True))
    logits, contradicting = task_logits(tasks, raw)
    found, p = predicted_rows(tasks, logits), {name: expit(values) for name, values in raw.items()}
    cart = np.minimum(p["cart"], p["view"])
    np.testing.assert_allclose(found["view"], p["view"], rtol=1e-5)
    np.testing.assert_allclose(found["like"], p["like"], rtol=1e-5)
    np.testing.assert_allclose(found["to_cart"], cart, rtol=1e-5)
    np.testing.assert_allclose(found["to_buy"], np.minimum(p["buy"], cart), rtol=1e-5)
    np.testing.assert_array_equal(contradicting, (p["cart"] > p["view"]) | (p["buy"] > cart))
    assert 0 < contradicting.sum() < 500
    alone = Tasks.model_validate({"view": {"label": "viewed"}})
    logits, contradicting = task_logits(alone, raw)
    np.testing.assert_array_equal(logits[:, 0], raw["view"].astype(np.float32))
    assert logits.shape == (500, 1) and not contradicting.any()


def test_rates_read_no_label_of_their_day_or_later() -> None:
    ids, days = np.array([0, 0, 1, 0, 1]), np.array([0, 0, 0, 1, 2])
    labels, weights = np.array([1, 0, 0, 1, 1], np.float32), np.array([1, 1, 2, 1, 1], np.float32)
    rates = DailyRates.of(ids, 3, days, labels, weights)
    read = rates.read(np.array([0, 0, 1, 2, 0, 1, 0]), np.array([0, 1, 1, 1, 2, 2, 9]))
    # Before day 1: id 0 has 1 of 2, id 1 has 0 of 2, mean 1/4. Before day 2: id 0 has 2 of 3, mean
    # 2/5. After all: mean 3/6.
    expected = [
        np.nan,
        6 / 22,
        5 / 22,
        1 / 4,
        (2 + 20 * 2 / 5) / 23,
        (20 * 2 / 5) / 22,
        (2 + 10) / 23,
    ]
    np.testing.assert_allclose(read, expected, rtol=1e-6)


def test_features_of_trees(bench: Bench) -> None:
    experiment = bench.experiment
    data = read_rows(bench.dataset, ["pretrain"])
    wide, debias = (
        [
            name
            for name, output in transform_outputs(experiment, bench.dataset.fitted).items()
            if output.size > 256
        ],
        "position",
    )
    features = BoostedFeatures(experiment, bench.dataset.fitted, data, ["pretrain"])
    x = features.matrix(data)
    assert x.shape == (len(data.logits), len(features.names))
    assert debias not in features.names
    assert {"topic_scene", "scene", "time_hour"} <= set(features.categorical)
    for name in wide:
        assert {f"{name}_click_rate", f"{name}_conversion_rate"} <= set(features.names)
        assert name not in features.names
    history, shop = data.columns["feature/history"], data.columns["feature/shop_id"]
    column = dict(zip(features.names, x.T, strict=True))
    np.testing.assert_array_equal(
        column["history_length"], [np.count_nonzero(row) for row in history]
    )
    expected = [shop[row] != 0 and shop[row] in history[row] for row in range(len(shop))]
    np.testing.assert_array_equal(column["history_has_shop_id"], expected)
    assert 0 < np.mean(expected) < 1
    np.testing.assert_array_equal(column["rating"], data.columns["feature/rating"])


# --- options ---


@pytest.mark.parametrize(
    ("method", "options", "said"),
    [
        (full, {"epoch": 1}, "options of full: unknown key 'epoch'; did you mean 'epochs'?"),
        (full, {"start": "scratch"}, "options of full.start"),
        (full, {"domains": ["scene=moon"]}, "'scene=moon' is no domain"),
        (update, {"learning_rate": -1.0}, "options of update.learning_rate"),
        (scratch, {"splits": ["test"]}, "rows of 'test' judge"),
        (scratch, {"splits": ["validation"]}, "rows of 'validation' judge"),
        (boosted, {"splits": ["yesterday"]}, "'yesterday' is no split"),
        (boosted, {"rounds": 0}, "options of boosted.rounds"),
    ],
)
def test_unsound_options_are_refused(
    bench: Bench, experiment: Experiment, method: Any, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError) as error:
        method(bench, experiment, SPLITS, options)
    assert said in one_line(error)
