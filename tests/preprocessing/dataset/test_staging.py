"""A dataset elsewhere is taken in by its manifest: whole, checked, and not twice."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from configs import InputError
from preprocessing import filesystem
from preprocessing.dataset.manifest import MANIFEST, SplitSummary, load_manifest
from preprocessing.dataset.staging import staged_dataset
from tests.object_store import store_folder, tree


@pytest.fixture(scope="module")
def there(store: str, dataset_dir: Path) -> str:
    """The small dataset, as Beam writes it there."""
    store_folder(dataset_dir, f"{store}/staging/data")
    return f"{store}/staging/data"


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files that are fetched."""
    found: list[str] = []
    parts = filesystem.read_parts

    def read_parts(path: str) -> Iterator[bytes]:
        found.extend([path] * (not path.endswith(MANIFEST)))
        return parts(path)

    monkeypatch.setattr(filesystem, "read_parts", read_parts)
    return found


def test_all_but_rejected_rows_is_taken_in_once(
    there: str, dataset_dir: Path, tmp_path: Path, fetched: list[str]
) -> None:
    folder = staged_dataset(there, tmp_path)
    assert folder.name == "data"
    rejected = {file.path for file in load_manifest(dataset_dir).rejected_files}
    expected = {name: found for name, found in tree(dataset_dir).items() if name not in rejected}
    assert tree(folder) == expected
    assert len(fetched) == len(expected) - 1  # the manifest itself
    assert staged_dataset(there, tmp_path) == folder
    assert len(fetched) == len(expected) - 1


def test_what_is_missing_or_damaged_here_is_fetched_again(
    there: str, dataset_dir: Path, tmp_path: Path, fetched: list[str]
) -> None:
    folder = staged_dataset(there, tmp_path)
    fetched.clear()
    (first, second, *_) = sorted(folder.rglob("*.tfrecord"))
    first.unlink()
    second.write_bytes(b"half")
    (folder / MANIFEST).unlink()  # as a run leaves it that was killed
    assert tree(staged_dataset(there, tmp_path)).items() <= tree(dataset_dir).items()
    assert len(fetched) == 2


@pytest.fixture
def few(dataset_dir: Path, tmp_path: Path) -> Path:
    """A dataset of two files, to change."""
    manifest = load_manifest(dataset_dir)
    files = manifest.splits["test"].files[:2]
    test = SplitSummary(rows=sum(file.rows for file in files), domains={}, files=files)
    none = {"rejected_files": (), "transform_files": (), "golden_requests": None, "profile": None}
    short = manifest.model_copy(update={"splits": {"test": test}, "dictionaries": None} | none)
    for file in files:
        (tmp_path / "few" / file.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(dataset_dir / file.path, tmp_path / "few" / file.path)
    (tmp_path / "few" / MANIFEST).write_bytes(short.to_json())
    return tmp_path / "few"


def test_a_dataset_that_is_written_anew_has_a_folder_of_its_own(
    store: str, few: Path, tmp_path: Path
) -> None:
    place = f"{store}/staging/anew"
    store_folder(few, place)
    former = staged_dataset(place, tmp_path)
    manifest = load_manifest(few).model_copy(update={"input": "other"})
    filesystem.write(f"{place}/{MANIFEST}", manifest.to_json())
    assert load_manifest(staged_dataset(place, tmp_path)).input == "other"
    assert load_manifest(former).input != "other"


def test_what_is_not_there_is_said_in_one_line(store: str, few: Path, tmp_path: Path) -> None:
    place = f"{store}/staging/bad"
    with pytest.raises(InputError, match=r"manifest.json: not found; expected a dataset"):
        staged_dataset(place, tmp_path)
    store_folder(few, place)
    first, second = (file.path for file in load_manifest(few).splits["test"].files)
    filesystem.put(f"{place}/{first}", [(few / first).read_bytes()[:-1]])
    with pytest.raises(InputError, match=rf"{first}: damaged: its sha256"):
        staged_dataset(place, tmp_path / "a")
    store_folder(few, place)
    filesystem.delete([f"{place}/{second}"])
    with pytest.raises(InputError, match=r"manifest.json lists it; run this again"):
        staged_dataset(place, tmp_path / "b")
