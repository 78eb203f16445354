"""The pass through the window: scored before it is learned, in order of time, once; what it
leaves is what kernels train on.
"""

import json
import shutil
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from configs import Experiment, InputError
from preprocessing.beam.dataset_job import Job as DatasetJob
from preprocessing.features.transform import transform_outputs
from preprocessing.task import parse_arguments
from tests.conftest import QUICKSTART
from tests.disk import Recorder, asides, recorded
from tests.trainer.conftest import as_before_lists, change_json, one_line, variant
from trainer.backbone.frozen_pass import BackboneOutputs, run_frozen
from trainer.backbone.layers.embedding import RowEmbedding
from trainer.backbone.model import build_backbone, inference_model
from trainer.backbone.saving import load_frozen
from trainer.backbone.stored_taps import STORED, split_columns, window_rows
from trainer.data.dataset import Dataset
from trainer.job import Job
from trainer.kernels.kernel import KernelShape
from trainer.metrics.task_metrics import auc
from trainer.registry.kernel_registry import KernelStore
from trainer.training import finetune as tuning
from trainer.training import kernel_training
from trainer.training import pretrain as pretraining
from trainer.training import progressive_validation as module
from trainer.training.backbone_step import Learner
from trainer.training.optimizers import RowWiseAdagrad
from trainer.training.pretrain import pretrain
from trainer.training.progressive_validation import chronological_parts, fill_cold_rows

PARTS = 4
PROGRESSIVE = (
    "pretrain.progressive=true",
    f"pretrain.progressive_parts={PARTS}",
    "finetune.epochs=1",
)


class Trained(NamedTuple):
    """A job with out-of-sample taps; the weights just before the first part was scored; at the
    end, how often each row was updated; what got onto the disk.
    """

    experiment: Experiment
    data: Path
    job: Job
    before: list[npt.NDArray[Any]]
    updates: dict[str, npt.NDArray[np.float32]]
    recorder: Recorder


