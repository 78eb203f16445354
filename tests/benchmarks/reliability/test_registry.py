"""The registry's section counts what it says, and a registry that breaks its word does not pass."""

from pathlib import Path

import pytest

import trainer  # noqa: F401 - before TensorFlow

# isort: split
from benchmarks.reliability.registry import State, measure
from benchmarks.speed.options import Options
from trainer.registry.kernel_registry import KernelStore
from trainer.registry.kernel_version import VersionFiles


def options(tmp_path: Path) -> Options:
    return Options(tmp_path, tmp_path, quick=True)


def test_a_killed_writer_leaves_a_clean_registry(tmp_path: Path) -> None:
    figures = measure(options(tmp_path))
    assert figures["kills"] == 5
    assert figures["unclean_registries"] == figures["traces_after_the_next_write"] == 0
    assert figures["changes_finished"] > 0
    assert figures["versions_written"] >= figures["versions_left"] > 0


def test_a_registry_that_loses_what_was_written_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KernelStore, "activate", lambda store, domain, version: None)
    monkeypatch.setattr(KernelStore, "remove", lambda store, domain: None)
    assert measure(options(tmp_path))["unclean_registries"]


def test_a_version_that_is_not_whole_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = VersionFiles.write

    def half(files: VersionFiles, folder: Path, domain: str, version: int) -> None:
        write(files, folder, domain, version)
        (folder / "weights.npz").write_bytes(b"half")

    monkeypatch.setattr(VersionFiles, "write", half)
    assert measure(options(tmp_path))["unclean_registries"]


def test_the_expected_state_follows_the_changes() -> None:
    state = State().after(("add", "all", 7)).after(("add", "all", 8)).after(("activate", "all", 0))
    assert state == State({"all": {1: 7, 2: 8}}, {"all": 2})
    assert state.after(("deactivate", "all", 0)) == State(state.seeds)
    assert state.after(("remove", "all", 0)) == State()
