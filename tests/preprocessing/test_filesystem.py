"""Remote file systems: what their libraries raise is said in one line, and nothing else changes."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from configs import InputError
from domain_kernels.command import command
from preprocessing import filesystem
from preprocessing.logs.files import find_sources
from preprocessing.remote.scratch import is_remote, scratch_folder
from tests.conftest import QUICKSTART


def test_what_a_file_is_there(store: str, tmp_path: Path) -> None:
    place = f"{store}/{tmp_path.name}"
    assert filesystem.put(f"{place}/a=%22b%22/x", [b"one", b"two"]) == filesystem.write(
        f"{place}/y.gz", b"onetwo"
    )
    assert list(filesystem.list_files(place)) == ["a=%22b%22/x", "y.gz"]
    assert filesystem.find(f"{place}/*.gz") == [f"{place}/y.gz"]
    stored = filesystem.list_stored(place)["y.gz"]
    assert (stored.path, stored.bytes) == (f"{place}/y.gz", 6)
    assert filesystem.read(f"{place}/y.gz") == b"".join(filesystem.read_parts(f"{place}/y.gz"))
    filesystem.delete_folder(place)
    assert filesystem.list_files(place) == {}


def test_an_empty_file_is_one_there_too(store: str, tmp_path: Path) -> None:
    place = f"{store}/{tmp_path.name}"
    assert filesystem.put(f"{place}/a", []) == filesystem.write(f"{place}/b", b"")
    assert filesystem.put(f"{place}/c", iter([b"", b"1", b""])) == filesystem.write_parts(
        f"{place}/d", [b"", b"1"]
    )
    found = {name: filesystem.read(path) for name, path in filesystem.list_files(place).items()}
    assert found == {"a": b"", "b": b"", "c": b"1", "d": b"1"}


def test_what_is_not_there(store: str) -> None:
    with pytest.raises(FileNotFoundError, match="nothing"):
        filesystem.read(f"{store}/nothing")
    assert not filesystem.exists(f"{store}/nothing")
    with pytest.raises(InputError, match=r"^s3://no-such-bucket/x: .* is not there"):
        filesystem.put("s3://no-such-bucket/x", [b"1"])


@pytest.fixture
def no_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where neither Google's packages nor boto3 are installed."""

    def without(path: str) -> None:
        raise ValueError("Unable to get filesystem from specified path")

    monkeypatch.setattr(filesystem._beam(), "get_filesystem", without)
    for module in ("boto3", "boto3.session"):
        monkeypatch.setitem(sys.modules, module, None)


@pytest.mark.usefixtures("no_libraries")
@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("gs://b/x", r"pip install '\.\[gcp\]'"),
        ("s3://b/x", r"pip install '\.\[aws\]'"),
        ("foo://b/x", "expected gs:// or s3://"),
    ],
)
@pytest.mark.parametrize(
    "ask",
    [filesystem.read, filesystem.exists, filesystem.list_files, filesystem.look, find_sources],
)
def test_a_library_that_is_missing_is_said_of_the_path_that_was_given(
    path: str, advice: str, ask: Callable[[str], object]
) -> None:
    with pytest.raises(InputError, match=rf"^{path}: Beam has no filesystem for .* {advice}$"):
        ask(path)


@pytest.mark.usefixtures("no_libraries")
@pytest.mark.filterwarnings("ignore:.* found in sys.modules:RuntimeWarning")
def test_a_command_asks_every_store_before_it_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it would find on the way is not looked at: the logs are none, the jobs are not there."""
    (tmp_path / "day.jsonl").write_text("no log\n")
    config, here, there = str(QUICKSTART), str(tmp_path / "none"), "gs://bucket/folder"
    logs = ["--config", config, "--input", str(tmp_path / "day.jsonl")]
    step = ["--config", config, "--data", here, "--job-dir", there]
    monkeypatch.setattr(sys, "argv", [])
    for words in (
        ["preprocess", *logs, "--output", there],
        ["preprocess", *logs, "--output", here, "--transform", there],
        ["pretrain", *step],
        ["pretrain", *step[:-1], here, "--from", there],
        ["export", "--job-dir", here, "--output", there],
        ["score", "--models", there, *logs[2:], "--output", here],
        ["evaluate", *step[:2], "--data", there, "--job-dir", here],
        ["profile", there],
        ["selfcheck", "--data", here, "--job-dir", here, "--models", there],
    ):
        with pytest.raises(SystemExit):
            command(words)
        said = capsys.readouterr().err
        assert said.startswith(f"error: {there}: Beam has no filesystem for gs:// here; pip"), words
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("a//b/", Path("a/b")),
        ("gs://bucket/a/", "gs://bucket/a"),
        ("s3://", "s3://"),
        ("x:/y", Path("x:/y")),
    ],
)
def test_a_folder_on_the_command_line(text: str, given: Path | str) -> None:
    found = filesystem.folder_argument(text)
    assert found == given
    assert is_remote(found) == isinstance(given, str)


def test_copies_lie_in_a_folder_of_one_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = scratch_folder(None)
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o777 == 0o700
    assert scratch_folder(None) == folder
    assert scratch_folder(tmp_path / "given") == tmp_path / "given"
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(InputError, match="is not yours"):
        scratch_folder(None)


def test_local_folders_need_no_beam() -> None:
    """What a command imports to know that all its folders are local."""
    code = (
        "import sys, trainer.staging, preprocessing.remote.folder\n"
        "sys.exit(bool({'apache_beam', 'boto3', 'pyarrow', 'tensorflow'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_empty_name_is_no_folder() -> None:
    with pytest.raises(InputError, match="a folder's name is empty"):
        filesystem.folder_argument("")
