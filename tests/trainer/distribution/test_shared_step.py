"""A step that three workers take together is the step of one that learns the whole batch."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from configs import Experiment, InputError
from preprocessing.features.transform import transform_outputs
from tests.trainer.conftest import one_line, variant
from tests.trainer.distribution.fake_workers import FakeWorkers, together
from trainer.backbone.model import build_backbone, check_shared
from trainer.data.batch_cut import part_of
from trainer.data.dataset import Dataset
from trainer.distillation.objective import TEACHER_LOGITS
from trainer.distribution.agreement import hand_out, told
from trainer.distribution.workers import ALONE, Workers
from trainer.job import Job
from trainer.training import optimizers
from trainer.training.backbone_step import Learner
from trainer.training.pretrain import pretrain

SIZE = 3
RATE = "pretrain.learning_rate=0.0001"  # Adam divides by gradients; at 0 by their rounding
DRAWN = ("backbone.dropout=0.3", "features.shop_id.oov_buckets=3")
RANKED = "tasks.ctr.ranking_loss={share: 0.5}"


def learner_of(experiment: Experiment, dataset: Dataset, workers: Workers = ALONE) -> Learner:
    model = build_backbone(experiment, transform_outputs(experiment, dataset.fitted))
    return Learner(model, experiment, workers=workers)


def values(learner: Learner) -> list[Any]:
    held = [*learner.model.variables, *learner.adagrad.accumulators]
    return [np.asarray(variable, np.float64) for variable in held]


@pytest.mark.parametrize(
    "settings",
    [
        (*DRAWN, "pretrain.teacher={weight: 0.5}"),
        ("backbone.body=star", "backbone.topics=[scene]"),
        (RANKED, "tasks.ctr.positive_weight=2.0"),
    ],
    ids=["draws and teacher", "moments", "requests"],
)
def test_the_sum_of_three_parts_is_the_whole(
    settings: tuple[str, ...], dataset_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a batch has fewer rows than there are workers; of one, weights are unequal."""
    monkeypatch.setattr(optimizers, "_DENSE_ROWS", 60)
    experiment = variant(RATE, *settings)
    as_built = [setting for setting in settings if setting not in DRAWN]
    dataset = Dataset.open(dataset_dir, variant(*as_built))
    batches = list(dataset.shuffled_batches("pretrain", 700, 1).take(2))
    batches.append({name: column[: SIZE - 1] for name, column in batches[0].items()})
    for batch in batches:
        n_rows = len(batch["row/weight"])
        batch["row/weight"] = tf.linspace(0.5, 2.0, n_rows)
        if "teacher" in str(settings):
            batch[TEACHER_LOGITS] = tf.random.stateless_normal((n_rows, 2), (1, 2))

    def learned(workers: Workers) -> tuple[list[float], Learner]:
        learner = learner_of(experiment, dataset, workers)
        parts = [part_of(batch, workers, dataset.in_requests) for batch in batches]
        return [float(learner._step(part)) for part in parts], learner

    (losses, alone), every = learned(ALONE), together(SIZE, learned)
    before = values(learner_of(experiment, dataset))
    assert any((start != end).any() for start, end in zip(before, values(alone), strict=True))
    for theirs, learner in every:
        np.testing.assert_allclose(theirs, losses, rtol=1e-5)
        for one, part, first in zip(
            values(alone), values(learner), values(every[0][1]), strict=True
        ):
            np.testing.assert_allclose(part, one, rtol=1e-6, atol=3e-6)
            np.testing.assert_array_equal(part, first)
    means = alone.objectives.means()
    for found in together(SIZE, lambda workers: every[workers.rank][1].objectives.means(workers)):
        assert found == pytest.approx(means, rel=1e-5)


def test_what_the_first_knows_all_know() -> None:
    text = "Größe ✓" * 3

    def act(workers: FakeWorkers) -> tuple[str, str, list[Any]]:
        first = not workers.rank
        held = [
            tf.Variable([[1.5, -0.0], [np.nan, 3.0]] if first else [[9.0, 9.0], [9.0, 9.0]]),
            tf.Variable(7 if first else 8, dtype=tf.int64),
            tf.Variable([5, 6] if first else [0, 0], dtype=tf.uint32),
        ]
        said = told(workers, text if first else "mine")
        nothing = told(workers, "" if first else "mine")
        hand_out(workers, held)
        return said, nothing, [variable.numpy().tobytes() for variable in held]

    first, *others = together(SIZE, act)
    assert first[:2] == (text, "")
    assert all(other == first for other in others)


def test_large_variables_travel_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.distribution.agreement._PIECE", 8)
    expected = np.arange(20.0, dtype=np.float32).reshape(10, 2)

    def act(workers: FakeWorkers) -> Any:
        table = tf.Variable(np.where(workers.rank, 0.0, expected))
        hand_out(workers, [table])
        return table.numpy()

    for found in together(SIZE, act):
        np.testing.assert_array_equal(found, expected)


def test_a_layer_that_does_not_know_of_other_workers_is_refused() -> None:
    inputs = keras.Input((3,))
    normed = keras.layers.BatchNormalization(name="norm")(inputs)
    with pytest.raises(InputError, match=r"layer 'norm' \(BatchNormalization\)") as error:
        check_shared(keras.Model(inputs, normed))
    one_line(error)
    check_shared(keras.Model(inputs, keras.layers.Dense(2)(inputs)))


def test_a_window_whose_requests_would_be_parted_is_refused(
    dataset_dir: Path, tmp_path: Path
) -> None:
    class Several(Workers):
        size = 2

    ranked = variant(RANKED, "pretrain.progressive=true")
    with pytest.raises(InputError, match="cannot go through the window") as error:
        pretrain(ranked, dataset_dir, Job(tmp_path / "job"), workers=Several())
    one_line(error)
    assert not (tmp_path / "job").exists()
