"""A backbone that goes on: what it takes over, what it refuses, and what is known of it."""

import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from configs import Experiment, InputError
from configs.domain_names import folder_name
from configs.memory import Memory
from configs.training import Routing
from preprocessing.dataset.manifest import load_manifest
from preprocessing.features.fitted import Fitted
from preprocessing.features.output_spec import transform_outputs
from serving.export.export_manifest import Record
from serving.export.version_writer import export
from serving.in_process.model import LocalModel
from tests.trainer.ancestry.conftest import grow, later
from tests.trainer.conftest import one_line, variant
from trainer.ancestry import weights
from trainer.ancestry.ancestor import Ancestor, inherited_kernels
from trainer.ancestry.weights import carry_over, read_before
from trainer.backbone.model import build_backbone
from trainer.backbone.saving import load_backbone
from trainer.data.dataset import Dataset
from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.provenance import seen_by_backbone
from trainer.job import Job
from trainer.kernels.kernel import KernelShape
from trainer.memory.counts import Counts, KeyCounts
from trainer.memory.memory_store import MemoryStore
from trainer.prerequisites import check_older
from trainer.registry.kernel_registry import KernelStore
from trainer.reports.html_report import write_report
from trainer.training.checkpoints import Checkpoints, RunState
from trainer.training.finetune import finetune
from trainer.training.pretrain import pretrain

REMEMBERED = Memory(keys={"user": ("user_id",)})


def table(model: keras.Model, name: str) -> np.ndarray:
    found: np.ndarray = model.get_layer(f"embedding_{name}").table.numpy()
    return found


@pytest.fixture(scope="module")
def begun(grown_dir: Path, job_dir: Path) -> tuple[keras.Model, weights.Carried]:
    """The backbone before its first step."""
    dataset = Dataset.open(grown_dir, later())
    model = build_backbone(later(), transform_outputs(later(), dataset.fitted))
    carried = carry_over(model, later(), dataset, Ancestor.open(Job(job_dir)))
    return model, carried


def test_old_values_keep_ids_and_vectors_and_new_ones_begin_as_they_were_read(
    begun: tuple[keras.Model, weights.Carried], grown_dir: Path, job_dir: Path
) -> None:
    model, carried = begun
    older = load_backbone(Job(job_dir), later())
    old, new = Job(job_dir).fitted(), Fitted.load(str(grown_dir / "transform"))
    assert new.grown_from == old.digest
    assert (new.moments, new.boundaries) == (old.moments, old.boundaries)
    for name, values in old.vocabularies.items():
        first = later().features[name].shared_ids
        before, after = table(older, name), table(model, name)
        assert list(new.vocabularies[name][: len(values)]) == list(values)
        assert after[: first + len(values)].tobytes() == before.tobytes()
        extra = after[first + len(values) :]
        assert carried.new[name] == len(extra)
        assert extra.tobytes() == np.repeat(before[1:2], len(extra), axis=0).tobytes()
    assert carried.new["user_id"] >= 5
    assert carried.new["shop_id"] >= 5
    assert carried.furthest <= weights.TOLERANCE
    assert (carried.requests, carried.left_out) == (64, 0)
    assert carried.rows > 100
    manifest = load_manifest(grown_dir)
    assert manifest.grown
    assert manifest.grown.transform_digest == old.digest
    assert manifest.grown.features["shop_id"].entered == carried.new["shop_id"]


