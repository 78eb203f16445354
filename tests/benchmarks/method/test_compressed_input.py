"""The delta on the compressed representation: its equation, its start, and that it trains."""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.method.adapters.compressed_input import CompressedInput
from benchmarks.method.bench import Bench
from benchmarks.method.methods.tower_input import tower_input
from configs import Experiment, InputError
from configs.domains import ALL
from configs.training import Kernel
from tests.tasks import TOWERS
from tests.trainer.conftest import domains_of, one_line, variant
from trainer.backbone.frozen_pass import BackboneOutputs
from trainer.backbone.model import intercepts_of
from trainer.kernels.scoring import score_rows
from trainer.training import kernel_training

SIZE, INPUT = 6, 53  # of the small backbone's representation, and of its input beside it


@pytest.fixture(scope="module")
def bench(experiment: Experiment, logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The small experiment as a study keeps it."""
    return Bench(experiment, str(logs / "*.parquet"), tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def window(bench: Bench) -> BackboneOutputs:
    return bench.rows("finetune", "representation+input")


def tower_of(bench: Bench, task: int, h: Any) -> Any:
    """The backbone's own tower of a task in NumPy, with its intercept."""
    name = ("ctr", "cvr")[task]
    for part, lowest in (("tower_0", 0.0), ("logit", -np.inf)):
        kernel, bias = bench.backbone.get_layer(f"{name}_{part}").get_weights()
        h = np.maximum(h @ kernel + bias, lowest)
    intercepts = intercepts_of(bench.backbone)
    assert intercepts is not None
    return h[:, 0] + intercepts.numpy()[task]


def test_at_full_rank_it_starts_at_zero_shot(bench: Bench, window: BackboneOutputs) -> None:
    adapter = CompressedInput.of(bench.backbone, TOWERS, Kernel(width=5), window)
    every = np.arange(len(window.logits))
    scored = score_rows(adapter, adapter.initial(17, ALL), window, every)
    np.testing.assert_allclose(scored, window.logits, rtol=1e-4, atol=1e-4)
    assert adapter.informed == ("encoder", "decoder", "weight_0", "weight_1")
    own = 2 * SIZE * SIZE + SIZE + (SIZE + INPUT) * 5 + 5 + 5 * SIZE + SIZE
    assert adapter.parameters == 2 * own


def test_at_a_lower_rank_it_starts_at_the_projection_on_principal_components(
    bench: Bench, window: BackboneOutputs
) -> None:
    adapter, every = (
        CompressedInput.of(bench.backbone, TOWERS, Kernel(width=5), window, 2),
        np.arange(len(window.logits)),
    )
    scored = score_rows(adapter, adapter.initial(17, ALL), window, every)
    for task in range(2):
        h = window.taps[:, task, :SIZE].astype(np.float64)
        mean = h.mean(axis=0)
        axes = np.linalg.svd(h - mean, full_matrices=False)[2][:2]
        expected = tower_of(bench, task, mean + (h - mean) @ axes.T @ axes)
        np.testing.assert_allclose(scored[:, task], expected, rtol=1e-3, atol=1e-3)
    assert np.abs(scored - window.logits).max() > 0.01


def test_the_learner_reads_the_compressed_and_is_added_to_it(
    bench: Bench, window: BackboneOutputs
) -> None:
    kernel = Kernel(width=5, activation="tanh")
    adapter = CompressedInput.of(bench.backbone, TOWERS, kernel, window, 3)
    generator, rows = np.random.default_rng(4), np.arange(50)
    weights = {
        name: values + 0.3 * generator.standard_normal(values.shape, np.float32)
        for name, values in adapter.initial(17, ALL).items()
    }
    scored = score_rows(adapter, weights, window, rows)
    for task in range(2):
        mean, deviation = adapter.scale.mean[task], adapter.scale.deviation[task]
        x = (window.taps[rows, task].astype(np.float64) - mean) / deviation
        code = x[:, :SIZE] @ weights["encoder"][task] / SIZE**0.5
        compressed = code @ weights["decoder"][task] / 3**0.5 + weights["offset"][task]
        read = np.concatenate([compressed, x[:, SIZE:]], axis=1)
        hidden = np.tanh(
            read @ weights["weight_0"][task] / (SIZE + INPUT) ** 0.5 + weights["bias_0"][task]
        )
        learned = hidden @ weights["weight_1"][task] / 5**0.5 + weights["bias_1"][task]
        expected = tower_of(bench, task, (compressed + learned) * deviation + mean[:SIZE])
        np.testing.assert_allclose(scored[:, task], expected, rtol=1e-3, atol=1e-3)


def test_the_study_method_says_what_it_starts_from(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_training, "mean_auc", lambda *_: None)  # the last weights are kept
    experiment = variant("kernel.width=3", "finetune.epochs=1")
    found = tower_input(bench, experiment, ["test"], {"enters": "compressed", "rank": 4})
    assert found.keys() == {"", "all", "start"}
    data, home = bench.rows("test"), domains_of(experiment, "scene=home")[0]
    shared, start = (found[name].logits["test"][ALL] for name in ("all", "start"))
    own = found[""].logits["test"]["scene=home"]
    assert np.abs(own - shared[data.domain_rows(home)]).max() > 1e-4
    assert np.abs(shared - start).max() > 1e-3
    assert np.abs(start - data.logits).max() > 1e-3


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tap": "tower"}, "begins with 'representation', received 'tower'"),
        ({"residual": False}, "expected true and 'none', received false and 'none'"),
    ],
)
def test_kernels_of_another_kind_are_refused(
    settings: dict[str, Any], said: str, bench: Bench, window: BackboneOutputs
) -> None:
    with pytest.raises(InputError, match=said) as error:
        CompressedInput.of(bench.backbone, TOWERS, Kernel.model_validate(settings), window)
    one_line(error)
