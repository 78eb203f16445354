"""Pre-training: the same weights however often it is interrupted, the best ones when it stops,
and one job directory for one experiment.
"""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from configs import Experiment, InputError
from configs.files import write_json
from preprocessing.features.transform import transform_outputs
from tests.conftest import QUICKSTART, ROOT, SMALL
from tests.trainer.conftest import change_json, one_line, variant
from trainer.backbone.frozen_pass import run_frozen
from trainer.backbone.model import build_backbone
from trainer.backbone.saving import load_frozen
from trainer.data.dataset import Dataset
from trainer.evaluation.validation import monitored
from trainer.job import Job
from trainer.training import checkpoints
from trainer.training import pretrain as module
from trainer.training.checkpoints import Checkpoints
from trainer.training.claim import claim, given_back
from trainer.training.pretrain import pretrain

FINGERPRINT = "fingerprint.json"


class PowerCutError(Exception):
    """What stands for a power cut inside the process."""


def after(calls: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which fails before it is called for the ``calls + 1``-th time."""
    count = 0

    def wrapped(*arguments: Any, **settings: Any) -> Any:
        nonlocal count
        count += 1
        if count > calls:
            raise PowerCutError
        return function(*arguments, **settings)

    return wrapped


def assert_equal_backbones(first: Path, second: Path) -> None:
    for name in (FINGERPRINT, "history.json"):
        assert json.loads((first / "backbone" / name).read_text()) == json.loads(
            (second / "backbone" / name).read_text()
        )


def cut_short(
    experiment: Experiment,
    data: Path,
    job: Job,
    name: str,
    calls: int,
    teacher: Job | None = None,
) -> None:
    """Pre-training that ends where something in its module (or run) is to be called for the
    ``calls + 1``-th time.
    """
    owner = module._Run if hasattr(module._Run, name) else module
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, after(calls, getattr(owner, name)))
        with pytest.raises(PowerCutError):
            pretrain(experiment, data, job, teacher)
    assert not job.finished
    with pytest.raises(InputError, match="not found"):
        load_frozen(job, experiment)


def test_the_same_seed_gives_the_same_backbone(
    experiment: Experiment, dataset_dir: Path, job_dir: Path, tmp_path: Path
) -> None:
    pretrain(experiment, dataset_dir, Job(tmp_path / "job"))
    assert_equal_backbones(tmp_path / "job", job_dir)


def test_interrupted_and_resumed_equals_undisturbed_bit_by_bit(
    experiment: Experiment,
    dataset_dir: Path,
    job_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ten steps an epoch, a checkpoint every three, a validation every five: steps 13 to 15 are
    lost and trained again.
    """
    job = Job(tmp_path / "job")
    cut_short(experiment, dataset_dir, job, "run_frozen", calls=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            module, "run_frozen", after(2, run_frozen)
        )  # only the third and fourth validation are left to do
        pretrain(experiment, dataset_dir, job)
    assert "resuming after step 12" in capsys.readouterr().err
    assert_equal_backbones(job.folder, job_dir)


def test_interrupted_just_before_the_end_equals_undisturbed(
    experiment: Experiment, dataset_dir: Path, job_dir: Path, tmp_path: Path
) -> None:
    job = Job(tmp_path / "job")
    cut_short(experiment, dataset_dir, job, "job_fingerprint", calls=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            module._Run, "_train_epoch", after(0, module._Run._train_epoch)
        )  # nothing is left to train
        pretrain(experiment, dataset_dir, job)
    assert_equal_backbones(job.folder, job_dir)


def test_a_checkpoint_of_another_program_is_refused_in_one_line(
    experiment: Experiment, dataset_dir: Path, tmp_path: Path
) -> None:
    job = Job(tmp_path / "job")
    cut_short(experiment, dataset_dir, job, "run_frozen", calls=1)
    other = tf.train.Checkpoint(weights=[tf.Variable(1.0)])
    tf.train.CheckpointManager(other, str(job.checkpoints / "latest"), max_to_keep=1).save(99)
    with pytest.raises(
        InputError,
        match=r"ckpt-99: of another version of this program; remove .*checkpoints to train anew",
    ) as error:
        pretrain(experiment, dataset_dir, job)
    one_line(error)


def test_a_checkpoint_of_the_program_that_drew_other_numbers_is_refused_in_one_line(
    experiment: Experiment, dataset_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its place in an epoch is one in another order of rows: rows would be learned twice, others
    never. The state is as that program wrote it, without the version of the streams.
    """
    job = Job(tmp_path / "job")
    older = {
        "epoch": 0,
        "step": 6,
        "total_steps": 6,
        "best": 0.6,
        "best_step": 5,
        "bad": 0,
        "loss_sum": 1.5,
        "loss_count": 1,
        "stopped": False,
        "history": [],
    }
    monkeypatch.setattr(checkpoints, "asdict", lambda _: older)
    cut_short(experiment, dataset_dir, job, "run_frozen", calls=1)
    with pytest.raises(
        InputError,
        match=r"ckpt-\d+: of another version of this program; remove .*checkpoints to train anew",
    ) as error:
        pretrain(experiment, dataset_dir, job)
    one_line(error)
    shutil.rmtree(job.checkpoints)  # what the message says
    monkeypatch.undo()
    pretrain(experiment, dataset_dir, job)
    assert job.finished


def test_a_checkpoint_says_in_which_streams_it_is_a_place(
    experiment: Experiment, dataset_dir: Path, tmp_path: Path
) -> None:
    job = Job(tmp_path / "job")
    cut_short(experiment, dataset_dir, job, "run_frozen", calls=1)
    reader = tf.train.load_checkpoint(str(job.checkpoints / "latest"))
    state = json.loads(reader.get_tensor("state/.ATTRIBUTES/VARIABLE_VALUE"))
    assert state["streams"] == 1
    assert state["stopping"].keys() == {"patience", "best", "when", "waited"}
    assert state["stopping"]["patience"] == experiment.pretrain.patience
    assert state["stopping"]["when"] == 5


KILLED = """
import os, signal, sys
from pathlib import Path
import trainer
import tensorflow as tf
from configs import load_experiment
from trainer.training import pretrain
from trainer.job import Job

save, done = pretrain._Run._checkpoint, []

def save_or_die(run):
    if len(done) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    save(run)
    done.append(run.state.total_steps)

pretrain._Run._checkpoint = save_or_die
tf.config.experimental.enable_op_determinism()
config, data, job, *overrides = sys.argv[1:]
pretrain.pretrain(load_experiment(config, overrides), Path(data), Job(Path(job)))
"""


def test_killed_and_resumed_equals_undisturbed(
    experiment: Experiment, dataset_dir: Path, job_dir: Path, tmp_path: Path
) -> None:
    job = Job(tmp_path / "job")
    command = [
        sys.executable,
        "-c",
        KILLED,
        str(QUICKSTART),
        str(dataset_dir),
        str(job.folder),
        *SMALL,
    ]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert list(job.checkpoints.rglob("*.index"))
    pretrain(experiment, dataset_dir, job)
    assert_equal_backbones(job.folder, job_dir)


def test_a_finished_job_is_left_alone(
    experiment: Experiment,
    dataset_dir: Path,
    job_dir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_Run", after(0, module._Run))
    before = {path: path.stat().st_mtime_ns for path in (job_dir / "backbone").rglob("*")}
    pretrain(experiment, dataset_dir, Job(job_dir))
    assert {path: path.stat().st_mtime_ns for path in (job_dir / "backbone").rglob("*")} == before
    assert "finished already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "there"),
    [
        ("seed=18", "17"),
        ("backbone.experts=3", "2"),
        ("pretrain.epochs=3", "2"),
        ("tasks.ctr.loss_weight=0.5", "1.0"),
        ("features.shop_id.id_dropout=0.3", "0.1"),
    ],
)
def test_a_job_of_other_settings_is_refused(
    setting: str, there: str, dataset_dir: Path, job_dir: Path
) -> None:
    with pytest.raises(InputError) as error:
        pretrain(variant(setting), dataset_dir, Job(job_dir))
    name, _, ours = setting.partition("=")
    said = f"holds a backbone of other settings: {name} ({there}, received {ours});"
    assert said in one_line(error)


def test_the_order_of_tasks_is_that_of_the_towers(dataset_dir: Path, tmp_path: Path) -> None:
    dataset, job = Dataset.open(dataset_dir, variant()), Job(tmp_path / "job")
    tasks = ["ctr: {label: click}", "buy: {label: conversion}"]
    first, turned = (
        variant(f"tasks={{{', '.join(order)}}}", "score=ctr") for order in (tasks, tasks[::-1])
    )
    claim(job, first, dataset, None)
    claim(job, first, dataset, None)
    with pytest.raises(InputError, match="other settings: the order of tasks;") as error:
        claim(job, turned, dataset, None)
    one_line(error)


def test_a_job_that_could_not_be_resumed_is_not_begun(dataset_dir: Path, tmp_path: Path) -> None:
    """TensorFlow takes the paths of checkpoints for patterns."""
    with pytest.raises(InputError, match=r"job\[1\]: expected a folder without") as error:
        pretrain(variant(), dataset_dir, Job(tmp_path / "job[1]"))
    one_line(error)
    assert not (tmp_path / "job[1]").exists()


def test_settings_of_later_steps_do_not_need_another_backbone(
    dataset_dir: Path, job_dir: Path
) -> None:
    pretrain(
        variant("finetune.epochs=1", "kernel.width=3", "evaluation.bootstrap=7"),
        dataset_dir,
        Job(job_dir),
    )


def other_rows(dataset_dir: Path, folder: Path) -> Path:
    """A sound dataset of the same features, whose labels of one file are another's."""
    data = shutil.copytree(dataset_dir, folder)

    def swap(content: dict[str, Any]) -> None:
        first, second = content["splits"]["pretrain"]["files"][:2]
        for key in ("sha256", "rows", "path"):
            first[key], second[key] = second[key], first[key]

    change_json(data / "manifest.json", swap)
    return data


def test_a_finished_job_of_other_rows_is_refused(
    experiment: Experiment, dataset_dir: Path, job_dir: Path, tmp_path: Path
) -> None:
    data = other_rows(dataset_dir, tmp_path / "data")
    with pytest.raises(InputError, match="backbone of other rows than split 'pretrain'") as error:
        pretrain(experiment, data, Job(job_dir))
    one_line(error)


def test_an_interrupted_job_is_not_resumed_over_other_rows(
    experiment: Experiment, dataset_dir: Path, tmp_path: Path
) -> None:
    job = Job(tmp_path / "job")
    cut_short(experiment, dataset_dir, job, "run_frozen", calls=2)
    data = other_rows(dataset_dir, tmp_path / "data")
    with pytest.raises(InputError, match="backbone of other rows than split 'pretrain'") as error:
        pretrain(experiment, data, job)
    one_line(error)
    write_json(job.backbone / "experiment.json", job.raw_experiment() | {"name": "other"})
    with pytest.raises(InputError, match=r"experiment\.json: damaged") as error:
        pretrain(experiment, dataset_dir, job)
    one_line(error)
    (job.backbone / "experiment.json").unlink()
    with pytest.raises(InputError, match=r"experiment\.json: missing") as error:
        pretrain(experiment, dataset_dir, job)
    one_line(error)


CHECKPOINT_DAMAGE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "best gone": ("best", lambda folder: shutil.rmtree(folder)),
    "best unnamed": ("best", lambda folder: (folder / "checkpoint").unlink()),
    "best misnamed": ("best", lambda folder: (folder / "checkpoint").write_text("ckpt")),
    "best index cut": ("best", lambda folder: cut(next(folder.glob("*.index")))),
    "best data cut": ("best", lambda folder: cut(next(folder.glob("*.data*")))),
    "best data flipped": ("best", lambda folder: flip(next(folder.glob("*.data*")))),
    "latest misnamed": ("latest", lambda folder: (folder / "checkpoint").write_text("ckpt")),
    "latest index gone": ("latest", lambda folder: next(folder.glob("*.index")).unlink()),
    "latest index cut": ("latest", lambda folder: cut(next(folder.glob("*.index")))),
    "latest index flipped": ("latest", lambda folder: flip(next(folder.glob("*.index")))),
    "latest data flipped": ("latest", lambda folder: flip(next(folder.glob("*.data*")))),
}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 8
    path.write_bytes(content)


@pytest.fixture(scope="module")
def almost(dataset_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Experiment, Path]:
    """A job whose best weights are not its last, killed right before it restores them."""
    experiment = variant("pretrain.epochs=2", "pretrain.validations_per_epoch=1")
    folder = tmp_path_factory.mktemp("almost") / "job"
    aucs = iter([0.7, 0.6])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            module,
            "validation_figures",
            lambda *_: {"loss": 1.0} | dict.fromkeys(("ctr_auc", "ctcvr_auc"), next(aucs)),
        )
        patch.setattr(Checkpoints, "restore_best", after(0, Checkpoints.restore_best))
        with pytest.raises(PowerCutError):
            pretrain(experiment, dataset_dir, Job(folder))
    return experiment, folder


