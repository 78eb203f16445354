"""A version that is not what was exported is not served; the message names the file."""

import json
import shutil
from pathlib import Path
from typing import Any

import grpc
import pytest

from configs.digests.listed_files import sha256_of
from configs.digests.sealed_json import SEAL, sealed
from serving.server.flags import arguments_of
from serving.server.servable_loader import load
from serving.wire.errors import StatusError
from serving.wire.version_files import GOLDEN, RECORD, check_version


@pytest.fixture
def version(models_dir: Path, tmp_path: Path) -> Path:
    return shutil.copytree(models_dir / "1", tmp_path / "1")


def names(version: Path) -> list[str]:
    record = json.loads((version / RECORD).read_text())
    return [*record["files"], str(RECORD)]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def refused(version: Path) -> str:
    with pytest.raises(StatusError) as error:
        load(1, version)
    assert error.value.code == grpc.StatusCode.DATA_LOSS
    assert "\n" not in error.value.message
    return error.value.message


def test_a_sound_version_is_served(version: Path) -> None:
    load(1, version).close()


def test_every_file_is_listed(version: Path) -> None:
    there = {str(path.relative_to(version)) for path in version.rglob("*") if path.is_file()}
    assert there == set(names(version))


def test_a_damaged_file_of_any_kind_is_named(version: Path) -> None:
    for name in names(version):
        path = version / name
        whole = path.read_bytes()
        flip(path)
        assert str(path) in refused(version)
        path.write_bytes(whole[:-1])
        assert str(path) in refused(version)
        if name != str(RECORD):
            path.unlink()
            assert f"{path}: missing" in refused(version)
        path.write_bytes(whole)
    load(1, version).close()


def change_golden(version: Path, case: int, change: Any) -> None:
    """As if the trainer had computed something else."""
    golden = json.loads((version / GOLDEN).read_text())
    change(golden["cases"][case])
    (version / GOLDEN).write_text(json.dumps(golden))
    record = json.loads((version / RECORD).read_text())
    record["files"][str(GOLDEN)]["sha256"] = sha256_of(version / GOLDEN)
    (version / RECORD).write_text(json.dumps(sealed(record)))


def off(case: dict[str, Any]) -> None:
    case["expected"]["ctr"][0] += 2e-5


def other(case: dict[str, Any]) -> None:
    case["expected"]["served_domain"][0] = "all of it"


def more(case: dict[str, Any]) -> None:
    case["expected"]["ctr"].append(0.5)


def unknown(case: dict[str, Any]) -> None:
    case["expected"]["clicks"] = case["expected"].pop("ctr")


@pytest.mark.parametrize(
    ("change", "said"),
    [(off, "ctr is off by"), (other, "served_domain differs"), (more, "shape"), (unknown, "out")],
)
def test_a_version_that_answers_otherwise_is_refused(change: Any, said: str, version: Path) -> None:
    change_golden(version, 0, change)
    message = refused(version)
    assert said in message
    assert str(version / GOLDEN) in message


def test_golden_requests_that_are_none_are_refused(version: Path) -> None:
    change_golden(version, 0, lambda case: case.pop("rows"))
    assert "not golden requests" in refused(version)


def test_the_check_can_be_turned_off(version: Path) -> None:
    change_golden(version, 0, off)
    load(1, version, check=False).close()
    words = ["--model-base-path", "/models"]
    assert arguments_of(words).check_exported_versions
    assert not arguments_of([*words, "--check_exported_versions=false"]).check_exported_versions


def test_a_version_that_does_not_say_what_it_is_is_served(version: Path) -> None:
    (version / RECORD).unlink()
    (version / GOLDEN).unlink()
    assert not check_version(version)
    load(1, version).close()


def test_a_record_that_is_older_than_seals_is_read(version: Path) -> None:
    record = json.loads((version / RECORD).read_text())
    del record[SEAL]
    (version / RECORD).write_text(json.dumps(record))
    load(1, version).close()
    flip(next((version / "assets").glob("*.txt")))
    assert "assets" in refused(version)
