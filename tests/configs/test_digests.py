"""Files and JSON are what was written, or are refused in one line that names them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import InputError
from configs.digests import listed_files
from configs.digests.listed_files import Listed, check_files, read_listed, sha256_of
from configs.digests.sealed_json import SEAL, digest_of, read_sealed, sealed, unsealed, write_sealed

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def listed(path: Path, content: bytes = b"rows") -> Listed:
    path.write_bytes(content)
    return Listed(path, sha256_of(path))


def test_sound_files_are_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [listed(tmp_path / str(number)) for number in range(6)]
    check_files(files, "manifest.json", "run it again")
    monkeypatch.setattr(listed_files, "sha256_of", pytest.fail)
    check_files(files, "manifest.json", "run it again")


def test_a_file_that_has_changed_since_is_hashed_again(tmp_path: Path) -> None:
    file = listed(tmp_path / "a")
    check_files([file], "manifest.json", "run it again")
    file.path.write_bytes(b"rowsrows")
    with pytest.raises(InputError, match="damaged"):
        check_files([file], "manifest.json", "run it again")


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "folder"])
@pytest.mark.parametrize("way", ["check", "read"])
def test_a_damaged_file_is_named(damage: str, way: str, tmp_path: Path) -> None:
    good, bad = listed(tmp_path / "good"), listed(tmp_path / "bad")
    if damage == "flip":
        bad.path.write_bytes(b"rowt")
    elif damage == "cut":
        bad.path.write_bytes(b"row")
    else:
        bad.path.unlink()
    if damage == "folder":
        bad.path.mkdir()
    with pytest.raises(InputError) as error:
        if way == "check":
            check_files([good, bad, good], "manifest.json", "run preprocessing.task again")
        else:
            read_listed(bad, "manifest.json", "run preprocessing.task again")
    said = str(error.value)
    assert said.startswith(f"{bad.path}: ")
    assert said.endswith("; run preprocessing.task again")
    assert "\n" not in said


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"a": 1}', b'{"a": 1, "b": 2, "c": 3}', b"\xff", None]
)
def test_a_sealed_object_that_is_damaged_says_what_to_do(
    content: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "sealed.json"
    if content is None:
        write_sealed(path, {"a": 1, "b": 2})
        content = path.read_bytes().replace(b"2", b"3", 1)
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_sealed(path, "restore it", "a", "b")
    assert str(error.value).startswith(f"{path}: ")
    assert str(error.value).endswith("; restore it")
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match=r"not found; run the step that writes it first$"):
        read_sealed(tmp_path / "gone.json", "restore it", "a", "b")


def test_a_sound_file_is_read(tmp_path: Path) -> None:
    assert read_listed(listed(tmp_path / "a"), "manifest.json", "") == b"rows"


@given(st.dictionaries(st.text().filter(lambda key: key != SEAL), JSON, max_size=4))
def test_what_is_sealed_is_read_again(content: dict[str, Any]) -> None:
    written = json.dumps(sealed(content), indent=1)
    assert unsealed(json.loads(written), "file", "") == json.loads(json.dumps(content))
    assert sealed(sealed(content)) == sealed(content)


def test_a_seal_does_not_ask_for_the_order_of_keys() -> None:
    assert digest_of({"a": 1, "b": [1, 2]}) == digest_of({"b": [1, 2], "a": 1})
    assert digest_of([1, 2]) != digest_of([2, 1])


def test_what_is_older_than_seals_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text('{"a": 1}')
    assert read_sealed(path, "", "a") == {"a": 1}


def test_every_flipped_bit_of_sealed_json_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    content = {"rows": 1234, "files": {"a.txt": "0af3"}, "share": 1.5e-7, "no": None, "yes": True}
    write_sealed(path, content)
    whole = path.read_bytes()
    noticed = 0
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            assert read_sealed(path, "write it again", "rows", optional=content) == content
        except InputError as error:
            assert str(path) in str(error)
            noticed += 1
    assert noticed > 8 * len(whole) * 0.99
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"file\.json"):
            read_sealed(path, "write it again", "rows", optional=content)
