"""A day's refresh: what it leaves, that it is the steps' own commands in turn, that it goes on
where it was killed, and that what must not be released is not.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from configs import Experiment
from operations.refresh import run as run_module
from operations.refresh.exporting import is_current
from operations.refresh.progress_file import ProgressFile, State
from operations.refresh.run import Refresh
from operations.refresh.summary import Summary, render
from tests.operations.refresh.conftest import daily
from trainer.job import Job
from trainer.registry.kernel_registry import KernelStore
from trainer.training.finetune import finetune


def summary_of(refresh: Refresh) -> Summary:
    found = refresh.progress.summary()
    assert found
    return found


def versions(models: Path | None) -> list[str]:
    assert models
    return sorted(path.name for path in models.iterdir() if path.name.isdecimal())


def again(refresh: Refresh, *settings: str) -> Summary:
    """The same day by a config of other thresholds."""
    return replace(refresh, experiment=daily(*settings), notes=[]).run()


def test_it_leaves_what_the_steps_leave(refreshed: Refresh, job_copy: Path) -> None:
    summary, store = summary_of(refreshed), KernelStore(refreshed.job)
    steps = Job(job_copy)
    finetune(daily(), refreshed.progress.data, steps, [])
    assert store.active() == KernelStore(steps).active()
    for domain, version in store.active().items():
        one, other = store.load(domain, version), KernelStore(steps).load(domain, version)
        assert all((one.weights[name] == other.weights[name]).all() for name in one.weights)
    assert {name: one.after for name, one in summary.domains.items() if one.after} == store.active()
    assert summary.outcome == "released"
    assert summary.changed
    told = {event.domain for event in store.history.events() if event.data == summary.data}
    assert told == set(summary.changed)
    assert versions(refreshed.models) == ["1", "2"]
    assert refreshed.models
    assert is_current(refreshed.job, refreshed.models)
    assert list(summary.rows) == ["2025-03-07", "2025-03-08"]
    assert sum(summary.rows.values()) > 1000
    assert summary.backbone_days == 3.0
    assert summary.auc
    assert summary.auc.before != summary.auc.after
    assert summary.report
    for words in ("RELEASED", "2025-03-08", "AUC on judging rows", "better than"):
        assert words in render(summary)


def test_once_more_it_changes_nothing(refresh: Refresh, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.stat().st_mtime_ns for path in refresh.work.parent.rglob("*.json")}
    monkeypatch.setattr(run_module, "DatasetJob", None)
    assert refresh.run() == summary_of(refresh)
    assert {path: path.stat().st_mtime_ns for path in refresh.work.parent.rglob("*.json")} == before
    assert any("it is finished: released" in line for line in refresh.plan())


def test_an_earlier_day_that_is_finished_stays_as_it_was_written(refresh: Refresh) -> None:
    """Whatever later days have made of the registry."""
    summary, file = summary_of(refresh), refresh.progress.folder / "summary.json"
    before, store = file.read_bytes(), KernelStore(refresh.job)
    ProgressFile(refresh.work / "2025-03-10T0300Z").write(State(key="later", tuned=True))
    store.deactivate(next(iter(store.active())))
    assert refresh.run() == summary
    assert file.read_bytes() == before
    assert versions(refresh.models) == ["1", "2"]


def test_a_refused_day_exports_what_an_earlier_one_could_not(refresh: Refresh) -> None:
    earlier = ProgressFile(refresh.work / "2025-03-08T0300Z")
    earlier.finish(summary_of(refresh).model_copy(update={"registry_ahead": True}))
    store = KernelStore(refresh.job)
    store.deactivate(next(iter(store.active())))
    assert refresh.models
    assert not is_current(refresh.job, refresh.models)
    summary = again(refresh, "refresh.most_rows=0.001")
    assert (summary.outcome, summary.registry_ahead, len(summary.reasons)) == ("refused", False, 1)
    assert "refresh.most_rows allows" in summary.reasons[0]
    assert "is what an earlier refresh decided and could not export" in summary.notes[-1]
    assert versions(refresh.models) == ["1", "2", "3"]
    assert is_current(refresh.job, refresh.models)
    assert again(refresh, "refresh.most_rows=0.001") == summary


def test_what_is_exported_no_more_is_exported_again(refresh: Refresh, tmp_path: Path) -> None:
    other = replace(refresh, models=tmp_path / "other")
    summary = other.run()
    assert versions(other.models) == ["1"]
    assert summary.model
    assert (summary.outcome, summary.model.written) == ("released", True)
    assert other.run() == summary


@pytest.mark.parametrize("step", ["_tune", "summarise", "with_model"])
def test_a_run_that_breaks_off_goes_on(
    refresh: Refresh, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it was, it gives what an undisturbed run gives; only what was not done is done."""
    expected, state = summary_of(refresh), refresh.progress.state()
    assert state
    (refresh.progress.folder / "summary.json").unlink()
    if step == "_tune":  # killed after everything was stored, and before that was written down
        refresh.progress.write(state.model_copy(update={"tuned": False, "reasons": None}))

    class KilledError(Exception):
        pass

    def killed(*_: object, **__: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(Refresh if step.startswith("_") else run_module, step, killed)
        refresh.run()
    found = refresh.run()
    timeless = {"seconds", "domains", "auc", "model", "report", "job", "data"}
    assert found.model_dump(exclude=timeless) == expected.model_dump(exclude=timeless)
    assert {n: (d.before, d.after, d.outcome) for n, d in found.domains.items()} == {
        n: (d.before, d.after, d.outcome) for n, d in expected.domains.items()
    }
    assert versions(refresh.models) == ["1", "2"]


def fresh(refresh: Refresh, job_dir: Path, tmp_path: Path) -> Refresh:
    """The day before anything of it was released, its dataset made."""
    job, models = tmp_path / "day/job", tmp_path / "day/models"
    shutil.copytree(job_dir, job)
    state = refresh.progress.state()
    assert state
    (refresh.progress.folder / "summary.json").unlink()
    (refresh.progress.folder / "state.json").unlink()
    refresh.progress.write(state.model_copy(update={"key": "another"}))
    return replace(refresh, job=Job(job), models=models)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("refresh.most_rows=0.001",), "refresh.most_rows allows 0.001 times as many"),
        (("refresh.few_deactivated=0", "refresh.most_deactivated=0"), "would be deactivated"),
    ],
)
def test_what_crosses_a_threshold_is_not_released(
    settings: tuple[str, ...], said: str, refresh: Refresh, job_dir: Path, tmp_path: Path
) -> None:
    day = fresh(refresh, job_dir, tmp_path)
    store = KernelStore(day.job)
    if "deactivated" in said:  # what is served was trained to rank upside down
        plant_upside_down(store)
    active, stored = store.active(), {name: store.versions(name) for name in store.domains()}
    summary = again(day, *settings)
    assert summary.outcome == "refused"
    assert any(said in reason for reason in summary.reasons), summary.reasons
    assert store.active() == active
    assert {name: store.versions(name) for name in store.domains()} == stored
    assert not day.models or not day.models.exists()
    assert f"refused: {summary.reasons[0]}" in render(summary)
    assert again(day, *settings) == summary
    allowed = again(day, "refresh.most_deactivated=null")
    assert allowed.outcome == "released"
    assert versions(day.models) == ["1"]


def plant_upside_down(store: KernelStore) -> None:
    """Has every served kernel add the opposite of what was learned, so that each must go."""
    for domain, version in store.active().items():
        kernel = store.load(domain, version)
        weights = {name: -3 * array for name, array in kernel.weights.items()}
        store.activate(domain, store.add(domain, weights, kernel.manifest))


def test_a_dry_run_changes_nothing(refresh: Refresh, job_dir: Path, tmp_path: Path) -> None:
    day = replace(fresh(refresh, job_dir, tmp_path), experiment=daily("seed=5"))
    before = sorted(path for path in tmp_path.rglob("*"))
    lines = day.plan()
    assert sorted(path for path in tmp_path.rglob("*")) == before
    assert any("domains tuned and judged" in line for line in lines)
    assert any("dataset: is there" in line for line in lines)


def test_the_config_of_every_day_is_read(experiment: Experiment) -> None:
    assert daily().splits["finetune"] != experiment.splits["finetune"]
