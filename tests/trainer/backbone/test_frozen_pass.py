"""The frozen backbone's pass: Keras's own outputs bit by bit, of all rows or of those that are
asked for, by a graph that lives as long as its model.
"""

import gc
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from configs import Experiment
from configs.tensorflow_import import tf
from tests.trainer.conftest import random_rows, variant
from trainer.backbone import frozen_pass
from trainer.backbone.frozen_pass import feature_tensors, in_domain, run_frozen
from trainer.backbone.input_scale import InputScale
from trainer.backbone.model import intercepts_of, read_tap
from trainer.backbone.saving import load_fitting, load_frozen
from trainer.data.dataset import Columns, Dataset
from trainer.job import Job


@pytest.fixture
def own_model(experiment: Experiment, job_dir: Path) -> keras.Model:
    """A frozen backbone that no other test holds."""
    return load_frozen(Job(job_dir), experiment)


@pytest.mark.parametrize("tap", ["tower", "input", "representation+input", "logits+tower"])
def test_logits_and_taps_are_those_that_keras_predicts(
    frozen: keras.Model, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, tap: str
) -> None:
    monkeypatch.setattr(frozen_pass, "_BATCH", 512)  # so that several are computed at a time
    rows = run_frozen(frozen, dataset, "finetune", tap, "rows")
    start = 0
    for columns in dataset.batches("finetune", 512):
        heads = frozen.predict_on_batch(feature_tensors(columns, frozen))
        part = slice(start, start + len(columns["row/weight"]))
        np.testing.assert_array_equal(rows.logits[part], heads["logits"])
        np.testing.assert_array_equal(rows.taps[part], np.asarray(read_tap(heads, tap)))
        np.testing.assert_array_equal(rows.columns["row/request"][part], columns["row/request"])
        start = part.stop
    assert start == len(rows.logits) > 512


def test_only_the_rows_that_are_asked_for_are_computed(
    frozen: keras.Model,
    dataset: Dataset,
    experiment: Experiment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frozen_pass, "_BATCH", 64)
    monkeypatch.setattr(frozen_pass, "_READ_TO_CHOOSE", 300)
    every = run_frozen(frozen, dataset, "finetune", "tower", "rows", ("feature/shop_id",))
    domain = next(one for one in experiment.domains if one.name == "scene=home")
    firsts = []

    def chosen(columns: Columns, first: int) -> Any:
        firsts.append(first)
        return in_domain(columns, domain, len(columns["row/weight"]))

    some = run_frozen(frozen, dataset, "finetune", "tower", "rows", ("feature/shop_id",), chosen)
    inside = every.domain_rows(domain)
    outside = np.setdiff1d(np.arange(len(every.logits)), inside)
    assert firsts == list(range(0, len(every.logits), 300))
    assert len(inside) and len(outside)
    np.testing.assert_allclose(some.logits[inside], every.logits[inside], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(some.taps[inside], every.taps[inside], rtol=1e-5, atol=1e-6)
    assert np.isnan(some.logits[outside]).all()
    assert not some.taps[outside].any()
    np.testing.assert_equal(some.columns, every.columns)


def test_a_pass_reads_the_weights_of_the_moment(own_model: keras.Model, dataset: Dataset) -> None:
    before = run_frozen(own_model, dataset, "validation", None, "before").logits
    bias = intercepts_of(own_model)
    assert bias is not None
    bias.assign(bias.value + np.array([1.0, -2.0], np.float32))
    after = run_frozen(own_model, dataset, "validation", None, "after").logits
    np.testing.assert_allclose(after - before, np.tile([1.0, -2.0], (len(after), 1)), atol=1e-5)


def test_a_graph_is_traced_once_and_goes_with_its_model(
    experiment: Experiment, job_dir: Path, dataset: Dataset
) -> None:
    model = load_frozen(Job(job_dir), experiment)
    run_frozen(model, dataset, "validation", "tower", "rows")
    traced = frozen_pass._traced[model]["tower"]
    run_frozen(model, dataset, "finetune", "tower", "rows")
    assert frozen_pass._traced[model]["tower"] is traced
    held = len(frozen_pass._traced)
    del model, traced
    gc.collect()
    assert len(frozen_pass._traced) < held


def test_many_models_of_a_process_are_no_reason_for_tensorflow_to_warn() -> None:
    said: list[logging.LogRecord] = []
    listener = logging.Handler()
    listener.emit = said.append  # type: ignore[method-assign]
    logger = logging.getLogger("tensorflow")
    logger.addHandler(listener)
    try:
        for _ in range(6):
            inputs = {"x": keras.Input((2,), name="x")}
            model = keras.Model(inputs, {"logits": keras.layers.Dense(1)(inputs["x"])})
            (logits,) = frozen_pass._forward(model, None)({"x": tf.ones((3, 2))})
            assert logits.shape == (3, 1)
    finally:
        logger.removeHandler(listener)
    assert not [record.getMessage() for record in said]


def test_what_kernels_read_is_the_same_in_given_memory() -> None:
    data = random_rows(90)
    memory = np.random.default_rng(0).standard_normal((90, 3)).astype(np.float32)
    rows = np.random.default_rng(1).integers(0, 90, (4, 8))
    for one in (data, replace(data, memory=memory), replace(data, taps=data.taps[:, :1].copy())):
        for scale in (None, InputScale.of(np.moveaxis(one.inputs(np.arange(90)), 0, 1))):
            scaled = replace(one, scale=scale)
            given = np.full((4, *scaled.input_shape[:1], 8, scaled.input_shape[1]), 7.0, np.float32)
            assert scaled.inputs(rows, given) is given
            np.testing.assert_array_equal(given, scaled.inputs(rows))
            expected = np.moveaxis(one.taps[rows], 2, 1)
            if one.memory is not None:
                beside = np.repeat(memory[rows][:, np.newaxis], expected.shape[1], axis=1)
                expected = np.concatenate([expected, beside], axis=-1)
            if scale is not None:
                mean, deviation = scale.mean[:, np.newaxis], scale.deviation[:, None, None]
                expected = (expected - mean) / deviation
            np.testing.assert_array_equal(given, expected)


def test_settings_that_a_backbone_does_not_take_over_are_named(
    job_dir: Path, experiment: Experiment, capsys: pytest.CaptureFixture[str]
) -> None:
    load_fitting(Job(job_dir), experiment)
    assert "other settings" not in capsys.readouterr().err
    other = variant("features.rating.encoding=periodic", "backbone.experts=3")
    load_fitting(Job(job_dir), other)
    assert "note: features.rating, backbone: other settings than those" in capsys.readouterr().err
