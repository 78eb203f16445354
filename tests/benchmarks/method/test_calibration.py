"""A bias and a scale for every domain: what they minimise, and that they order a domain's rows as
the backbone does.
"""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from benchmarks.method.bench import Bench
from benchmarks.method.methods.calibration import calibration, fit_line
from configs import Experiment, InputError
from configs.domains import ALL
from tests.trainer.conftest import domains_of, one_line
from trainer.kernels.scoring import predicted_rows, task_rows
from trainer.metrics.task_metrics import auc, log_loss


@given(st.integers(0, 10_000), st.floats(0.2, 5.0), st.floats(-2.0, 2.0), st.floats(0.1, 100.0))
def test_the_line_is_stationary(seed: int, scale: float, bias: float, precision: float) -> None:
    generator = np.random.default_rng(seed)
    x = generator.standard_normal(400)
    w = generator.uniform(0.5, 2.0, 400)
    y = (generator.random(400) < expit(scale * x + bias)).astype(np.float32)
    a, b = fit_line(x, y, w, precision)
    slope = w * (expit(a * x + b) - y)
    assert a > 0
    assert a * (slope @ x) + precision * np.log(a) == pytest.approx(0.0, abs=1e-2)
    assert slope.sum() + precision * b == pytest.approx(0.0, abs=1e-2)


def test_a_line_is_found_again_and_without_rows_it_is_the_backbones() -> None:
    generator = np.random.default_rng(3)
    x = generator.standard_normal(200_000)
    y = (generator.random(200_000) < expit(0.5 * x - 1.0)).astype(np.float32)
    np.testing.assert_allclose(fit_line(x, y, np.ones(200_000), 1.0), (0.5, -1.0), atol=0.03)
    none = np.empty(0)
    assert fit_line(none, none, none, 1.0) == (1.0, 0.0)
    strong = fit_line(x[:50], y[:50], np.ones(50), 1e6)
    np.testing.assert_allclose(strong, (1.0, 0.0), atol=1e-3)


@pytest.fixture(scope="module")
def bench(experiment: Experiment, logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The small experiment as a study keeps it."""
    return Bench(experiment, str(logs / "*.parquet"), tmp_path_factory.mktemp("bench"))


def test_what_it_leaves(bench: Bench) -> None:
    """Every domain with rows in the window: its own four numbers, the backbone's CTR order, and on
    the window itself a log loss that is not above the backbone's.
    """
    experiment = bench.experiment
    found = calibration(bench, experiment, ["test", "finetune"], {})
    own, shared, window = found[""], found["all"], bench.rows("finetune")
    present = [domain for domain in experiment.domains if len(window.domain_rows(domain))]
    assert len(present) < len(experiment.domains)  # region r9 has no rows
    assert list(own.logits["test"]) == [domain.name for domain in present]
    assert list(shared.logits["test"]) == [ALL]
    assert own.parameters == shared.parameters == 4
    assert own.active is None
    for domain in domains_of(experiment, *own.logits["test"]):
        for split in ("test", "finetune"):
            data, logits = bench.rows(split), own.logits[split][domain.name]
            rows = data.domain_rows(domain)
            before, after = (
                predicted_rows(experiment.tasks, values) for values in (data.logits[rows], logits)
            )
            clicks = data.labels("click")[rows]
            assert auc(clicks, after["ctr"], data.weights[rows]) == pytest.approx(
                auc(clicks, before["ctr"], data.weights[rows]), abs=1e-4
            )
            if split == "finetune":
                for task in ("ctr", "cvr"):
                    inside, labels = task_rows(experiment, data, rows, task)
                    weights = data.weights[rows[inside]]
                    fitted, plain = (
                        log_loss(labels, side[task][inside], weights) for side in (after, before)
                    )
                    assert fitted is not None and plain is not None
                    assert fitted <= plain + 1e-6


def test_unsound_options_are_one_line(bench: Bench) -> None:
    with pytest.raises(InputError, match=r"options of calibration\.precision") as error:
        calibration(bench, bench.experiment, ["test"], {"precision": 0.0})
    one_line(error)