@pytest.fixture(scope="module")
def data(logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small logs as a dataset whose transform knows the window."""
    folder = tmp_path_factory.mktemp("progressive") / "data"
    _, beam_flags = parse_arguments(["--config", str(QUICKSTART), "--output", str(folder)])
    DatasetJob(variant(*PROGRESSIVE), str(logs / "*.parquet"), str(folder), tuple(beam_flags)).run()
    return folder


@pytest.fixture(scope="module")
def trained(data: Path) -> Trained:
    """Pre-trained, without interruption."""
    experiment, job = variant(*PROGRESSIVE), Job(data.parent / "job")
    before: list[npt.NDArray[Any]] = []
    updates: dict[str, npt.NDArray[np.float32]] = {}

    def fill_and_remember(learner: Learner, experiment: Experiment) -> None:
        fill_cold_rows(learner, experiment)
        if not before:
            before.extend(weight.numpy() for weight in learner.model.weights)
        names = [layer.name for layer in learner.model.layers if isinstance(layer, RowEmbedding)]
        updates.update(
            {
                name: count.numpy()
                for name, count in zip(names, learner.adagrad.updates, strict=True)
            }
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "fill_cold_rows", fill_and_remember)
        recorder = recorded(patch)
        pretrain(experiment, data, job)
    return Trained(experiment, data, job, before, updates, recorder)


def test_taps_are_on_disk_before_they_appear(trained: Trained) -> None:
    trained.recorder.check(trained.job.backbone, but=["checkpoints"])
    assert trained.job.backbone / "taps" in trained.recorder.appeared


@pytest.fixture(scope="module")
def opened(trained: Trained) -> Dataset:
    """Its dataset."""
    return Dataset.open(trained.data, trained.experiment)


@pytest.fixture(scope="module")
def backbone(trained: Trained) -> keras.Model:
    """Its frozen backbone."""
    return load_frozen(trained.job, trained.experiment)


@pytest.fixture(scope="module")
def stored(trained: Trained, opened: Dataset, backbone: keras.Model) -> BackboneOutputs:
    """The window as kernels see it."""
    return window_rows(trained.job, trained.experiment, backbone, opened, "tower", "window")


@pytest.fixture(scope="module")
def in_sample(opened: Dataset, backbone: keras.Model) -> BackboneOutputs:
    """The window behind the backbone that has learned it."""
    return run_frozen(backbone, opened, "finetune", "tower", "window")


@pytest.fixture
def job_copied(trained: Trained, tmp_path: Path) -> Job:
    """A copy of the job, to change."""
    return Job(Path(shutil.copytree(trained.job.folder, tmp_path / "job")))


@pytest.mark.parametrize(
    ("moments", "parts", "expected"),
    [
        ([5, 1, 4, 2, 3, 6], 3, [[1, 3], [2, 4], [0, 5]]),
        ([5, 1, 4, 2, 3, 6], 1, [[0, 1, 2, 3, 4, 5]]),
        (
            [7, 9, 7, 8, 8],
            3,
            [[0, 2], [1, 3, 4]],
        ),  # rows of one moment stay together, so one part less
        ([3, 3, 3], 2, [[0, 1, 2]]),
        ([2, 1], 5, [[1], [0]]),
    ],
)
def test_parts_by_hand(moments: list[int], parts: int, expected: list[list[int]]) -> None:
    found = chronological_parts(np.array(moments), parts)
    assert [list(rows) for rows in found] == expected


def test_parts_are_chronological_and_cover_the_window_once(
    trained: Trained, opened: Dataset, stored: BackboneOutputs
) -> None:
    moments = stored.columns["row/timestamp"]
    parts = chronological_parts(moments.astype(np.int64), PARTS)
    assert len(parts) == PARTS
    np.testing.assert_array_equal(
        np.sort(np.concatenate(parts)), np.arange(opened.rows("finetune"))
    )
    for earlier, later in pairwise(parts):
        assert moments[earlier].max() < moments[later].min()
        assert abs(len(earlier) - len(later)) < 0.1 * len(earlier)
    about = json.loads((trained.job.backbone / "taps" / "window.json").read_text())["parts"]
    assert about == [
        {"first": moments[rows].min(), "last": moments[rows].max(), "rows": len(rows)}
        for rows in parts
    ]


def test_the_rows_are_those_of_a_forward_pass_in_the_same_order(
    trained: Trained,
    opened: Dataset,
    backbone: keras.Model,
    stored: BackboneOutputs,
    in_sample: BackboneOutputs,
) -> None:
    np.testing.assert_equal(stored.columns, in_sample.columns)
    assert stored.taps.shape == in_sample.taps.shape
    without = window_rows(
        trained.job, trained.experiment, backbone, opened, None, "window", keep=("feature/user_id",)
    )
    assert without.taps.shape == (len(stored.logits), 2, 0)
    assert without.columns.keys() - stored.columns.keys() == {"feature/user_id"}
    joined = window_rows(
        trained.job, trained.experiment, backbone, opened, "tower+logits", "window"
    ).taps
    np.testing.assert_array_equal(
        joined, np.concatenate([stored.taps, stored.logits[:, :, None]], axis=2)
    )


def test_the_first_part_was_scored_by_the_model_before_the_pass(
    trained: Trained, opened: Dataset, stored: BackboneOutputs
) -> None:
    model = build_backbone(trained.experiment, transform_outputs(trained.experiment, opened.fitted))
    for weight, value in zip(model.weights, trained.before, strict=True):
        weight.assign(value)
    expected = run_frozen(
        inference_model(model, trained.experiment), opened, "finetune", "tower", "window"
    )
    first, *_, last = chronological_parts(stored.columns["row/timestamp"].astype(np.int64), PARTS)
    np.testing.assert_allclose(stored.logits[first], expected.logits[first], atol=1e-5)
    np.testing.assert_allclose(stored.taps[first], expected.taps[first], atol=1e-5)
    assert np.abs(stored.logits[last] - expected.logits[last]).mean() > 1e-2


def test_what_is_stored_is_out_of_sample(
    stored: BackboneOutputs, in_sample: BackboneOutputs
) -> None:
    assert (stored.logits != in_sample.logits).any(axis=1).mean() > 0.99
    clicks = stored.labels("click")
    before, after = (
        auc(clicks, stored.logits[:, 0], stored.weights),
        auc(clicks, in_sample.logits[:, 0], stored.weights),
    )
    assert before is not None
    assert after is not None
    assert 0.5 < before < after


def test_the_transform_knows_the_window_and_unseen_ids_read_as_such(
    trained: Trained, opened: Dataset, dataset: Dataset
) -> None:
    """Users that no row before the window has: the first part is scored with the
    out-of-vocabulary row in their place.
    """
    seen, known = (
        set(fitted.vocabularies["user_id"]) for fitted in (dataset.fitted, opened.fitted)
    )
    new = known - seen
    assert seen < known
    paths = [
        weight.path
        for weight in build_backbone(
            trained.experiment, transform_outputs(trained.experiment, opened.fitted)
        ).weights
    ]
    table = trained.before[
        next(index for index, path in enumerate(paths) if path.startswith("embedding_user_id"))
    ]
    ids = [2 + opened.fitted.vocabularies["user_id"].index(user) for user in new]
    np.testing.assert_array_equal(table[ids], np.broadcast_to(table[1], (len(ids), table.shape[1])))
    window = split_columns(opened, "finetune", lambda name: name == "feature/user_id")[
        "feature/user_id"
    ]
    assert (trained.updates["embedding_user_id"][np.intersect1d(ids, window)] > 0).all()


def test_rows_never_updated_equal_the_out_of_vocabulary_row_at_the_end(
    trained: Trained, backbone: keras.Model
) -> None:
    cold = {}
    for layer in backbone.layers:
        if (
            isinstance(layer, RowEmbedding)
            and layer.name.removeprefix("embedding_") in trained.experiment.features
        ):
            table, never = layer.table.numpy(), trained.updates[layer.name] == 0
            cold[layer.name] = int(never.sum())
            np.testing.assert_array_equal(
                table[never], np.broadcast_to(table[1], (cold[layer.name], table.shape[1]))
            )
            assert len(np.unique(table[~never], axis=0)) == (~never).sum()
    assert cold["embedding_shop_id"] > 0


def cold_learner(table: list[float], updates: list[float]) -> Any:
    """A learner with one table, one wide, of a feature ``shop_id``."""
    layer = RowEmbedding(len(table), 1, 0, name="embedding_shop_id")
    layer.build((None,))
    layer.table.assign(np.array(table, np.float32)[:, None])
    model = SimpleNamespace(layers=[layer])
    return SimpleNamespace(
        model=model,
        tables=[layer.table.value],
        adagrad=SimpleNamespace(updates=[tf.Variable(updates)]),
    )


@pytest.mark.parametrize(
    ("setting", "updates", "expected"),
    [
        ("features.shop_id.oov_buckets=1", [0, 3, 1, 0, 0], [2, 2, 4, 2, 2]),
        (
            "features.shop_id.oov_buckets=1",
            [0, 0, 1, 0, 0],
            [2, 2, 4, 2, 2],
        ),  # the unseen row is as random as ever, but the same for all
        ("features.shop_id.oov_buckets=2", [1, 3, 1, 0, 2], [1, 2, 4, 3, 16]),
        ("features.shop_id.oov_buckets=2", [1, 0, 1, 0, 2], [1, 4, 4, 4, 16]),
        ("features.shop_id.oov_buckets=2", [1, 0, 0, 0, 2], [1, 3, 3, 3, 16]),
        (
            "features.shop_id={kind: categorical, side: item, hash_buckets: 4}",
            [0, 0, 1, 0, 0],
            [1, 2, 4, 8, 16],
        ),
    ],
)
def test_cold_rows_by_hand(setting: str, updates: list[float], expected: list[float]) -> None:
    settings = (
        [setting, "features.history={kind: list, side: user, vocabulary: {}}"]
        if "hash_buckets" in setting
        else [setting]
    )
    learner = cold_learner([1, 2, 4, 8, 16], [float(count) for count in updates])
    fill_cold_rows(learner, variant(*settings))
    np.testing.assert_array_equal(learner.tables[0].numpy()[:, 0], expected)


def test_an_update_too_small_for_the_accumulator_is_counted_and_none_is_not() -> None:
    table = tf.Variable(tf.zeros([4, 2]))
    optimizer = RowWiseAdagrad([table], 0.1, count_updates=True)
    gradient = tf.IndexedSlices(
        tf.constant([[1e-6, 0.0], [1e-6, 0.0], [0.0, 0.0]]), tf.constant([1, 1, 3])
    )
    optimizer.apply([gradient], [table])
    optimizer.apply([gradient], [table])
    np.testing.assert_array_equal(optimizer.accumulators[0], np.full(4, 0.01, np.float32))
    np.testing.assert_array_equal(optimizer.updates[0], [0, 2, 0, 0])
    assert RowWiseAdagrad([table], 0.1).updates == []


class PowerCutError(Exception):
    """What stands for a power cut."""


def test_interrupted_and_resumed_equals_undisturbed(
    trained: Trained, job_copied: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut after the pass and before the backbone's own files, then in the second part, then left
    to end; no epoch is trained again.
    """
    job, learn, calls = job_copied, module._learn, []
    for name in ("model.keras", "history.json", "fingerprint.json"):
        (job.backbone / name).unlink()
    (job.backbone / ".aside-killed").mkdir()

    def learn_or_fail(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise PowerCutError
        learn(*arguments)

    def fail(*_: Any) -> None:
        raise PowerCutError

    monkeypatch.setattr(pretraining._Run, "_train_epoch", fail)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_learn", learn_or_fail)
        with pytest.raises(PowerCutError):
            pretrain(trained.experiment, trained.data, job)
    assert not (job.backbone / "taps").exists()
    assert not job.finished
    pretrain(trained.experiment, trained.data, job)
    assert job.fingerprint() == trained.job.fingerprint()
    for name in (*(f"{head}.npy" for head in STORED), "window.json"):
        assert (job.backbone / "taps" / name).read_bytes() == (
            trained.job.backbone / "taps" / name
        ).read_bytes()
    assert asides(job.backbone) == set()


def before_digests(job: Job) -> None:
    """Makes taps as they were stored before their digests were."""
    change_json(job.backbone / "taps" / "window.json", lambda about: about.pop("taps") and None)


def kernel_of_all(job: Job) -> dict[str, npt.NDArray[Any]]:
    return KernelStore(job).load("all", 1).weights


def test_kernels_train_on_what_is_stored(
    trained: Trained, job_copied: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Validation is made to have no say, so that the last kernel is kept."""
    monkeypatch.setattr(kernel_training, "mean_auc", lambda *_: None)
    other = Job(Path(shutil.copytree(trained.job.folder, tmp_path / "other")))
    path = other.backbone / "taps" / f"{trained.experiment.kernel.tap.partition('+')[0]}.npy"
    np.save(path, np.load(path)[::-1])
    with pytest.raises(InputError, match=f"{path.name}: damaged"):
        tuning.finetune(trained.experiment, trained.data, other, ["all"])
    before_digests(other)
    for job in (job_copied, other):
        tuning.finetune(trained.experiment, trained.data, job, ["all"])
    assert KernelStore(job_copied).load("all", 1).shape == KernelStore(other).load("all", 1).shape
    assert (kernel_of_all(job_copied)["weight_0"] != kernel_of_all(other)["weight_0"]).any()


def rows_of(
    job: Job, trained: Trained, opened: Dataset, backbone: keras.Model, *settings: str
) -> BackboneOutputs:
    experiment = variant(*PROGRESSIVE, *settings)
    return window_rows(job, experiment, backbone, opened, experiment.kernel.tap, "window")


def test_another_split_is_refused(trained: Trained, opened: Dataset, backbone: keras.Model) -> None:
    with pytest.raises(
        InputError, match="left taps of split 'finetune' alone, received 'later'"
    ) as error:
        rows_of(
            trained.job,
            trained,
            opened,
            backbone,
            "splits.later={start: 2025-03-06T03:00:00Z, end: 2025-03-07T03:00:00Z}",
            "finetune.split=later",
        )
    one_line(error)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [("backbone", "0" * 64, "taps of another backbone"), ("files", {}, "taps of other rows")],
)
def test_taps_of_something_else_are_refused(
    key: str,
    value: Any,
    message: str,
    trained: Trained,
    job_copied: Job,
    opened: Dataset,
    backbone: keras.Model,
) -> None:
    change_json(
        job_copied.backbone / "taps" / "window.json", lambda about: about.update({key: value})
    )
    with pytest.raises(InputError, match=message) as error:
        rows_of(job_copied, trained, opened, backbone)
    one_line(error)


def test_damaged_and_missing_taps_are_refused(
    trained: Trained, job_copied: Job, opened: Dataset, backbone: keras.Model
) -> None:
    """A forward pass in their place would be in-sample."""
    folder = job_copied.backbone / "taps"
    np.save(folder / "tower.npy", np.load(folder / "tower.npy")[1:])
    with pytest.raises(InputError, match=r"tower\.npy: damaged") as error:
        rows_of(job_copied, trained, opened, backbone)
    one_line(error)
    before_digests(job_copied)
    with pytest.raises(
        InputError, match=r"tower\.npy: expected float32 .*, received float32"
    ) as error:
        rows_of(job_copied, trained, opened, backbone)
    one_line(error)
    (folder / "tower.npy").write_bytes(b"no array")
    with pytest.raises(InputError, match=r"tower\.npy: not a stored tap") as error:
        rows_of(job_copied, trained, opened, backbone)
    one_line(error)
    shutil.rmtree(folder)
    with pytest.raises(InputError, match=r"window\.json: not found") as error:
        rows_of(job_copied, trained, opened, backbone)
    one_line(error)


def test_a_job_of_another_pass_is_refused(trained: Trained) -> None:
    with pytest.raises(InputError, match=r"other settings: pretrain\.progressive_parts \("):
        pretrain(variant(*PROGRESSIVE, "pretrain.progressive_parts=3"), trained.data, trained.job)


def test_a_window_before_the_end_of_pre_training_is_refused() -> None:
    early = "splits.finetune={start: 2025-03-05T03:00:00Z, end: 2025-03-07T03:00:00Z}"
    assert variant(early).fitted_on == ("pretrain",)
    with pytest.raises(
        InputError, match=r"learns in order of time; splits\.finetune begins at 2025-03-05"
    ) as error:
        variant(early, *PROGRESSIVE)
    assert "before splits.pretrain ends at 2025-03-06" in str(error.value)


def test_without_the_pass_everything_is_as_before(
    experiment: Experiment,
    job_dir: Path,
    dataset: Dataset,
    frozen: keras.Model,
    window: BackboneOutputs,
) -> None:
    assert not (job_dir / "backbone" / "taps").exists()
    tap = experiment.kernel.tap
    rows = window_rows(Job(job_dir), experiment, frozen, dataset, tap, "window")
    np.testing.assert_array_equal(rows.taps, window.taps)
    assert KernelShape.of(experiment.kernel, rows.taps.shape[-1]).tap == tap
    assert experiment.fitted_on == ("pretrain",)
    assert experiment.data_digest != variant(*PROGRESSIVE).data_digest
    assert variant("pretrain.progressive_parts=3").data_digest == experiment.data_digest


def test_a_job_from_before_there_was_a_pass_is_still_known(
    experiment: Experiment, dataset_dir: Path, job_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def older(content: Any) -> None:
        for key in ("progressive", "progressive_parts"):
            del content["pretrain"][key]

    change_json(job_copy / "backbone" / "experiment.json", older)
    as_before_lists(Job(job_copy))
    pretrain(experiment, dataset_dir, Job(job_copy))
    assert "finished already" in capsys.readouterr().err


def test_rows_learned_after_the_best_weights_count_as_unseen(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights go back to the best validation, here the first; what was learned after it is
    forgotten, and so are its counts.
    """
    experiment = variant(
        *PROGRESSIVE, "pretrain.epochs=2", "pretrain.validations_per_epoch=1", "pretrain.patience=9"
    )
    scores = iter((2.0, 1.0))
    monkeypatch.setattr(pretraining, "monitored", lambda *_: next(scores))
    run = pretraining._Run(experiment, Dataset.open(data, experiment), Job(tmp_path / "job"))
    counted: list[float] = []
    validate = run._validate

    def validate_and_count() -> None:
        validate()
        counted.append(sum(float(tf.reduce_sum(count)) for count in run.learner.adagrad.updates))

    monkeypatch.setattr(run, "_validate", validate_and_count)
    run.train()
    assert counted[0] < counted[1]
    assert sum(float(tf.reduce_sum(count)) for count in run.learner.adagrad.updates) == counted[0]
