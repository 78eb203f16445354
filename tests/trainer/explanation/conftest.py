"""A made-up model whose reading is known: logits that are a known function of its inputs."""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

import keras
import numpy as np
import pytest
from keras import ops

from configs import Experiment
from configs.domains import Domain
from trainer.evaluation.judged_kernels import JudgedKernels
from trainer.explanation.inputs import Input, InputRows
from trainer.explanation.scorer import Scorer
from trainer.metrics.explanation_results import ReadInput

ROWS = 3_000
WEIGHTS = {"decides": 2.0, "helps": 0.5, "noise": 0.3, "ignored": 0.0}
"""Of the number that each input is, in the logit of every task."""
UNREAD = "unread"


def made_input(name: str, *parts: str, read: bool = True) -> Input:
    about = ReadInput(
        kind="feature", columns=(name,), parts=parts or (f"feature/{name}",), read=read, shares=()
    )
    return Input(name, about)


@pytest.fixture(scope="session")
def made_scorer(experiment: Experiment) -> Scorer:
    """A model that adds up its numbers by ``WEIGHTS``, and no kernels."""
    numbers = {name: keras.Input((), name=f"feature_{name}") for name in WEIGHTS}
    logit = ops.expand_dims(sum(WEIGHTS[name] * number for name, number in numbers.items()), -1)
    heads = {
        "logits": ops.concatenate([logit, logit], axis=-1),
        "tower": ops.repeat(ops.expand_dims(logit, 1), 2, axis=1),
    }
    topics = dict(experiment.topics)
    domains = {
        name: Domain.parse(name, topics) for name in ("scene=home", "scene=search", "region=r9")
    }
    kernels = JudgedKernels(topics, domains, {}, {}, None)
    return Scorer(experiment, keras.Model(numbers, heads), kernels)


@pytest.fixture(scope="session")
def made_inputs() -> list[Input]:
    return [*(made_input(name) for name in WEIGHTS), made_input(UNREAD, read=False)]


@pytest.fixture(scope="session")
def made_rows() -> InputRows:
    """Rows whose clicks ``decides`` and ``helps`` decide, of two scenes and a hundred users."""
    generator = np.random.default_rng(5)
    parts = {
        f"feature/{name}": generator.standard_normal(ROWS).astype(np.float32)
        for name in (*WEIGHTS, UNREAD)
    }
    logit = 2.0 * parts["feature/decides"] + 0.5 * parts["feature/helps"]
    click = generator.random(ROWS) < 1.0 / (1.0 + np.exp(-logit))
    conversion = click & (generator.random(ROWS) < 1.0 / (1.0 + np.exp(-logit)))
    columns = {
        "label/click": click.astype(np.float32),
        "label/conversion": conversion.astype(np.float32),
        "row/weight": generator.uniform(0.5, 2.0, ROWS).astype(np.float32),
        "row/request": np.arange(ROWS) // 5,
        "row/user": np.arange(ROWS) // 30,
        "topic/scene": generator.integers(0, 3, ROWS).astype(np.int32),
        "topic/period": np.zeros(ROWS, np.int32),
        "topic/region": np.ones(ROWS, np.int32),
    }
    return InputRows(parts, columns)