def test_scores_of_another_backbone_stop_it(
    grown_dir: Path, job_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check is of whole scores: what copies rows wrongly is noticed."""
    dataset = Dataset.open(grown_dir, later())
    model = build_backbone(later(), transform_outputs(later(), dataset.fitted))
    copy = weights.copy_rows
    monkeypatch.setattr(weights, "copy_rows", lambda to, of, rows: copy(to, of, rows[::-1].copy()))
    with pytest.raises(InputError) as error:
        carry_over(model, later(), dataset, Ancestor.open(Job(job_dir)))
    assert "before the first step a score is" in one_line(error)


def test_ids_or_scores_that_are_others_stop_it(
    grown_dir: Path, job_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are copied and compared by one mapping of ids, which golden requests hold by raw values;
    and what is no number is no small distance.
    """
    dataset, ancestor = Dataset.open(grown_dir, later()), Ancestor.open(Job(job_dir))
    model = build_backbone(later(), transform_outputs(later(), dataset.fitted))

    def turned(*arguments: Any) -> dict[str, Any]:
        found = read_before(*arguments)
        return found | {"user_id": np.roll(found["user_id"], 1)}

    with monkeypatch.context() as patch:
        patch.setattr(weights, "read_before", turned)
        with pytest.raises(InputError) as error:
            carry_over(model, later(), dataset, ancestor)
        assert "reads values of features.user_id as other ids" in one_line(error)
    distances = iter([0.0, float("nan")])
    monkeypatch.setattr(weights, "_distance", lambda *_: next(distances))
    with pytest.raises(InputError, match="before the first step a score is nan"):
        carry_over(model, later(), dataset, ancestor)


def test_what_of_the_older_job_stays_there_is_named(
    job_dir: Path, grown_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    older = Job(shutil.copytree(job_dir, tmp_path / "older"))
    store = KernelStore(older)
    store.pin("scene=home")
    older.choose_routing(Routing(compose=0.5))
    name, version = next(iter(store.active().items()))
    arrays = older.folder / "kernels" / folder_name(name) / str(version) / "weights.npz"
    arrays.write_bytes(arrays.read_bytes()[:-1])
    ancestor = Ancestor.open(older)
    said = capsys.readouterr().err
    assert len(ancestor.kernels) == len(store.active()) - 1
    assert "warning: no kernel starts from that of" in said
    ancestor.check_carries(later(), Dataset.open(grown_dir, later()))
    ancestor.say_left()
    assert "pins of scene=home, the chosen routing" in capsys.readouterr().err


def test_a_finished_job_needs_no_older_one(
    onward_job: Job, grown_dir: Path, job_dir: Path, tmp_path: Path
) -> None:
    before = onward_job.fingerprint()
    pretrain(later(), grown_dir, onward_job, older=Job(tmp_path / "deleted"))
    assert onward_job.fingerprint() == before
    copy = Job(shutil.copytree(job_dir, tmp_path / "anew"))
    with pytest.raises(InputError):
        pretrain(later(), grown_dir, copy, older=Job(tmp_path / "deleted"))


def test_a_value_that_left_gives_its_place_and_others_stay(
    new_logs: Path, grown_dir: Path, onward_job: Job, tmp_path: Path
) -> None:
    """Grown once more from the job that has gone on, with vocabularies that are full."""
    forgetful = later("growth.forget_days=0.5")
    data = grow(forgetful, new_logs, tmp_path / "data", onward_job.folder)
    before, after = onward_job.fitted(), Fitted.load(str(data / "transform"))
    assert after.grown_from == before.digest
    assert {n: list(v) for n, v in after.vocabularies.items()} == {
        n: list(v) for n, v in before.vocabularies.items()
    }  # the same days bring no value
    for name, seconds in before.unseen.items():
        assert after.unseen[name] == seconds  # nor are they counted twice
    numbers = read_before(forgetful, before, after)
    assert all((found == np.arange(len(found))).all() for found in numbers.values())
    name = "user_id"
    (place,) = np.flatnonzero(before.unseen[name].to_numpy() > 0)[:1]
    changed = list(after.vocabularies[name])
    changed[place] = "somebody else"
    replaced = Fitted(
        **{**vars(after), "vocabularies": {**after.vocabularies, name: tuple(changed)}}
    )
    found = read_before(forgetful, before, replaced)[name]
    expected = np.arange(len(found))
    expected[2 + place] = 1
    assert (found == expected).all()


def test_it_says_where_it_comes_from_and_what_it_has_seen(
    onward_job: Job, job_dir: Path, grown_dir: Path, experiment: Experiment
) -> None:
    record, older = onward_job.ancestor(), Job(job_dir)
    assert record
    assert record["backbone"] == older.fingerprint()["fingerprint"]
    assert record["ancestors"] == [record["backbone"]]
    assert [split.model_dump() for split in onward_job.learned_before()] == [
        experiment.splits["pretrain"].model_dump()
    ]
    trained = onward_job.experiment()
    assert trained.pretrain.epochs == trained.growth.epochs == 1
    assert trained.pretrain.learning_rate == 0.25 * experiment.pretrain.learning_rate
    learned = experiment.splits["pretrain"]
    assert seen_by_backbone(trained, learned) == ()
    assert seen_by_backbone(trained, learned, onward_job.learned_before()) == ("train",)
    assert older.ancestor() is None
    assert onward_job.fitted().digest == load_manifest(grown_dir).transform_digest


def test_its_export_is_loaded_by_a_server(onward_job: Job, tmp_path: Path) -> None:
    version = export(Job(onward_job.folder), tmp_path / "models")
    origin = onward_job.ancestor()
    assert origin and list(Record.load(version).ancestors) == origin["ancestors"] != []
    with LocalModel(tmp_path / "models") as model:
        assert model.signatures()


def test_kernels_start_from_the_older_ones_and_reports_name_the_ancestor(
    onward_job: Job,
    job_dir: Path,
    grown_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    job, store = (
        Job(shutil.copytree(onward_job.folder, tmp_path / "job")),
        KernelStore(Job(job_dir)),
    )
    active = store.active()
    shape = store.load(*next(iter(active.items()))).shape
    held = inherited_kernels(job, shape)
    assert held.keys() == active.keys()
    for name, kernel in held.items():
        stored = store.load(name, active[name]).weights
        assert all((kernel[array] == stored[array]).all() for array in shape.variables())
    other = KernelShape(**{**vars(shape), "activation": "tanh"})
    assert inherited_kernels(job, other) == {}
    assert "another shape" in capsys.readouterr().err

    tuned = next(name for name in active if name != "all")
    outcomes = finetune(later("finetune.epochs=1"), grown_dir, job, [tuned])
    assert tuned in {outcome.domain for outcome in outcomes}
    assert tuned not in inherited_kernels(job, shape), "it has one of its own now"
    evaluate(later(), grown_dir, job)
    said = capsys.readouterr().err
    assert f"the backbone went on from {job_dir}" in said
    assert f"went on from {job_dir}" in write_report(job.folder).read_text()


def test_what_cannot_be_carried_over_is_refused_in_one_line(
    onward_job: Job, grown_dir: Path, dataset_dir: Path, job_dir: Path, tmp_path: Path
) -> None:
    def refused(experiment: Experiment, data: Path, older: Path, job: Path, part: str) -> None:
        with pytest.raises(InputError) as error:
            pretrain(experiment, data, Job(job), older=Job(older))
        assert part in one_line(error)
        assert not (job / "backbone" / "experiment.json").exists()

    new = tmp_path / "new"
    experts = "other settings: backbone.experts (2, received 3);"
    refused(later("backbone.experts=3"), grown_dir, job_dir, new, experts)
    both = "and --from is for a backbone that begins with taught ones; leave one of the two out"
    refused(later("pretrain.progressive=true"), grown_dir, job_dir, new, both)
    alien = f"run python -m preprocessing.task with --grow {onward_job.folder}"
    refused(variant(), dataset_dir, onward_job.folder, new, alien)
    refused(later(), grown_dir, tmp_path / "nowhere", new, "no such job")
    with pytest.raises(InputError, match="is the job that is trained"):
        pretrain(later(), grown_dir, Job(new), older=Job(new))
    with pytest.raises(InputError, match="--teacher"):
        pretrain(later(), grown_dir, Job(new), taught=Job(job_dir), older=Job(job_dir))
    with pytest.raises(InputError, match=r"^--teacher: .* went on from .*leave --teacher out"):
        pretrain(later(), grown_dir, onward_job, taught=Job(job_dir))


def killed_at_checkpoint(
    number: int, experiment: Experiment, data: Path, job: Job, older: Job
) -> None:
    """Pre-trains, and ends before (0) or right after a checkpoint."""
    saved: list[object] = []
    save = Checkpoints.save

    def killed(self: Checkpoints, state: RunState) -> None:
        if number:
            save(self, state)
            saved.append(state)
        if len(saved) == number:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoints, "save", killed)
        pretrain(experiment, data, job, older=older)
    assert not job.finished


@pytest.fixture
def moved(job_dir: Path, tmp_path: Path) -> Job:
    """The older job with something that is remembered, at a place that it leaves later."""
    older = Job(shutil.copytree(job_dir, tmp_path / "older"))
    keys = {"user": KeyCounts(np.array([1, 2]), np.ones((2, 4)))}
    MemoryStore(older).add(REMEMBERED, Counts(5, np.ones(4), keys))
    return older


@pytest.mark.parametrize("named", [False, True], ids=["not named", "gone"])
def test_a_killed_run_goes_on_without_the_older_job(
    named: bool,
    onward_job: Job,
    grown_dir: Path,
    moved: Job,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From its first checkpoint on all that it needs is its own: weights, kernels, memory."""
    job, place = Job(tmp_path / "again"), moved.folder
    killed_at_checkpoint(1, later(), grown_dir, job, moved)
    place.rename(tmp_path / "elsewhere")
    check_older(job, moved)
    pretrain(later(), grown_dir, job, older=moved if named else None)
    said = capsys.readouterr().err
    assert f"went on from {place}" in said
    assert ("no finished backbone is there" in said) == named
    assert job.fingerprint() == onward_job.fingerprint()
    assert json.loads((job.backbone / "history.json").read_text()) == json.loads(
        (onward_job.backbone / "history.json").read_text()
    )
    assert job.ancestor_kernels.read_bytes() == onward_job.ancestor_kernels.read_bytes()
    assert MemoryStore(job).served(REMEMBERED).counts.border == 5
    pretrain(later(), grown_dir, job)  # finished
    moved_there = Job(tmp_path / "elsewhere")
    pretrain(later(), grown_dir, job, older=moved_there)


def test_before_the_first_checkpoint_the_older_job_is_asked_for(
    grown_dir: Path, moved: Job, onward_job: Job, tmp_path: Path
) -> None:
    job, place = Job(tmp_path / "again"), moved.folder
    killed_at_checkpoint(0, later(), grown_dir, job, moved)
    with pytest.raises(InputError, match=f"give --from {place}, which it needs up to") as error:
        pretrain(later(), grown_dir, job)
    one_line(error)
    place.rename(tmp_path / "elsewhere")
    with pytest.raises(
        InputError, match=f"^--from: {place}: no such job; .* needs up to its first checkpoint"
    ) as error:
        check_older(job, moved)
    one_line(error)
    with pytest.raises(InputError, match=r"received one that went on from .*; go on with what"):
        pretrain(later(), grown_dir, job, older=onward_job)
    pretrain(later(), grown_dir, job, older=Job(tmp_path / "elsewhere"))
    assert job.fingerprint() == onward_job.fingerprint()


@pytest.mark.parametrize("finished", [False, True], ids=["begun", "finished"])
def test_a_job_that_went_on_goes_on_with_its_own_settings_and_backbone(
    finished: bool, onward_job: Job, grown_dir: Path, job_dir: Path, tmp_path: Path
) -> None:
    job = onward_job
    if not finished:
        job = Job(tmp_path / "begun")
        killed_at_checkpoint(1, later(), grown_dir, job, Job(job_dir))
    for setting, part in {
        "growth.epochs=2": "other settings: growth.epochs (1, received 2); leave",
        "growth.rate=0.5": "other settings: growth.rate (0.25, received 0.5); leave",
        "pretrain.learning_rate=0.02": (
            "other settings: pretrain.learning_rate x growth.rate (0.0025, received 0.005); leave"
        ),
        "pretrain.patience=1": "other settings: pretrain.patience (",
    }.items():
        for older in (None, Job(job_dir)):
            with pytest.raises(InputError) as error:
                pretrain(later(setting), grown_dir, job, older=older)
            assert part in one_line(error)
    pretrain_unchanged = later("pretrain.epochs=7", "growth.forget_days=9")
    if finished:  # neither says how it is trained
        pretrain(pretrain_unchanged, grown_dir, job)
    with pytest.raises(InputError, match=r"received one that went on from .*; go on with what"):
        pretrain(later(), grown_dir, job, older=onward_job_of(onward_job, tmp_path))


def onward_job_of(job: Job, tmp_path: Path) -> Job:
    """Another finished job than that which the others went on from."""
    return Job(shutil.copytree(job.folder, tmp_path / "another"))
