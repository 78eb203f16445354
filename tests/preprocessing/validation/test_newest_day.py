"""The end of the newest whole day in logs, in every format and time zone."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs import InputError, load_experiment
from configs.schema import Data
from preprocessing.beam.dataset_job import Job
from preprocessing.dataset.manifest import as_of_dataset
from preprocessing.task import parse_arguments
from preprocessing.validation.newest_day import as_of_logs, newest_whole_day
from tests.conftest import QUICKSTART, SMALL
from trainer.data.dataset import Dataset

RELATIVE = (
    "splits={pretrain: {start: as_of - 6d, end: as_of - 3d},"
    " finetune: {start: as_of - 3d, end: as_of - 2d},"
    " validation: {start: as_of - 2d, end: as_of - 1d}, test: {start: as_of - 1d, end: as_of}}"
)


def data(**more: object) -> Data:
    return Data.model_validate({"timestamp": "at", "request": "r", "user": "u", **more})


def write(folder: Path, form: str, moments: list[str | None]) -> str:
    if form == "parquet":
        pq.write_table(pa.table({"at": pa.array(moments, pa.string())}), folder / "logs.parquet")
    elif form == "csv":
        lines = "".join(f"{moment or ''},1\n" for moment in moments)
        (folder / "logs.csv").write_text(f"at,x\n{lines}")
    else:
        rows = "".join(f"{json.dumps({'at': moment})}\n" for moment in moments)
        (folder / "logs.jsonl").write_text(rows)
    return str(folder / f"logs.{form}")


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize(
    ("last", "settings", "ends"),
    [
        ("2025-03-09T23:59:59Z", {}, "2025-03-10T00:00:00+00:00"),
        ("2025-03-09T22:59:59Z", {}, "2025-03-09T00:00:00+00:00"),
        ("2025-03-10T02:30:00Z", {"time_zone": "UTC-03:00"}, "2025-03-10T03:00:00+00:00"),
        ("2025-03-10T04:30:00Z", {"day_starts": 5}, "2025-03-10T05:00:00+00:00"),
    ],
)
def test_a_day_is_whole_whose_last_hour_has_rows(
    tmp_path: Path, form: str, last: str, settings: dict[str, object], ends: str
) -> None:
    logs = write(tmp_path, form, ["2025-03-08T10:00:00Z", last, None, "2025-03-07T10:00:00Z"])
    found, _, _ = newest_whole_day(logs, data(**settings))
    assert found == datetime.fromisoformat(ends)
    assert found.tzinfo == UTC


@pytest.mark.parametrize("strays", [["2031-01-01T00:00:00Z"], ["2031-01-01T23:59:59Z"] * 2])
def test_stray_rows_of_the_future_are_no_day(
    tmp_path: Path, strays: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where there are more days of strays than of logs; and the day is named."""
    days = [f"2025-03-0{day}T{hour:02}:59:00Z" for day in (7, 8) for hour in range(24)]
    others = ["2029-01-01T00:00:00Z", "2030-01-01T00:00:00Z"]
    logs = write(tmp_path, "parquet", [*strays, *days, *others])
    assert as_of_logs(logs)(data()) == datetime(2025, 3, 9, tzinfo=UTC)
    said = capsys.readouterr().err
    assert f"day 2031-01-01 of {logs} is passed over: it has {len(strays)} rows" in said
    assert "the median day has 24" in said
    thin = write(tmp_path, "csv", [*days, *["2025-03-09T23:59:00Z"] * 3])
    assert newest_whole_day(thin, data()) == (datetime(2025, 3, 10, tzinfo=UTC), {}, None)


def test_a_day_that_is_not_over_is_named(tmp_path: Path) -> None:
    hours = [f"2025-03-0{day}T{hour:02}:59:00Z" for day in (7, 8) for hour in range(24)]
    found, passed, doubt = newest_whole_day(write(tmp_path, "jsonl", hours[:40]), data())
    assert (found, doubt) == (datetime(2025, 3, 8, tzinfo=UTC), None)
    assert list(passed) == ["2025-03-08"]
    assert "its last row is of 2025-03-08T15:59:00" in passed["2025-03-08"]


@pytest.mark.parametrize(
    ("fourth", "ends", "passed", "doubt"),
    [
        ([], 4, ["2025-03-05", "2025-03-04"], ""),
        (["00:10"], 4, ["2025-03-05", "2025-03-04"], ""),
        ([f"{hour:02}:30" for hour in range(10)], 5, ["2025-03-05"], "day 2025-03-04 may be cut"),
        ([f"{hour:02}:30" for hour in range(24)], 5, ["2025-03-05"], ""),
    ],
)
def test_the_day_before_one_that_is_not_over_has_to_be_there(
    tmp_path: Path, fourth: list[str], ends: int, passed: list[str], doubt: str
) -> None:
    """Missing, a stray, cut short, whole."""
    whole = [f"2025-03-0{day}T{hour:02}:30:00Z" for day in (1, 2, 3) for hour in range(24)]
    newest = [f"2025-03-05T{hour:02}:30:00Z" for hour in range(12)]
    rows = [*whole, *(f"2025-03-04T{time}:00Z" for time in fourth), *newest]
    found, over, said = newest_whole_day(write(tmp_path, "csv", rows), data())
    assert found == datetime(2025, 3, ends, tzinfo=UTC)
    assert list(over) == passed
    assert (said or "").startswith(doubt) if doubt else said is None


def test_logs_without_a_moment_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no row has a moment in 'at'"):
        newest_whole_day(write(tmp_path, "csv", [None]), data())
    with pytest.raises(InputError, match="missing: at"):
        (tmp_path / "other.csv").write_text("moment\n1\n")
        newest_whole_day(str(tmp_path / "other.csv"), data())
    with pytest.raises(InputError, match=r"expected --input or the config's data\.input"):
        as_of_logs(None)(data())


def test_the_dataset_says_what_later_steps_count_from(
    logs: Path, dataset_dir: Path, job_dir: Path, tmp_path: Path
) -> None:
    """Its config is read again on the next day, whose newest day would be another."""
    words = [*SMALL, RELATIVE, "data.time_zone=UTC-03:00"]
    glob, folder = str(logs / "*.parquet"), tmp_path / "data"
    experiment = load_experiment(QUICKSTART, words, as_of_logs(glob))
    flags = parse_arguments(["--config", "-", "--output", str(folder)])[1]
    manifest = Job(experiment, glob, str(folder), tuple(flags), str(job_dir)).run()
    assert manifest.as_of == experiment.as_of == datetime(2025, 3, 9, 3, tzinfo=UTC)
    assert manifest.windows is not None
    assert manifest.windows["test"] == (datetime(2025, 3, 8, 3, tzinfo=UTC), manifest.as_of)
    again = load_experiment(QUICKSTART, words, as_of_dataset(folder))
    fixed = load_experiment(QUICKSTART, SMALL)
    for reader in (again, fixed):
        assert Dataset.open(folder, reader).rows("test") == manifest.splits["test"].rows
        assert Dataset.open(dataset_dir, reader).rows("test") == manifest.splits["test"].rows
    other = load_experiment(QUICKSTART, [*words, "as_of=2025-03-08T03:00:00Z"])
    with pytest.raises(InputError, match="built from other data, tasks or splits settings"):
        Dataset.open(folder, other)
