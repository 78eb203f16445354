"""A remote folder is the former one or the new one, whoever is cut off or comes between."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from configs import Experiment, InputError
from preprocessing import filesystem
from preprocessing.dataset.given_transform import OF_A_JOB, given_transform
from preprocessing.remote import folder as folder_module
from preprocessing.remote import index as index_module
from preprocessing.remote import transfer
from preprocessing.remote.folder import name_of, part_here, publish, taken_in
from preprocessing.remote.index import BEGUN, INDEX, Entry, Index, read_index, write_index
from tests.object_store import killed_after, store_folder, tree

OLD = {"backbone/model": b"first", "kernels/a=%22b%22/1/weights": b"x" * 100_000, "empty": b""}
NEW = {"backbone/model": b"second", "kernels/active.json": b"{}", "empty": b"", "none": b""}


def write(folder: Path, files: dict[str, bytes]) -> None:
    """Makes a folder hold these files alone."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def upload(path: str, scratch: Path, files: dict[str, bytes]) -> None:
    with taken_in(path, scratch) as folder:
        write(folder.local, files)
        folder.publish()


def read(path: str, scratch: Path) -> dict[str, bytes]:
    with taken_in(path, scratch) as folder:
        return tree(folder.local)


@pytest.fixture
def path(store: str, tmp_path: Path) -> str:
    """Where nothing is yet."""
    return f"{store}/{tmp_path.name}/job"


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "THREADS", 1)


def test_what_was_uploaded_is_taken_in_elsewhere(path: str, tmp_path: Path) -> None:
    assert read(path, tmp_path / "a") == {}
    assert read_index(path) is None  # looking changes nothing
    upload(path, tmp_path / "a", OLD)
    assert read(path, tmp_path / "b") == OLD
    upload(path, tmp_path / "b", NEW)
    assert read(path, tmp_path / "a") == NEW


@pytest.mark.usefixtures("one_by_one")
@pytest.mark.parametrize("former", [{}, OLD], ids=["first", "second"])
def test_an_upload_that_is_cut_anywhere_is_all_or_nothing(
    former: dict[str, bytes], path: str, tmp_path: Path
) -> None:
    seen, cut = [], True
    while cut:
        place, here = f"{path}/{len(seen)}", tmp_path / f"{len(seen)}"
        upload(place, here, former)
        cut = killed_after(len(seen), lambda: upload(place, here, NEW))  # noqa: B023
        seen.append(read(place, here / "reader"))
        assert read(place, here) == NEW  # running again finishes it
    # two files with bytes, the index aside and in place; the first time a mark, too, and its end
    assert seen == ([former] * 4 + [NEW] if former else [former] * 5 + [NEW] * 2)


def test_files_that_have_lost_their_index_are_not_taken_for_nothing(
    path: str, tmp_path: Path
) -> None:
    """A run that began anew there would delete them hours later."""
    upload(path, tmp_path / "a", OLD)
    upload(path, tmp_path / "a", NEW)
    stored = filesystem.list_files(path)
    assert BEGUN not in stored
    filesystem.delete([f"{path}/{INDEX}"])
    with pytest.raises(InputError, match=f"^{path}: holds files/ and no index.json: .* lost it; "):
        upload(path, tmp_path / "a", OLD)
    with pytest.raises(InputError, match="lost it; restore"):
        read(path, tmp_path / "b")
    assert filesystem.list_files(path).keys() == stored.keys() - {INDEX}


@pytest.mark.usefixtures("one_by_one")
def test_a_mark_that_was_left_goes_with_the_next_upload(path: str, tmp_path: Path) -> None:
    changes = 5  # the mark, two files, the index aside and in place
    assert killed_after(changes, lambda: upload(path, tmp_path / "a", NEW))
    assert BEGUN in filesystem.list_files(path)
    upload(path, tmp_path / "a", OLD)
    assert BEGUN not in filesystem.list_files(path)
    assert read(path, tmp_path / "b") == OLD


@pytest.mark.usefixtures("one_by_one")
def test_an_interrupted_upload_is_given_up_where_another_came_since(
    path: str, tmp_path: Path
) -> None:
    upload(path, tmp_path / "a", OLD)
    assert killed_after(1, lambda: upload(path, tmp_path / "a", NEW))
    other = {"other": b"machine"}
    upload(path, tmp_path / "b", other)
    assert read(path, tmp_path / "a") == other


