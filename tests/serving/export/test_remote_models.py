"""Versions on an object store: taken in to build on, whole or not there for who serves them."""

import shutil
import sys
from pathlib import Path

import pytest

import trainer  # noqa: F401 - before TensorFlow

# isort: split
from configs import InputError
from preprocessing import filesystem
from preprocessing.remote import transfer
from serving.export import remote_models
from serving.export.__main__ import main
from serving.export.remote_models import models_here, upload_version
from serving.score.version_choice import find_version
from serving.wire.version_files import check_version, whole_versions
from tests.object_store import killed_after, store_folder, tree

VERSION = {
    "saved_model.pb": b"graph",
    "variables/variables.index": b"index",
    "assets.extra/export.json": b"{}",
}


@pytest.fixture
def path(store: str, tmp_path: Path) -> str:
    return f"{store}/{tmp_path.name}/model"


def version(folder: Path, number: int = 2) -> Path:
    """A version of few small files."""
    for name, content in VERSION.items():
        file = folder / str(number) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder / str(number)


def stored(path: str) -> dict[str, bytes]:
    """The files that stand below a base path."""
    return {name: filesystem.read(full) for name, full in filesystem.list_files(path).items()}


def test_a_version_whose_upload_is_cut_anywhere_is_none(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "THREADS", 1)
    whole = {f"2/{name}": content for name, content in VERSION.items()}
    changes, cut = 0, True
    while cut:
        place = f"{path}/{changes}"
        filesystem.put(f"{place}/1/saved_model.pb", [b"former"])
        cut = killed_after(changes, lambda: upload_version(version(tmp_path), place))  # noqa: B023
        found = stored(place)
        assert found["1/saved_model.pb"] == b"former"
        if 2 in whole_versions(found):  # TensorFlow Serving loads it from now on
            assert found.items() >= whole.items()
        assert find_version(place, None)[0] == whole_versions(found)[-1]
        if cut:
            assert whole_versions(found) == [1]
            upload_version(version(tmp_path), place)
        assert stored(place).items() >= whole.items()
        changes += 1
    assert changes == len(VERSION) + 2 + 1  # uploaded aside, moved in two steps; then not cut


def test_no_half_version_of_another_export_is_mixed_in(path: str, tmp_path: Path) -> None:
    filesystem.put(f"{path}/2/variables/more", [b"killed"])
    upload_version(version(tmp_path), path)
    assert stored(path).keys() == {f"2/{name}" for name in VERSION}


def test_a_version_never_changes(path: str, tmp_path: Path) -> None:
    upload_version(version(tmp_path), path)
    former = stored(path)
    (tmp_path / "2" / "saved_model.pb").write_bytes(b"other")
    with pytest.raises(InputError, match=rf"{path}/2: another run has exported it"):
        upload_version(tmp_path / "2", path)
    assert {name: former[name] for name in former} == {
        name: content for name, content in stored(path).items() if name.startswith("2/")
    }


def test_leftovers_of_killed_exports_go_in_the_end(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filesystem.put(f"{path}/.uploading-1-0/saved_model.pb", [b"killed"])
    upload_version(version(tmp_path, 1), path)
    assert any(name.startswith(".uploading") for name in stored(path))
    monkeypatch.setattr(remote_models, "KEPT_SECONDS", -7200)
    upload_version(version(tmp_path), path)
    assert not any(name.startswith(".uploading") for name in stored(path))


def test_the_next_version_is_built_on_the_newest_one_there(
    path: str,
    models_dir: Path,
    job_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    base = f"{path}/{models_dir.name}"
    store_folder(models_dir / "1", f"{base}/3")
    filesystem.put(f"{base}/2/saved_model.pb", [b"older"])
    filesystem.put(f"{base}/4/variables/half", [b"killed"])
    with models_here(base, tmp_path) as folder:
        assert folder.name == models_dir.name
        assert {one.name for one in folder.iterdir()} == {"2", "3"}
        assert tree(folder / "3") == tree(models_dir / "1")
    words = ["--job-dir", job_dir, "--output", base, "--scratch", tmp_path]
    monkeypatch.setattr(sys, "argv", ["export", *map(str, words)])
    main()
    said = capsys.readouterr().err
    assert "the rest is version 3's" in said
    assert said.endswith(f"exported {base}/4\n")
    with models_here(base, tmp_path / "elsewhere") as folder:
        assert check_version(folder / "4")
        assert not any((folder / "3").iterdir())


def test_a_damaged_version_there_is_not_built_on(
    path: str, models_dir: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(models_dir / "1", tmp_path / "1")
    (copy / "saved_model.pb").write_bytes(b"damaged")
    store_folder(copy, f"{path}/1")
    with models_here(path, tmp_path / "scratch") as folder:
        assert not (folder / "1" / "saved_model.pb").exists()
    store_folder(version(tmp_path / "plain"), f"{path}/2")
    filesystem.delete([f"{path}/2/assets.extra/export.json"])
    with models_here(path, tmp_path / "scratch") as folder:
        assert not any((folder / "2").iterdir())
