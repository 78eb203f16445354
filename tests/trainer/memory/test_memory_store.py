"""The versions of a job's memory: damaged ones are named, and what is served is chosen."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from configs import InputError
from configs.memory import Memory
from tests.disk import full_disk
from trainer.job import Job
from trainer.memory.counts import Counts, KeyCounts
from trainer.memory.memory_store import MemoryStore

MEMORY = Memory.model_validate({"keys": {"user": ["user"]}, "refresh_hours": 24})
OTHER = Memory.model_validate({"keys": {"user": ["user"]}, "refresh_hours": 24, "prior_rows": 3})


@pytest.fixture
def store(job_dir: Path, tmp_path: Path) -> MemoryStore:
    """Of a job that has none yet."""
    job = Job(tmp_path / "job")
    shutil.copytree(Job(job_dir).backbone, job.backbone)
    return MemoryStore(job)


def counts(border: int, keys: int = 3) -> Counts:
    sums = np.tile([border + 5.0, 2.0, 2.0, 1.0], (keys, 1))
    return Counts(border, np.full(4, 9.0), {"user": KeyCounts(np.arange(1, keys + 1), sums)})


def test_what_is_stored_is_read_back_and_served(store: MemoryStore) -> None:
    assert store.add(MEMORY, counts(19_000)) == 1
    served = store.served(MEMORY)
    assert (served.version, served.memory, served.counts.border) == (1, MEMORY, 19_000)
    assert served.until.isoformat() == "2022-01-08T00:00:00+00:00"
    np.testing.assert_array_equal(served.counts.total, counts(19_000).total)
    for name, found in counts(19_000).keys.items():
        np.testing.assert_array_equal(served.counts.keys[name].hashes, found.hashes)
        np.testing.assert_array_equal(served.counts.keys[name].sums, found.sums)


def test_the_same_again_is_no_version(store: MemoryStore) -> None:
    assert [store.add(MEMORY, counts(border)) for border in (7, 8, 7)] == [1, 2, 1]
    assert store.served(MEMORY).version == 1, "what was asked for last is served"


def test_bounds_of_storage_are_no_other_memory(store: MemoryStore) -> None:
    bounded = MEMORY.model_copy(update={"most_keys": 5, "least_rows": 1.0})
    store.add(bounded, counts(7))
    assert store.served(MEMORY).version == 1


def test_every_definition_has_its_own(store: MemoryStore) -> None:
    store.add(MEMORY, counts(7))
    store.add(OTHER, counts(7))
    assert store.served(MEMORY).version == 1
    assert store.served(OTHER).version == 2
    found = store.newest_at(OTHER, 9)
    assert found is not None
    assert found.version == 2


def chain(store: MemoryStore, *borders: int) -> None:
    """Versions that stand on one another."""
    for border in borders:
        store.add(MEMORY, counts(border), store.served_or_none(MEMORY))


def test_rows_read_what_was_served_then(store: MemoryStore) -> None:
    chain(store, 5, 7, 9)
    found = [store.newest_at(MEMORY, border) for border in (4, 5, 8, 20)]
    assert [one.counts.border if one else None for one in found] == [None, 5, 7, 9]


def test_nobody_reads_what_was_rolled_back_from(store: MemoryStore) -> None:
    chain(store, 5, 7)
    assert store.rollback(MEMORY) == 1
    read = store.newest_at(MEMORY, 20)
    assert read is not None
    assert read.version == 1
    chain(store, 8)
    found = [store.newest_at(MEMORY, border) for border in (7, 8)]
    assert [one.version if one else None for one in found] == [1, 3]
    assert store.rollback(MEMORY) == 1, "version 3 stands on 1, not on 2"


def test_two_runs_at_once_do_not_undo_each_other(store: MemoryStore) -> None:
    chain(store, 5)
    first = store.served(MEMORY)
    store.add(MEMORY, counts(9), first, before=1)
    with pytest.raises(InputError, match=r"another run has changed what is served .* version 2"):
        store.add(MEMORY, counts(6), first, before=1)
    assert store.served(MEMORY).counts.border == 9


def test_rolled_back_and_removed(store: MemoryStore) -> None:
    chain(store, 5, 6, 7)
    assert store.rollback(MEMORY) == 2
    assert store.served(MEMORY).version == 2
    store.activate(3)
    with pytest.raises(InputError, match="version 3 is served; activate another one first"):
        store.remove(3)
    store.remove(1)
    assert store.versions() == [2, 3]
    assert store.rollback(MEMORY) == 2
    with pytest.raises(InputError, match="no sound version of this definition before 2"):
        store.rollback(MEMORY)
    with pytest.raises(InputError, match="no version 9; there are: 2, 3"):
        store.activate(9)


@pytest.mark.parametrize("name", ["counts.npz", "manifest.json"])
def test_what_is_served_and_damaged_is_left_or_removed(store: MemoryStore, name: str) -> None:
    chain(store, 5, 6)
    path = store.folder / "2" / name
    path.write_bytes(path.read_bytes()[:9])
    with pytest.raises(InputError, match=r"damaged|not readable"):
        store.served(MEMORY)
    assert store.rollback(MEMORY) == 1
    store.remove(2)
    path = store.folder / "1" / name
    path.write_bytes(path.read_bytes()[:9])
    store.remove(1)
    assert store.versions() == []
    assert store.active() == {}


def test_a_version_is_removed_from_a_full_disk(store: MemoryStore, tmp_path: Path) -> None:
    with full_disk(tmp_path / "disk", mib=16) as (folder, fill):
        job = Job(shutil.copytree(store.folder.parent, folder / "job"))
        small = MemoryStore(job)
        small.add(MEMORY, counts(5))
        small.add(MEMORY, counts(6))
        fill()
        with pytest.raises((InputError, OSError)):
            small.add(MEMORY, counts(7, 1_000))
        assert small.versions() == [1, 2]
        small.remove(1)
        assert small.versions() == [2]


def test_nobody_serves_what_there_is_not(store: MemoryStore) -> None:
    with pytest.raises(InputError, match=r"no memory of the active kernels .*memory refresh"):
        store.served(MEMORY)


def test_every_flipped_bit_is_noticed(store: MemoryStore) -> None:
    store.add(MEMORY, counts(5))
    store.add(MEMORY, counts(6))
    random = np.random.default_rng(0)
    files = [path for path in store.folder.rglob("*") if path.is_file() and path.name != ".lock"]
    assert {path.name for path in files} == {"active.json", "manifest.json", "counts.npz"}
    whole = store.served(MEMORY)
    for path in files:
        content = path.read_bytes()
        for place in random.integers(0, 8 * len(content), 60):
            damaged = bytearray(content)
            damaged[place // 8] ^= 1 << (place % 8)
            path.write_bytes(bytes(damaged))
            try:
                found = store.served(MEMORY)
            except InputError as error:
                assert str(path.parent) in str(error)
                continue
            assert found.version == whole.version
            assert found.counts.border == whole.counts.border
            np.testing.assert_array_equal(
                found.counts.keys["user"].sums, whole.counts.keys["user"].sums
            )
        path.write_bytes(content)


def test_rates_of_other_labels_are_refused(store: MemoryStore) -> None:
    store.add(MEMORY, counts(5))
    experiment = store.folder.parent / "backbone" / "experiment.json"
    content = json.loads(experiment.read_text())
    assert MemoryStore(Job(store.folder.parent)).served(MEMORY).version == 1
    manifest = store.folder / "1" / "manifest.json"
    found = json.loads(manifest.read_text())
    found["labels"] = ["seen", content["tasks"]["cvr"]["label"]]
    del found["sha256"]
    manifest.write_text(json.dumps(found))
    with pytest.raises(InputError, match=r"rates of seen, .*; this job's labels are"):
        store.served(MEMORY)
