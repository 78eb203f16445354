"""A search with real trials, on a dataset whose test files are gone."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from configs import Experiment, InputError
from tests.conftest import QUICKSTART, SMALL
from tests.trainer.conftest import one_line
from tests.trainer.training.test_pretrain import PowerCutError, after
from trainer.backbone.saving import load_frozen
from trainer.evaluation.validation import monitored
from trainer.job import Job
from trainer.training import pretrain as pretraining
from trainer.training.finetune import finetune
from trainer.tuning import search as module
from trainer.tuning.results import TuneResult, read_result
from trainer.tuning.search import tune
from trainer.tuning.search_space import SearchSpace

EPOCHS = 2
TUNE = (
    "tune={pretrain.learning_rate: {low: 0.003, high: 0.03, log: true},"
    " backbone.crosses: {low: 0, high: 1}}"
)


def space(*settings: str) -> SearchSpace:
    return SearchSpace.of_file(str(QUICKSTART), [*SMALL, TUNE, *settings])


def without_seconds(result: TuneResult) -> dict[str, Any]:
    shown = result.model_dump(mode="json")
    return shown | {"trials": [trial | {"seconds": 0} for trial in shown["trials"]]}


@pytest.fixture(scope="module")
def data(dataset_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small dataset without the files of its test split."""
    folder = tmp_path_factory.mktemp("search") / "data"
    shutil.copytree(dataset_dir, folder)
    shutil.rmtree(folder / "test")
    return folder


@pytest.fixture(scope="module")
def searched(data: Path) -> Path:
    """The folder of a search of three trials."""
    folder = data.parent / "searched"
    tune(space(), folder, data, None, 3)
    return folder


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No epoch may be trained."""
    monkeypatch.setattr(pretraining._Run, "_train_epoch", after(0, pretraining._Run._train_epoch))
    return


def found(folder: Path) -> TuneResult:
    result = read_result(folder)
    assert result
    return result


def test_the_first_trial_is_pretraining_itself(searched: Path, job_dir: Path) -> None:
    first = found(searched).trials[0]
    history = json.loads((job_dir / "backbone" / "history.json").read_text())
    figures = [monitored(entry["validation"], "auc") for entry in history]
    assert first.settings == {"backbone.crosses": 0, "pretrain.learning_rate": 0.01}
    assert (first.value, first.epochs) == (max(figures), EPOCHS)


def test_only_the_best_backbone_stays_and_kernels_can_be_tuned_on_it(
    searched: Path, data: Path, tmp_path: Path
) -> None:
    result = found(searched)
    values = {trial.number: trial.value for trial in result.trials}
    assert [trial.state for trial in result.trials] == ["complete"] * 3
    assert result.best == max(values, key=lambda number: values[number] or 0)
    assert result.gain == values[result.best] - values[0]
    assert [path.name for path in (searched / "trials").iterdir()] == [str(result.best)]
    assert {path.name for path in searched.iterdir()} == {
        *("trials", "tune.json", "tune.html", ".lock")
    }
    best = space().experiment(result.trials[result.best].settings)
    job = Job(shutil.copytree(searched / str(result.job), tmp_path / "job"))
    load_frozen(job, best)
    assert job.experiment() == best
    finetune(best, data, job, ["scene=home"])


def test_a_search_that_has_ended_trains_nothing(
    searched: Path, data: Path, untrained: None, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (searched / "tune.json").read_bytes()
    tune(space(), searched, data, None, 3)
    assert (searched / "tune.json").read_bytes() == before
    tune(space(), searched, data, None, 9, timeout=1e-9)
    assert (searched / "tune.json").read_bytes() == before
    assert "no trial begins after 1e-09 seconds" in capsys.readouterr().err


def test_interrupted_and_gone_on_with_equals_undisturbed(
    searched: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut in the second epoch of the second trial, then when the third has been trained and not
    been written down; no epoch that was finished is trained again.
    """
    folder, epoch = tmp_path / "search", pretraining._Run._train_epoch
    with monkeypatch.context() as patch, pytest.raises(PowerCutError):
        patch.setattr(pretraining._Run, "_train_epoch", after(EPOCHS + 1, epoch))
        tune(space(), folder, data, None, 3)
    assert [trial.state for trial in found(folder).trials] == ["complete", "running"]
    (folder / "trials" / "0" / "left").mkdir(parents=True, exist_ok=True)
    with monkeypatch.context() as patch, pytest.raises(PowerCutError):
        patch.setattr(pretraining._Run, "_train_epoch", after(1 + EPOCHS, epoch))
        patch.setattr(module, "read_json", after(1, module.read_json))
        tune(space(), folder, data, None, 3)
    with monkeypatch.context() as patch:
        patch.setattr(pretraining._Run, "_train_epoch", after(0, epoch))
        tune(space(), folder, data, None, 3)
    assert without_seconds(found(folder)) == without_seconds(found(searched))
    assert [path.name for path in (folder / "trials").iterdir()] == [str(found(folder).best)]


