"""Kernels on the history before it is pooled: what they read, their start, and that they train."""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from benchmarks.method.adapters.history import History, HistoryKernel, Pool
from benchmarks.method.bench import Bench
from benchmarks.method.methods.history import history
from configs import Experiment, InputError
from configs.domains import ALL
from preprocessing.features.transform import transform_outputs
from tests.trainer.conftest import domains_of, one_line, variant
from trainer.backbone.frozen_pass import BackboneOutputs
from trainer.backbone.layers.sequence_pooling import TargetAttention
from trainer.backbone.stored_taps import split_columns
from trainer.kernels.kernel import KernelShape
from trainer.kernels.scoring import score_rows
from trainer.training import kernel_training

# Ids 1 and 2 are (1, 0) and (0, 2); the deviation of the table's six numbers is not used by pools.
TABLE = np.array([[0, 0], [1, 0], [0, 2]], np.float32)
PAST = History("past", "item", 3, TABLE, None)
POOLS: tuple[Pool, ...] = ("mean", "last", "last_three", "entries", "products")


@pytest.fixture(scope="module")
def bench(experiment: Experiment, logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The small experiment as a study keeps it."""
    return Bench(experiment, str(logs / "*.parquet"), tmp_path_factory.mktemp("bench"))


def rows_of(ids: list[list[int]], candidates: list[int], of: History = PAST) -> BackboneOutputs:
    """Rows whose tap is one number, their place counted from 1, with the history beside it."""
    taps = np.repeat(np.arange(1.0, 1 + len(ids), dtype=np.float32)[:, None, None], 2, axis=1)
    rows = BackboneOutputs(np.zeros((len(ids), 2), np.float32), taps, {})
    columns = {"feature/past": np.array(ids), "feature/item": np.array(candidates)}
    return of.beside(rows, columns)


def kernel(pools: tuple[Pool, ...], rank: int, of: History = PAST) -> HistoryKernel:
    """A kernel on a tap of one number."""
    sizes: dict[Pool, int] = {"mean": 2, "last": 2, "last_three": 2, "entries": 6, "products": 3}
    width = 1 + sum(sizes[pool] for pool in pools) + 2 * (rank > 0)
    shape = KernelShape((width, 4, 1), "relu", residual=True, tap="tower")
    return HistoryKernel(shape, 1, of, pools, rank, 0.5)


def read(adapter: HistoryKernel, weights: dict[str, Any], rows: BackboneOutputs) -> Any:
    """What the encoder reads, ``[2, rows, d_in]``."""
    given = {name: tf.constant(values[np.newaxis], tf.float32) for name, values in weights.items()}
    every = np.arange(len(rows.logits))
    return adapter.inputs(given, tf.constant(rows.inputs(every)[np.newaxis]))[0].numpy()


def test_pools_by_hand() -> None:
    rows, adapter = rows_of([[2, 1, 0], [0, 0, 0]], [2, 1]), kernel(POOLS, 0)
    found = read(adapter, adapter.initial(0, ALL), rows)
    mean, last, entries, products = [0.5, 1.0], [0.0, 2.0], [0, 2, 1, 0, 0, 0], [4 / 0.5, 0, 0]
    np.testing.assert_allclose(found[0, 0], [1.0, *mean, *last, *mean, *entries, *products])
    np.testing.assert_allclose(found[:, 1], [[2.0] + 15 * [0.0]] * 2)
    np.testing.assert_array_equal(found[0], found[1])


def test_biases_by_hand() -> None:
    """Two entries that the mean pools alike; each task's biases move it by themselves."""
    rows, adapter = rows_of([[2, 1, 0], [0, 0, 0]], [2, 1]), kernel((), 1)
    weights = adapter.initial(0, ALL)
    np.testing.assert_array_equal(read(adapter, weights, rows)[..., 1:], 0.0)
    weights["recency"][0] = [np.log(3.0), 0.0, 9.0]  # of padding: not read
    weights["query"][1], weights["key"][1] = [[0], [1]], [[0], [0.25 * np.log(3.0)]]
    # b of (0, 2) under the candidate (0, 2): 2 * 2 / (sqrt(2) * 0.5)^2 * log(3) / 4 = 2 log 3
    found = read(adapter, weights, rows)
    np.testing.assert_allclose(found[0, 0, 1:], [0.25 - 0.5, 1.5 - 1.0], rtol=1e-5)
    np.testing.assert_allclose(found[1, 0, 1:], [0.1 - 0.5, 1.8 - 1.0], rtol=1e-5)
    np.testing.assert_array_equal(found[:, 1, 1:], 0.0)  # a user without a history


def test_scores_are_those_of_frozen_attention() -> None:
    layer = TargetAttention((4,), 3)
    query, keys = TABLE[[2, 1]], TABLE[[[2, 1, 0], [1, 1, 2]]]
    ids = np.array([[2, 1, 0], [1, 1, 2]])
    expected = layer(tf.constant(query), tf.constant(keys), tf.constant(ids)).numpy()
    past = History("past", "item", 3, TABLE, layer)
    scores = rows_of(ids.tolist(), [2, 1], past).taps[:, 0, -3:]
    weights = np.exp(scores) * (ids > 0)
    weights /= weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose((weights[..., np.newaxis] * keys).sum(axis=1), expected, rtol=1e-5)


@pytest.mark.parametrize(("pools", "rank"), [((), 0), (POOLS, 0), ((), 4)])
def test_starts_at_zero_shot_and_without_more_it_is_the_kernel(
    pools: tuple[Pool, ...], rank: int, bench: Bench
) -> None:
    experiment = variant("kernel.width=6")
    of = History.of(bench.backbone, transform_outputs(experiment, bench.dataset.fitted), experiment)
    columns = split_columns(bench.dataset, "finetune", lambda name: name in of.columns)
    plain = bench.rows("finetune", experiment.kernel.tap)
    rows = of.beside(plain, columns)
    adapter = HistoryKernel.of(bench.backbone, of, experiment, pools, rank).standardised(rows)
    every = np.arange(len(rows.logits))
    scored = score_rows(adapter, adapter.initial(17, ALL), rows, every)
    np.testing.assert_allclose(scored, rows.logits, rtol=1e-5, atol=1e-5)
    if adapter.shape.widths[0] == adapter.width:
        training = variant("kernel.width=6", "finetune.epochs=1")
        domains = domains_of(training, "scene=home")
        ours, theirs = (
            kernel_training.train_kernels(training, one, data, data, domains)[0].weights
            for one, data in ((adapter, rows), (adapter.shape, plain))
        )
        np.testing.assert_allclose(
            score_rows(adapter, ours, rows, every),
            score_rows(adapter.shape, theirs, plain, every),
            rtol=1e-3,
            atol=1e-4,
        )


def test_the_study_method_trains_domains_over_all_traffic(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_training, "mean_auc", lambda *_: None)  # the last weights are kept
    memory = "memory={keys: {user: [user_id]}, refresh_hours: 24, half_life_hours: 72}"
    experiment = variant("kernel.width=3", "finetune.epochs=1", memory)
    found = history(bench, experiment, ["test"], {"pools": ["last"], "rank": 2})
    assert found.keys() == {"", "all"}
    data, home = bench.rows("test"), domains_of(experiment, "scene=home")[0]
    rows = data.domain_rows(home)
    own, shared = found[""].logits["test"], found["all"].logits["test"][ALL]
    assert np.abs(own["scene=home"] - shared[rows]).max() > 1e-4
    assert np.abs(shared - data.logits).max() > 1e-3


def test_mistakes_are_one_line(bench: Bench, experiment: Experiment) -> None:
    with pytest.raises(InputError, match=r"options of history\.pools\.0: Input should be 'mean'"):
        history(bench, experiment, ["test"], {"pools": ["first"]})
    outputs = transform_outputs(experiment, bench.dataset.fitted)
    numbers = {name: output for name, output in outputs.items() if output.kind != "ids"}
    with pytest.raises(InputError, match="expected a list with 'shares', found none") as error:
        History.of(keras.Model(), numbers, experiment)
    one_line(error)
    gated = variant("kernel.gate=support")
    of = History.of(bench.backbone, outputs, experiment)
    with pytest.raises(InputError, match="received true and 'support'"):
        HistoryKernel.of(bench.backbone, of, gated, (), 0)