@pytest.mark.parametrize(("which", "damage"), CHECKPOINT_DAMAGE.values(), ids=CHECKPOINT_DAMAGE)
def test_a_damaged_checkpoint_is_named_and_nothing_is_published(
    which: str,
    damage: Callable[[Path], object],
    almost: tuple[Experiment, Path],
    dataset_dir: Path,
    tmp_path: Path,
) -> None:
    experiment, folder = almost
    job = Job(shutil.copytree(folder, tmp_path / "job"))
    damage(job.checkpoints / which)
    with pytest.raises(InputError, match=f"checkpoints/{which}") as error:
        pretrain(experiment, dataset_dir, job)
    assert "to train anew" in one_line(error)
    assert not job.finished


def test_what_tensorflow_leaves_of_a_killed_save_is_removed(
    almost: tuple[Experiment, Path], dataset_dir: Path, tmp_path: Path
) -> None:
    experiment, folder = almost
    job = Job(shutil.copytree(folder, tmp_path / "job"))
    (job.checkpoints / "best" / "ckpt-99_temp").mkdir()
    (job.checkpoints / "latest" / "checkpoint.tmp0a1b").write_text("half")
    pretrain(experiment, dataset_dir, job)
    left = {path.name for path in job.checkpoints.rglob("*")}
    assert not {name for name in left if "tmp" in name or "_temp" in name}