def test_kernels_that_were_tuned_on_a_former_best_stay(
    searched: Path, data: Path, tmp_path: Path, untrained: None
) -> None:
    folder = shutil.copytree(searched, tmp_path / "search")
    former, other = (
        trial.number for trial in found(folder).trials if trial.number != found(folder).best
    )
    for number in (former, other):
        (folder / "trials" / str(number) / "backbone").mkdir(parents=True)
    (folder / "trials" / str(former) / "kernels").mkdir()
    tune(space(), folder, data, None, 3)
    assert (folder / "trials" / str(former) / "backbone").exists()
    assert not (folder / "trials" / str(other)).exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            ["tune={backbone.crosses: {low: 0, high: 1}}"],
            r"trials of other settings: tune\.pretrain\.learning_rate \(.*, received not there\)",
        ),
        (["pretrain.patience=1"], r"pretrain\.patience \(.*, received 1\); go on with"),
        (["seed=18"], r"trials of other settings: seed \(17, received 18\)"),
    ],
)
def test_another_search_in_its_folder_is_refused(
    settings: list[str], said: str, searched: Path, data: Path, untrained: None
) -> None:
    with pytest.raises(InputError, match=said) as error:
        tune(space(*settings), searched, data, None, 4)
    one_line(error)


def test_settings_that_the_backbone_does_not_read_may_change(
    searched: Path, data: Path, untrained: None
) -> None:
    tune(space("kernel.width=3", "evaluation.bootstrap=9", "name=other"), searched, data, None, 3)


def test_trials_that_cannot_be_trained_are_failed_and_not_tried_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One whose loss is no number, and one whose settings do not go together."""
    drawn = iter([{"pretrain.learning_rate": 1e6}, {"pretrain.learning_rate": -1.0}])
    monkeypatch.setattr(module, "next_settings", lambda *_: next(drawn, None))
    folder = tmp_path / "search"
    wild = space(
        "tune={pretrain.learning_rate: {low: 0.01, high: 1e6}}",
        "pretrain.learning_rate=1e6",
        "pretrain.embedding_learning_rate=1e6",
    )
    result = tune(wild, folder, data, None, 5)
    assert [trial.state for trial in result.trials] == ["failed", "failed"]
    assert "lower pretrain.learning_rate" in str(result.trials[0].reason)
    assert "pretrain.learning_rate: input should be" in str(result.trials[1].reason)
    assert (result.best, result.gain) == (None, None)
    assert not list((folder / "trials").iterdir())


def test_a_trial_is_pruned_between_epochs(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one, after its first epoch."""

    class Strict:
        def __init__(self, ended: list[Any], epochs: int) -> None:
            assert epochs == EPOCHS

        def stops(self, curve: tuple[float, ...]) -> int:
            return len(curve)

    monkeypatch.setattr(module, "Pruner", Strict)
    result = tune(space(), tmp_path / "search", data, None, 2)
    first, second = result.trials
    assert (first.state, first.epochs) == ("complete", EPOCHS)
    assert (second.state, second.epochs, len(second.curve)) == ("pruned", 1, 1)
    assert second.value == second.curve[0]
    assert result.best == 0


def test_a_setting_of_the_transform_gets_a_dataset_of_its_own_once(
    logs: Path, dataset_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The config's own is the given one; two trials share the other."""
    key = "features.user_id.vocabulary.min_count"
    found_ = space(f"tune={{{key}: {{low: 1, high: 400}}}}")
    seen: list[tuple[Experiment, Path]] = []
    history = json.dumps([{"epoch": 1, "validation": {"loss": 0.5, "ctr_auc": 0.6}}])

    def noted(experiment: Experiment, data: Path, job: Job, **_: Any) -> None:
        seen.append((experiment, data))
        job.backbone.mkdir(parents=True)
        (job.backbone / "history.json").write_text(history)

    drawn = iter([found_.own, {key: 400}, {key: 400}])
    monkeypatch.setattr(module, "next_settings", lambda *_: next(drawn))
    monkeypatch.setattr(module, "pretrain", noted)
    folder, given = tmp_path / "search", str(logs / "*.parquet")
    result = tune(found_, folder, dataset_dir, given, 3)
    (made,) = (folder / "datasets").iterdir()
    assert [data for _, data in seen] == [dataset_dir, made, made]
    assert [trial.data for trial in result.trials] == list(map(str, (dataset_dir, made, made)))
    sizes = json.loads((made / "manifest.json").read_text())["vocabulary_sizes"]
    former = json.loads((dataset_dir / "manifest.json").read_text())["vocabulary_sizes"]
    assert sizes["user_id"] < former["user_id"]
    drawn = iter([{key: 400}])
    with pytest.raises(InputError, match=r"--input: .* was made of .*parquet, received other"):
        tune(found_, folder, dataset_dir, "other", 4)


def test_a_body_that_reads_topics_is_tuned_like_any_other(data: Path, tmp_path: Path) -> None:
    star = space(
        "backbone={body: star, topics: [scene], embedding_dimension: 4, expert_layers: [6]}",
        "pretrain.epochs=1",
        "tune={backbone.embedding_dimension: {choices: [2, 4]}}",
    )
    result = tune(star, tmp_path / "search", data, None, 9)
    assert [trial.settings["backbone.embedding_dimension"] for trial in result.trials] == [4, 2]
    assert {trial.state for trial in result.trials} == {"complete"}
