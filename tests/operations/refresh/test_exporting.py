"""A version appears only once it has answered its golden requests."""

from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from operations.refresh import exporting
from operations.refresh.exporting import BadExportError, export_checked, is_current
from operations.refresh.run import Refresh
from operations.refresh.summary import render
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
