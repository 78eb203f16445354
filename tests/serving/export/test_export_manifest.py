"""What a version says it is made of: JSON as older code wrote it, damage named in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from configs import InputError
from configs.digests.sealed_json import sealed
from serving.export.export_manifest import EXTRA, FileEntry, KernelEntry, Record, files_of
from serving.export.kernel_slots import Layout
from serving.wire.version_files import KEYS, KEYS_SOMETIMES
from trainer.kernels.kernel import KernelShape

CONTENT: dict[str, Any] = {
    "sources": {"backbone": "b" * 64, "golden requests": "g" * 64},
    "layout": {
        "shape": {
            "widths": [133, 32, 1],
            "activation": "relu",
            "residual": True,
            "tap": "representation+input",
        },
        "slots": 32,
        "others": ["region=r9"],
    },
    "kernels": {"scene=home": {"slot": 1, "version": 2, "sha256": "k" * 64}},
    "files": {"saved_model.pb": {"bytes": 5, "sha256": "s" * 64}},
}


@pytest.fixture
def version(tmp_path: Path) -> Path:
    (tmp_path / EXTRA).mkdir()
    (tmp_path / EXTRA / "export.json").write_text(json.dumps(CONTENT))
    return tmp_path


def test_an_earlier_file_is_read_and_written_as_it_was(version: Path) -> None:
    record = Record.load(version)
    shape = KernelShape((133, 32, 1), "relu", True, "representation+input")
    assert record.layout == Layout(shape, 32, ("region=r9",))
    assert record.kernels == {"scene=home": KernelEntry(slot=1, version=2, sha256="k" * 64)}
    assert record.files == {"saved_model.pb": FileEntry(bytes=5, sha256="s" * 64)}
    record.write(version)
    written = (version / EXTRA / "export.json").read_text()
    assert written == json.dumps(sealed(CONTENT), indent=1)
    assert Record.read(version) == record


DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no kernels": (lambda content: content.pop("kernels"), "kernels: Field required"),
    "a slot is a word": (
        lambda content: content["kernels"]["scene=home"].update(slot="first"),
        "kernels.scene=home.slot: ",
    ),
    "no digest": (
        lambda content: content["files"]["saved_model.pb"].pop("sha256"),
        "files.saved_model.pb.sha256: Field required",
    ),
    "no shape": (lambda content: content["layout"].pop("shape"), "layout: not a layout"),
    "another shape": (
        lambda content: content["layout"]["shape"].update(depth=3),
        "layout: not a layout",
    ),
    "no layout": (lambda content: content.update(layout=3), "layout: "),
}


@pytest.mark.parametrize(("change", "words"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_named_in_one_line(
    version: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    content = json.loads(json.dumps(CONTENT))
    change(content)
    path = version / EXTRA / "export.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError) as error:
        Record.load(version)
    message = str(error.value)
    assert message.startswith(f"{path}: {words}")
    assert "\n" not in message
    assert Record.read(version) is None


def test_a_missing_or_cut_file_is_named(version: Path) -> None:
    path = version / EXTRA / "export.json"
    path.write_text(json.dumps(CONTENT)[:40])
    with pytest.raises(InputError, match=r"export\.json: not readable as JSON"):
        Record.load(version)
    path.unlink()
    with pytest.raises(InputError, match=r"export\.json: not found"):
        Record.load(version)


def test_a_graph_that_is_not_listed_is_not_built_on(version: Path) -> None:
    record = Record.load(version).model_copy(update={"files": {}})
    assert record.unusable(version, record.sources) == "is damaged: saved_model.pb"


def test_files_are_listed_with_size_and_digest(tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "a.txt").write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
    assert files_of(tmp_path, None, {}) == {"assets/a.txt": FileEntry(bytes=3, sha256=digest)}


def test_servers_know_every_key_that_is_written() -> None:
    """They refuse others, so a key that they do not know is a version that none of them loads."""
    fields = Record.model_fields
    assert set(KEYS) == {name for name, field in fields.items() if field.is_required()}
    assert set(KEYS_SOMETIMES) == fields.keys() - set(KEYS)