def test_of_two_runs_at_once_the_second_is_refused(path: str, tmp_path: Path) -> None:
    upload(path, tmp_path / "a", OLD)
    with taken_in(path, tmp_path / "a") as first, taken_in(path, tmp_path / "b") as second:
        write(first.local, NEW)
        first.publish()
        write(second.local, {"second": b""})
        with pytest.raises(InputError, match=r"another run has uploaded since .* generation 1;"):
            second.publish()
    assert read(path, tmp_path / "c") == NEW
    assert read(path, tmp_path / "b") == NEW


def test_of_two_first_uploads_the_second_leaves_no_mark(path: str, tmp_path: Path) -> None:
    with taken_in(path, tmp_path / "a") as first, taken_in(path, tmp_path / "b") as second:
        write(first.local, OLD)
        write(second.local, NEW)
        first.publish()
        with pytest.raises(InputError, match="another run has uploaded since"):
            second.publish()
    assert BEGUN not in filesystem.list_files(path)
    assert read(path, tmp_path / "c") == OLD


def test_who_is_overwritten_in_the_last_moment_finds_out(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run looks before this one writes its index, and writes its own right after."""
    other = Index().following({})

    def both(where: str, ours: Index) -> None:
        write_index(where, ours)
        write_index(where, other)

    monkeypatch.setattr(folder_module, "write_index", both)
    with pytest.raises(InputError, match="another run has uploaded"):
        upload(path, tmp_path / "a", OLD)
    assert read_index(path) == other
    assert read(path, tmp_path / "a") == {}


def test_one_machine_works_on_a_copy_once(path: str, tmp_path: Path) -> None:
    with (
        taken_in(path, tmp_path),
        pytest.raises(InputError, match=r"at work here; .* another --scratch"),
        taken_in(path, tmp_path),
    ):
        pass


def test_what_is_here_is_not_fetched_and_what_does_not_belong_goes(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(path, tmp_path, OLD)
    fetched: list[str] = []

    def counted(where: str) -> Iterator[bytes]:
        fetched.extend([where] * (not where.endswith(INDEX)))
        return parts(where)

    parts = filesystem.read_parts
    monkeypatch.setattr(filesystem, "read_parts", counted)
    assert read(path, tmp_path) == OLD
    assert not fetched
    with taken_in(path, tmp_path) as folder:
        local = folder.local
    (local / "backbone" / "model").write_bytes(b"fuller")
    (local / "strange" / ".aside-1").mkdir(parents=True)
    (local / "strange" / ".aside-1" / "half").write_bytes(b"")
    (local / "empty").unlink()
    (local / "empty").symlink_to("backbone/model")
    with taken_in(path, tmp_path) as folder:
        assert tree(local) == OLD
        assert not (local / "strange").exists()
        assert not (local / "empty").is_symlink()
    assert len(fetched) == 1  # an empty file is not stored


def test_locks_links_and_half_written_files_stay_here(path: str, tmp_path: Path) -> None:
    with taken_in(path, tmp_path / "a") as folder:
        write(folder.local, OLD | {".lock": b"", "kernels/.aside-1/half": b"1"})
        (folder.local / "link").symlink_to("backbone/model")
        folder.publish()
        assert folder.index.files.keys() == OLD.keys()


def test_nothing_is_uploaded_where_nothing_has_changed(path: str, tmp_path: Path) -> None:
    upload(path, tmp_path, OLD)
    upload(path, tmp_path, OLD)
    index = read_index(path)
    assert index is not None
    assert index.generation == 1


def test_a_log_may_grow_while_it_is_uploaded(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with taken_in(path, tmp_path / "a") as folder:
        write(folder.local, {"log": b"one"})
        list_stored = filesystem.list_stored

        def later(where: str) -> dict[str, filesystem.Stored]:
            (folder.local / "log").write_bytes(b"one, two")
            return list_stored(where)

        monkeypatch.setattr(filesystem, "list_stored", later)
        folder.publish()
    assert read(path, tmp_path / "b") == {"log": b"one"}


def test_what_is_damaged_there_is_said_in_one_line(path: str, tmp_path: Path) -> None:
    upload(path, tmp_path / "a", OLD)
    index = read_index(path)
    assert index is not None
    model = f"{path}/{index.places['backbone/model']}"
    filesystem.put(model, [b"other"])
    with pytest.raises(InputError, match=r"backbone/model/.*: damaged: its sha256"):
        read(path, tmp_path / "b")
    filesystem.delete([model])
    with pytest.raises(InputError, match=r"No such file.*run this again"):
        read(path, tmp_path / "c")
    for content, said in ((b"{", "JSON"), (b"[]", "index"), (b'{"files": 1}', "index")):
        filesystem.put(f"{path}/{INDEX}", [content])
        with pytest.raises(InputError, match=said):
            read(path, tmp_path / "d")


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a//b", ".", "a/../b"])
def test_an_index_names_no_file_outside(name: str) -> None:
    with pytest.raises(ValueError, match="inside a folder"):
        Index(files={name: Entry(bytes=0, sha256="")})


def test_a_place_with_other_files_is_refused(path: str, tmp_path: Path) -> None:
    write(tmp_path / "job", OLD)
    store_folder(tmp_path / "job" / "backbone", path)
    with pytest.raises(InputError, match=r"holds model and no index.json; .* put"):
        read(path, tmp_path / "a")


@pytest.mark.parametrize(
    "path",
    ["s3://", "hdfs://host/job", "s3://bucket/job*", "s3://bucket/job/..", "s3://bucket/./job/"],
)
def test_only_stores_of_whole_objects_are_worked_on(path: str, tmp_path: Path) -> None:
    """The last part names the local copy: no other folder's files may be taken for it."""
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(InputError, match="expected a"):
        read(path, tmp_path)
    assert (tmp_path / "mine").read_text() == "mine"


def test_former_bytes_stay_for_readers_and_then_go(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stored() -> set[str]:
        return {name for name in filesystem.list_files(path) if name != INDEX}

    upload(path, tmp_path, OLD)
    first = stored()
    upload(path, tmp_path, NEW)
    assert stored() > first
    monkeypatch.setattr(folder_module, "KEPT_SECONDS", -7200)  # whatever the clocks say
    upload(path, tmp_path, {"a": b"1"})
    assert not stored() & first
    assert read(path, tmp_path / "b") == {"a": b"1"}


def test_a_path_in_the_copy_is_called_by_its_remote_name(path: str, tmp_path: Path) -> None:
    with taken_in(path, tmp_path) as folder:
        assert name_of(folder.local / "backbone") == f"{path}/backbone"
        assert name_of(tmp_path) == str(tmp_path)
        write(folder.local, NEW)
        publish(tmp_path)  # no part of it
        assert read_index(path) is None
        publish(folder.local / "backbone")
        assert read_index(path) == folder.index


def test_a_part_of_a_job_is_read_without_the_rest(
    path: str, job_dir: Path, experiment: Experiment, tmp_path: Path
) -> None:
    upload(path, tmp_path, tree(job_dir))
    with part_here(path, OF_A_JOB) as folder:
        assert {Path(name).parts[0] for name in tree(Path(folder))} == {"backbone"}
        assert not list(Path(folder).rglob("model*"))
        fitted = given_transform(folder, experiment, path)
    assert fitted.digest == given_transform(str(job_dir), experiment).digest
    with part_here(str(job_dir), OF_A_JOB) as folder:
        assert folder == str(job_dir)


def test_errors_name_the_remote_folder(path: str, tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=f"^{path}/backbone: damaged$"),
        taken_in(path, tmp_path) as folder,
    ):
        raise InputError(f"{folder.local}/backbone: damaged")


def test_what_is_printed_names_the_remote_folder(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with taken_in(path, tmp_path) as folder:
        print(f"{folder.local}/kernels: no kernel yet")
        sys.stderr.writelines([f"warning: {folder.local}\n", "here\n"])
    said = capsys.readouterr()
    assert said.out == f"{path}/kernels: no kernel yet\n"
    assert said.err == f"warning: {path}\nhere\n"
    print(folder.local)
    assert capsys.readouterr().out == f"{folder.local}\n"


def test_the_format_of_a_later_program_is_refused(path: str, tmp_path: Path) -> None:
    later = Index(format=index_module.FORMAT + 1, files={})
    write_index(path, later)
    with pytest.raises(InputError, match="another version of this program"):
        read(path, tmp_path)
