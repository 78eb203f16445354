"""The list-wise loss inside requests: what it is, what it does to probabilities, and that a
request's rows are learned from together.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import Experiment, InputError, load_experiment
from tests.conftest import QUICKSTART, SMALL
from trainer.data.dataset import Dataset
from trainer.losses import Objectives, list_wise_loss, loss_by_group, row_cross_entropy
from trainer.target_rows import REQUEST
from trainer.training.batch_schedule import DomainData, schedule

Doubles = npt.NDArray[np.float64]


def reference(labels: Doubles, log_p: Doubles, weights: Doubles, groups: Doubles) -> float:
    """Row by row, as the definition says."""
    total = counted = 0.0
    for row in np.flatnonzero(labels * weights):
        inside = (groups == groups[row]) & (weights > 0)
        if (labels[inside] == 1).all():
            continue
        total += weights[row] * (np.log(np.exp(log_p[inside]).sum()) - log_p[row])
        counted += weights[row]
    return total / counted if counted else 0.0


def mean(labels: Doubles, log_p: Doubles, weights: Doubles, groups: Doubles) -> float:
    losses, counts = list_wise_loss(
        *(tf.constant(values, tf.float32) for values in (labels, log_p, weights)),
        tf.constant(groups, tf.int32),
        int(groups.max()) + 1,
    )
    assert np.isfinite(losses).all()
    return float(tf.math.divide_no_nan(tf.reduce_sum(losses * counts), tf.reduce_sum(counts)))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 12), st.floats(0.1, 60))
def test_the_loss_is_that_of_the_definition(
    seed: int, rows: int, requests: int, spread: float
) -> None:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, rows).astype(float)
    log_p = -spread * random.random(rows)
    weights = random.integers(0, 3, rows).astype(float)
    groups = random.integers(0, requests, rows).astype(float)
    expected = reference(labels, log_p, weights, groups)
    assert mean(labels, log_p, weights, groups) == pytest.approx(expected, rel=2e-4, abs=2e-5)


def test_probabilities_that_are_right_have_no_gradient_so_calibration_stays() -> None:
    """A hundred requests of three places, which win 10, 30 and 60 times."""
    groups = np.repeat(np.arange(100), 3)
    labels = np.zeros((100, 3))
    labels[np.arange(100), np.repeat([0, 1, 2], [10, 30, 60])] = 1.0
    flat, ones = tf.constant(labels.reshape(-1), tf.float32), tf.ones(300)

    def gradient(p: list[float]) -> npt.NDArray[np.float32]:
        log_p = tf.Variable(np.log(p).astype(np.float32))
        with tf.GradientTape() as tape:
            scores = tf.tile(log_p, [100])
            losses, counts = list_wise_loss(flat, scores, ones, tf.constant(groups, tf.int32), 100)
            loss = tf.reduce_sum(losses * counts) / tf.reduce_sum(counts)
        return np.asarray(tape.gradient(loss, log_p))

    np.testing.assert_allclose(gradient([0.1, 0.3, 0.6]), 0.0, atol=1e-6)
    assert np.abs(gradient([0.3, 0.3, 0.4])).max() > 0.1


def clicks(share: float, *more: str) -> Experiment:
    """Clicks alone, so much of whose loss is list-wise."""
    return load_experiment(
        QUICKSTART,
        [*SMALL, f"tasks={{open: {{label: click, ranking_loss: {{share: {share}}}}}}}", *more],
    )


def test_a_share_of_the_loss_is_list_wise_in_every_group_as_in_a_batch() -> None:
    random = np.random.default_rng(3)
    rows, share = 200, 0.4
    columns = {
        "label/click": random.integers(0, 2, rows).astype(np.float32),
        "row/weight": random.random(rows).astype(np.float32),
        REQUEST: random.integers(-5, 20, rows) << 40,
    }
    log_p = -random.random(rows).astype(np.float32)
    groups = random.integers(0, 3, rows)
    _, requests = np.unique(columns[REQUEST], return_inverse=True)
    tensors = {name: tf.constant(values) for name, values in columns.items()}
    scores, experiment = {"open": tf.constant(log_p)}, clicks(share)

    def expected(inside: npt.NDArray[np.bool_]) -> float:
        weights = columns["row/weight"] * inside
        of_rows = np.average(row_cross_entropy(tensors["label/click"], log_p), weights=weights)
        listed = reference(columns["label/click"], log_p.astype(float), weights, requests)
        return float((1 - share) * of_rows + share * listed)

    assert float(Objectives(experiment).loss(scores, tensors)) == pytest.approx(
        expected(np.ones(rows, bool)), rel=1e-5
    )
    by_group = loss_by_group(
        experiment.tasks, scores, tensors, tf.constant(groups, tf.int32), 3
    ).numpy()
    np.testing.assert_allclose(by_group, [expected(groups == group) for group in range(3)], 1e-5)
    del tensors[REQUEST]  # nobody reads it where no loss is of requests
    plain = loss_by_group(clicks(0.0).tasks, scores, tensors, tf.constant(groups, tf.int32), 3)
    assert (np.abs(plain - by_group) > 0.01).all()


def test_a_requests_rows_are_in_one_batch_but_for_those_on_a_border(dataset: Dataset) -> None:
    whole = replace(dataset, in_requests=True)

    def batches(seed: int) -> list[npt.NDArray[np.int64]]:
        found = whole.shuffled_batches("pretrain", 500, seed).as_numpy_iterator()
        return [columns[REQUEST] for columns in found]

    made = batches(1)
    together = np.concatenate(made)
    known = np.concatenate([part[REQUEST] for part in dataset.batches("pretrain", 500)])
    np.testing.assert_array_equal(np.sort(together), np.sort(known))
    seen = [set(part.tolist()) for part in made]
    split = sum(len(before & after) for before, after in pairwise(seen))
    of_files = len(dataset.manifest.splits["pretrain"].files)
    distinct = len(np.unique(known))
    assert sum(map(len, seen)) <= distinct + len(made) + of_files < 1.5 * distinct
    assert split <= len(made) + of_files
    assert (together != np.concatenate(batches(2))).any()
    np.testing.assert_array_equal(together, np.concatenate(batches(1)))


def test_kernels_learn_from_whole_requests_too() -> None:
    random = np.random.default_rng(1)
    rows = np.flatnonzero(random.random(9_000) < 0.5)
    requests = random.integers(0, 800, 9_000)[rows]
    domain = DomainData("all", rows, requests=requests)
    made = [batch[0] for batch in schedule([domain], 300, seed=1, epoch=0)]
    np.testing.assert_array_equal(np.sort(np.concatenate(made)), rows)
    of_row = dict(zip(rows.tolist(), requests.tolist(), strict=True))
    seen = [{of_row[row] for row in part.tolist()} for part in made]
    assert sum(map(len, seen)) < len(np.unique(requests)) + len(made)
    assert made[0].tolist() != schedule([domain], 300, seed=1, epoch=1)[0][0].tolist()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (
            "tasks={a: {label: click, kind: regression, typical: 1, ranking_loss: {share: 1}}}",
            "a.ranking_loss: is of probabilities",
        ),
        ("tasks={a: {label: click, ranking_loss: {share: 1.5}}}", "ranking_loss.share"),
        ("tasks={a: {label: click, ranking_loss: {}}}", "ranking_loss.share"),
    ],
)
def test_what_cannot_be_ranked_is_refused(setting: str, words: str) -> None:
    with pytest.raises(InputError) as error:
        load_experiment(QUICKSTART, [setting])
    assert words in str(error.value)
