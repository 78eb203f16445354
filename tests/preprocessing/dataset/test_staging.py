"""A dataset elsewhere is taken in by its manifest: whole, checked, and not twice."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from configs import InputError
from preprocessing import filesystem
from preprocessing.dataset.manifest import MANIFEST, load_manifest
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
        found.append(path)
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


def test_a_dataset_that_is_written_anew_has_a_folder_of_its_own(
    store: str, dataset_dir: Path, tmp_path: Path
) -> None:
    place = f"{store}/staging/anew"
    store_folder(dataset_dir, place)
    former = staged_dataset(place, tmp_path)
    manifest = load_manifest(dataset_dir).model_copy(update={"input": "other"})
    filesystem.write(f"{place}/{MANIFEST}", manifest.to_json())
    assert load_manifest(staged_dataset(place, tmp_path)).input == "other"
    assert load_manifest(former).input != "other"


def test_what_is_not_there_is_said_in_one_line(
    store: str, dataset_dir: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(dataset_dir, tmp_path / "data")
    lacking = sorted(copy.rglob("*.tfrecord"))[0]
    damaged = sorted(copy.rglob("*.tfrecord"))[1]
    place = f"{store}/staging/bad"
    with pytest.raises(InputError, match=r"manifest.json: not found; expected a dataset"):
        staged_dataset(place, tmp_path)
    name, content = damaged.relative_to(copy), damaged.read_bytes()
    damaged.write_bytes(content[:-1])
    store_folder(copy, place)
    with pytest.raises(InputError, match=rf"{name}: damaged: its sha256"):
        staged_dataset(place, tmp_path)
    filesystem.put(f"{place}/{name.as_posix()}", [content])
    filesystem.delete([f"{place}/{lacking.relative_to(copy).as_posix()}"])
    with pytest.raises(InputError, match=r"manifest.json lists it; run this again"):
        staged_dataset(place, tmp_path)