def test_a_job_of_another_dataset_is_refused(
    experiment: Experiment, other_dataset_dir: Path, job_dir: Path
) -> None:
    with pytest.raises(InputError, match="holds a backbone of another dataset") as error:
        pretrain(experiment, other_dataset_dir, Job(job_dir))
    one_line(error)


def test_early_stopping_keeps_the_best_weights(
    dataset_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Validation is made to like the first epoch best, then to go down; with patience 2 the
    third epoch is the last.
    """
    experiment = variant(
        "pretrain.epochs=6",
        "pretrain.validations_per_epoch=1",
        "pretrain.patience=2",
        "pretrain.batch_size=2048",
    )
    aucs, seen = iter([0.7, 0.6, 0.65, 0.9]), []

    def remember(model: keras.Model, *arguments: Any, **settings: Any) -> Any:
        seen.append([weight.numpy() for weight in model.weights])
        return run_frozen(model, *arguments, **settings)

    def figures(*_: Any) -> dict[str, float]:
        auc = next(aucs)
        return {"loss": 1.0, "ctr_auc": auc, "ctcvr_auc": auc}

    monkeypatch.setattr(module, "run_frozen", remember)
    monkeypatch.setattr(module, "validation_figures", figures)
    job = Job(tmp_path / "job")
    pretrain(experiment, dataset_dir, job)
    history = json.loads((job.backbone / "history.json").read_text())
    assert [entry["validation"]["ctr_auc"] for entry in history] == [0.7, 0.6, 0.65]
    assert [entry["epoch"] for entry in history] == [1, 2, 3]
    kept = [weight.numpy() for weight in load_frozen(job, experiment).weights]
    np.testing.assert_equal(kept, seen[0])
    assert any((first != last).any() for first, last in zip(seen[0], seen[2], strict=True))
    rising = "note: validation was best at the last of 2 epochs; more may bring more"
    assert rising not in capsys.readouterr().err
    aucs = iter([0.6, 0.7])
    short = experiment.pretrain.model_copy(update={"epochs": 2})
    pretrain(experiment.model_copy(update={"pretrain": short}), dataset_dir, Job(tmp_path / "two"))
    assert rising in capsys.readouterr().err


@pytest.mark.parametrize(
    ("figures", "monitor", "expected"),
    [
        ({"loss": 0.4, "ctr_auc": 0.6, "ctcvr_auc": 0.7}, "auc", 0.65),
        ({"loss": 0.4, "ctr_auc": 0.6, "ctcvr_auc": None}, "auc", 0.6),
        ({"loss": 0.4, "ctr_auc": None, "ctcvr_auc": None}, "auc", -0.4),
        ({"loss": 0.4, "ctr_auc": 0.6, "ctcvr_auc": 0.7}, "loss", -0.4),
    ],
)
def test_what_early_stopping_maximises(
    figures: dict[str, float | None], monitor: str, expected: float
) -> None:
    assert monitored(figures, monitor) == pytest.approx(expected)


def test_training_moves_every_weight_and_learns(
    experiment: Experiment, dataset: Dataset, job_dir: Path
) -> None:
    """Also the position tower's: its logit is part of the training loss."""
    fresh = build_backbone(experiment, transform_outputs(experiment, dataset.fitted))
    trained = keras.saving.load_model(job_dir / "backbone" / "model.keras")
    for before, after_ in zip(fresh.trainable_weights, trained.trainable_weights, strict=True):
        assert before.path == after_.path
        assert (before.numpy() != after_.numpy()).any(), before.path
    history = json.loads((job_dir / "backbone" / "history.json").read_text())
    assert [entry["step"] for entry in history] == [5, 10, 15, 20]
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert max(entry["validation"]["ctr_auc"] for entry in history) > 0.55


def test_progress_is_logged_for_tensorboard(job_dir: Path) -> None:
    assert list((job_dir / "tensorboard" / "pretrain").glob("events.out.tfevents.*"))


@pytest.mark.parametrize("name", ["profile.json", "golden_requests.jsonl"])
def test_what_a_job_keeps_of_a_damaged_dataset_is_missed_before_any_training(
    experiment: Experiment,
    dataset_dir: Path,
    tmp_path: Path,
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = Path(shutil.copytree(dataset_dir, tmp_path / "data"))
    (data / name).unlink()
    with pytest.raises(InputError, match=name):
        pretrain(experiment, data, Job(tmp_path / "job"))
    assert "pretrain 1/" not in capsys.readouterr().err


def test_a_loss_that_is_no_number_is_one_line(dataset_dir: Path, tmp_path: Path) -> None:
    experiment = variant("pretrain.learning_rate=1e6", "pretrain.embedding_learning_rate=1e6")
    with pytest.raises(InputError, match=r"lower pretrain\.learning_rate") as error:
        pretrain(experiment, dataset_dir, Job(tmp_path / "job"))
    one_line(error)


def test_a_job_in_which_nothing_was_trained_is_free_for_mended_settings(
    experiment: Experiment, dataset_dir: Path, job_dir: Path, tmp_path: Path
) -> None:
    """What is refused before the first checkpoint leaves no claim; a claim that was there stays."""
    data = Path(shutil.copytree(dataset_dir, tmp_path / "data"))
    (data / "profile.json").unlink()
    other, job = variant("pretrain.learning_rate=0.5"), Job(tmp_path / "job")
    with pytest.raises(InputError, match=r"profile\.json"):
        pretrain(other, data, job)
    job.golden.write_text("requests of another log")
    cut_short(experiment, dataset_dir, job, "_train_epoch", calls=0)
    with pytest.raises(InputError, match="holds a backbone of other settings"):
        pretrain(other, dataset_dir, job)
    joined = job.backbone / "experiment.json"
    with pytest.raises(InputError, match="of one run"), given_back(job, claimed=True):
        cut_short(experiment, dataset_dir, job, "_train_epoch", calls=0)  # another run meanwhile
        raise InputError("of one run")
    assert joined.exists()
    pretrain(experiment, dataset_dir, job)
    assert_equal_backbones(job.folder, job_dir)
    assert job.golden.read_bytes() == Job(job_dir).golden.read_bytes()
