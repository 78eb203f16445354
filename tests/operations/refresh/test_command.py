"""The command: what it prints, and by which code it ends."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from configs import InputError
from operations.refresh.__main__ import main
from operations.refresh.run import Refresh
from operations.refresh.summary import Summary
from tests.conftest import QUICKSTART
from tests.operations.refresh.conftest import DAILY

SUMMARY = Summary(
    as_of=datetime(2025, 3, 9, 3, tzinfo=UTC),
    outcome="refused",
    reasons=("day 2025-03-08 has 3 rows",),
    config="small",
    job="job",
    backbone="abc",
    backbone_days=3.0,
)


def words(logs: Path, job: Path, folder: Path, *more: str) -> list[str]:
    chosen = [word for setting in DAILY for word in ("--set", setting)]
    where = ["--input", f"{logs}/*.parquet", "--job-dir", str(job), "--work", str(folder / "work")]
    return ["--config", str(QUICKSTART), *chosen, *where, *more]


@pytest.mark.parametrize(("outcome", "code"), [("refused", 3), ("released", 0), ("unchanged", 0)])
def test_a_refusal_is_exit_code_3(
    outcome: str,
    code: int,
    logs: Path,
    job_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = SUMMARY.model_copy(update={"outcome": outcome})
    asked: list[Refresh] = []

    def run(refresh: Refresh) -> Summary:
        asked.append(refresh)
        return found

    monkeypatch.setattr(Refresh, "run", run)
    ended = 0
    try:
        main(words(logs, job_dir, tmp_path, "--json"))
    except SystemExit as end:
        ended = int(end.code or 0)
    assert ended == code
    said = capsys.readouterr()
    assert Summary.model_validate(json.loads(said.out)) == found
    assert "as of 2025-03-09T03:00:00+00:00, where the newest whole day" in said.err
    assert asked[0].as_of == SUMMARY.as_of


def test_a_dry_run_says_what_would_be_done(
    logs: Path, job_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(words(logs, job_dir, tmp_path, "--as-of", "2025-03-09", "--dry-run"))
    said = capsys.readouterr().out
    assert "split 'validation': 2025-03-08T03:00:00+00:00 to 2025-03-09T03:00:00+00:00" in said
    assert "dataset: made of 6 files" in said
    assert not (tmp_path / "work").exists()


def test_what_cannot_be_refreshed_is_one_line(logs: Path, job_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such job"):
        main(words(logs, tmp_path / "none", tmp_path, "--as-of", "2025-03-09"))
    with pytest.raises(InputError, match="no file matches"):
        main(words(tmp_path / "none", job_dir, tmp_path, "--as-of", "2025-03-09"))
    progressive = ("--set", "pretrain.progressive=true", "--as-of", "2025-03-09")
    with pytest.raises(InputError, match="expected a backbone without it for a daily refresh"):
        main(words(logs, job_dir, tmp_path, *progressive))
