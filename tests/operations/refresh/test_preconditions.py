"""What is looked at before a refresh does anything."""

from pathlib import Path

import pytest

from configs import InputError
from operations.refresh.preconditions import check_order, check_places, counted_before, has_dataset
from operations.refresh.progress_file import ProgressFile, State
from operations.refresh.run import Refresh

DAYS = ("2025-03-08T0300Z", "2025-03-09T0300Z", "2025-03-10T0300Z")


def test_places_that_are_no_folders_are_named_before_anything_is_done(tmp_path: Path) -> None:
    check_places(tmp_path / "new" / "work", tmp_path / "models")
    check_places(tmp_path, None)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--work .*file: .*file is no folder"):
        check_places(tmp_path / "file", None)
    with pytest.raises(InputError, match=r"--models .*models: .*file is no folder"):
        check_places(tmp_path, tmp_path / "file" / "models")


def test_a_day_before_one_that_was_learned_from_is_refused(tmp_path: Path) -> None:
    for day, tuned in zip(DAYS, (True, True, False), strict=True):
        ProgressFile(tmp_path / day).write(State(key="k", tuned=tuned))
    check_order(tmp_path, DAYS[2])
    check_order(tmp_path, DAYS[1])  # the one after it was refused
    with pytest.raises(InputError, match=f"{DAYS[1]}: a later day is refreshed already"):
        check_order(tmp_path, DAYS[0])


def test_a_dataset_that_is_damaged_is_none(refresh: Refresh) -> None:
    data = refresh.progress.data
    assert has_dataset(data)
    (file, *_) = sorted((data / "validation").iterdir())
    file.write_bytes(file.read_bytes()[:-9])
    assert not has_dataset(data)
    (data / "manifest.json").write_text("{")
    assert not has_dataset(data)
    assert not has_dataset(data / "none")


def test_memory_of_rows_that_have_changed_is_named(
    refresh: Refresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress, served = refresh.progress, 4
    monkeypatch.setattr(
        "operations.refresh.preconditions.served_memory", lambda job: served if job else None
    )
    former = State(key="former", memory=3, tuned=True)
    assert counted_before(progress, None, "now", refresh.job) == []
    assert counted_before(progress, former, "former", refresh.job) == []
    (note,) = counted_before(progress, former, "now", refresh.job)
    assert note.startswith("memory version 4 was counted from this day's rows as they were before")
    former = State(key="former", memory=4, tuned=True)
    assert counted_before(progress, former, "now", refresh.job) == []
