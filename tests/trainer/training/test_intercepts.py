"""Intercepts: the mean prediction of the rows that a backbone was trained on is their mean label,
whatever stood in training in the place of what is served.
"""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import Experiment
from preprocessing.features.transform import transform_outputs
from tests.tasks import RANKING, TASKS
from tests.trainer.conftest import random_rows, variant
from trainer.backbone.frozen_pass import BackboneOutputs, run_frozen
from trainer.backbone.model import build_backbone, inference_model, intercepts_of
from trainer.data.dataset import Dataset
from trainer.evaluation.validation import monitored, validation_figures
from trainer.job import Job
from trainer.kernels.scoring import predicted_rows, task_rows
from trainer.losses import Objectives
from trainer.metrics.task_metrics import pcoc
from trainer.training.intercepts import fit_intercepts, set_intercepts

EXPERIMENT = variant()


def pcocs(experiment: Experiment, outputs: BackboneOutputs, logits: Any) -> list[float | None]:
    """PCOC of CTR and CTCVR."""
    everything, scores = np.arange(len(logits)), predicted_rows(TASKS, logits)
    return [
        pcoc(task_rows(experiment, outputs, everything, task)[1], scores[task], outputs.weights)
        for task in RANKING
    ]


@given(st.integers(0, 1_000), st.floats(-8.0, 8.0), st.floats(-8.0, 8.0))
def test_the_mean_prediction_is_the_mean_label(seed: int, ctr: float, cvr: float) -> None:
    drawn = random_rows(300, seed=seed)
    outputs = replace(drawn, logits=drawn.logits + np.array([ctr, cvr], np.float32))
    found = fit_intercepts(outputs, EXPERIMENT)
    after = pcocs(EXPERIMENT, outputs, outputs.logits + np.array(found, np.float32))
    np.testing.assert_allclose(after, [1.0, 1.0], rtol=1e-4)
    moved = replace(outputs, logits=drawn.logits)
    np.testing.assert_allclose(
        fit_intercepts(moved, EXPERIMENT), np.add(found, [ctr, cvr]), atol=1e-4
    )


@given(st.integers(0, 1_000))
def test_neither_order_nor_scale_of_the_weights_matters(seed: int) -> None:
    outputs = random_rows(200, seed=seed)
    order = np.random.default_rng(seed).permutation(200)
    other = BackboneOutputs(
        outputs.logits[order],
        outputs.taps,
        {name: values[order] for name, values in outputs.columns.items()}
        | {"row/weight": 3.0 * outputs.columns["row/weight"][order]},
    )
    np.testing.assert_allclose(
        fit_intercepts(other, EXPERIMENT), fit_intercepts(outputs, EXPERIMENT), atol=1e-6
    )


@pytest.mark.parametrize(
    ("click", "conversion", "fitted"),
    [
        ([0, 0, 0, 0], [0, 0, 0, 0], (False, False)),
        ([1, 1, 1, 1], [1, 0, 1, 0], (False, True)),
        ([1, 0, 1, 0], [0, 0, 0, 0], (True, False)),
        ([1, 0, 1, 0], [1, 0, 1, 0], (True, False)),  # every click converts
        ([1, 0, 1, 0], [1, 0, 0, 0], (True, True)),
    ],
)
def test_what_no_intercept_can_match_is_left_alone(
    click: list[float], conversion: list[float], fitted: tuple[bool, bool]
) -> None:
    columns = {"label/click": click, "label/conversion": conversion, "row/weight": [1.0] * 4}
    outputs = BackboneOutputs(
        np.full((4, 2), 0.7, np.float32),
        np.empty((0, 2, 0), np.float32),
        {name: np.array(values, np.float32) for name, values in columns.items()},
    )
    found = fit_intercepts(outputs, EXPERIMENT)
    assert tuple(bool(value) for value in found) == fitted


def test_a_trained_backbone_is_calibrated_on_its_own_rows(
    experiment: Experiment, dataset: Dataset, job_dir: Path, frozen: keras.Model
) -> None:
    rows = run_frozen(frozen, dataset, experiment.pretrain.split, None, "rows")
    np.testing.assert_allclose(pcocs(experiment, rows, rows.logits), [1.0, 1.0], rtol=1e-4)
    intercepts = intercepts_of(frozen)
    assert intercepts is not None
    assert (np.abs(intercepts.numpy()) > 1e-4).all()
    assert "intercepts/bias" in Job(job_dir).fingerprint()["tensors"]


def test_validation_sees_the_served_scores(
    experiment: Experiment, dataset: Dataset, job_dir: Path, frozen: keras.Model
) -> None:
    outputs = run_frozen(frozen, dataset, experiment.pretrain.validation, None, "validation")
    figures = validation_figures(outputs, Objectives(experiment), experiment)
    history = json.loads((job_dir / "backbone" / "history.json").read_text())
    best = max(history, key=lambda entry: monitored(entry["validation"], "auc"))
    assert best["validation"] == pytest.approx(figures, abs=1e-6)


def test_they_do_not_depend_on_what_they_were(experiment: Experiment, dataset: Dataset) -> None:
    keras.utils.set_random_seed(3)
    model = build_backbone(experiment, transform_outputs(experiment, dataset.fitted))
    inference, intercepts = inference_model(model, experiment), intercepts_of(model)
    assert intercepts is not None
    first = set_intercepts(inference, dataset, experiment)
    np.testing.assert_array_equal(intercepts.numpy(), np.float32(first))
    intercepts.assign([5.0, -5.0])
    assert set_intercepts(inference, dataset, experiment) == first
    part = set_intercepts(inference, dataset, experiment, rows=dataset.rows("pretrain") // 3)
    assert part != first
    np.testing.assert_allclose(part, first, atol=0.3)


def test_a_backbone_that_is_older_than_them_is_left_alone(
    experiment: Experiment, dataset: Dataset
) -> None:
    older: Any = SimpleNamespace(layers=[])
    assert intercepts_of(older) is None
    assert set_intercepts(older, dataset, experiment) == (0.0, 0.0)
