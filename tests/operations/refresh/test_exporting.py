"""A version appears only once it has answered its golden requests."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest

from operations.refresh import exporting
from operations.refresh.exporting import BadExportError, export_checked, is_current
from operations.refresh.finishing import with_model, with_repair
from operations.refresh.run import Refresh
from operations.refresh.summary import Summary, render
from serving.wire.errors import StatusError
from trainer.job import Job
from trainer.registry.kernel_registry import KernelStore


def broken(version: int, path: Path) -> None:
    """A server that finds other scores; what it is given is the whole version."""
    assert (path / "saved_model.pb").exists()
    assert (path / "assets.extra" / "golden.json").exists()
    raise StatusError(grpc.StatusCode.DATA_LOSS, "score is off by 1.0e-01")


def test_a_version_that_answers_otherwise_never_appears(
    refresh: Refresh, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    models = tmp_path / "other"
    with monkeypatch.context() as patch:
        patch.setattr(exporting, "load", broken)
        with pytest.raises(BadExportError, match="off by"):
            export_checked(refresh.job, models)
        summary = replace(refresh, models=models).run()
    assert list(models.iterdir()) == []
    again = replace(refresh, models=models).run()
    assert (again.outcome, again.reasons, again.registry_ahead) == ("released", (), False)
    assert (summary.outcome, summary.registry_ahead) == ("refused", True)
    assert "the registry is ahead of what is served" in render(summary)
    assert "the export was not released, and the registry is ahead of it" in summary.reasons[0]


def test_what_is_served_by_another_version_is_not_current(
    models_dir: Path, job_copy: Path, tmp_path: Path
) -> None:
    job = Job(job_copy)
    assert is_current(job, models_dir)
    assert not is_current(job, tmp_path / "none")
    store = KernelStore(job)
    store.deactivate(next(iter(store.active())))
    assert not is_current(job, models_dir)


@pytest.mark.parametrize("ahead", [True, False])
def test_a_refusal_goes_with_the_failed_export_that_was_its_reason(
    ahead: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(exporting, "is_current", lambda *_: True)
    monkeypatch.setattr(exporting, "newest_version", lambda models: models / "1")
    refused = Summary(
        as_of=datetime(2025, 3, 8, tzinfo=UTC),
        outcome="refused",
        reasons=("the export was not released",),
        config="small",
        job=str(tmp_path),
        backbone="0",
        backbone_days=1.0,
        registry_ahead=ahead,
    )
    found = with_model(refused, Job(tmp_path), tmp_path)
    assert (found.outcome, found.reasons) == (
        ("released", ()) if ahead else (refused.outcome, refused.reasons)
    )
    assert found.model is not None
    assert (found.model.written, found.registry_ahead) == (False, False)
    stays = with_repair(refused, Job(tmp_path), tmp_path)
    assert (stays.outcome, stays.reasons) == (refused.outcome, refused.reasons)
    assert not stays.registry_ahead
