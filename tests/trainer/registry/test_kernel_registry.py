"""Kernels on disk: whole or not at all, for one backbone only, one line for every damage."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs import InputError
from configs.digests.sealed_json import sealed
from configs.files import read_json, write_json
from tests.disk import full_disk
from tests.trainer.conftest import MANIFEST, SHAPE, bare_job, change_json, one_line, random_kernel
from trainer.job import Job
from trainer.registry import kernel_version, state_files
from trainer.registry.decision import Decision
from trainer.registry.kernel_registry import KernelStore

CROSSED = "region=r1,scene=home"


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return bare_job(tmp_path)


@pytest.fixture
def store(job: Job) -> KernelStore:
    """Versions 1 and 2 of a region's kernel, version 1 of a cross-topic one; the region's first
    is active.
    """
    store = KernelStore(job)
    for domain, seed in (("region=r1", 1), ("region=r1", 2), (CROSSED, 3)):
        store.add(domain, random_kernel(SHAPE, seed), MANIFEST)
    store.activate("region=r1", 1)
    return store


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_kernel_comes_back_as_it_was_stored(store: KernelStore) -> None:
    kernel = store.load("region=r1", 2)
    np.testing.assert_equal(kernel.weights, random_kernel(SHAPE, 2))
    assert kernel.shape == SHAPE
    assert (kernel.domain, kernel.version) == ("region=r1", 2)
    assert kernel.manifest.backbone == store.fingerprint


def test_versions_count_up_and_the_active_one_is_preferred(store: KernelStore) -> None:
    assert store.domains() == ["region=r1", CROSSED]
    assert store.versions("region=r1") == [1, 2]
    newest = store.active_or_newest("region=r1"), store.active_or_newest(CROSSED)
    assert [kernel.version for kernel in newest if kernel] == [1, 1]
    store.activate("region=r1", 2)
    assert store.active() == {"region=r1": 2}
    store.deactivate("region=r1")
    assert store.active() == {}
    again = store.active_or_newest("region=r1")
    assert again
    assert again.version == 2


def test_nothing_is_known_of_a_domain_without_kernel(store: KernelStore) -> None:
    assert store.versions("region=r2") == []
    assert store.active_or_newest("region=r2") is None


def test_an_empty_job_has_no_kernels(job: Job) -> None:
    store = KernelStore(job)
    assert store.domains() == []
    assert store.active() == {}


def test_names_are_exact_never_prefixes(store: KernelStore) -> None:
    kept = files(store.folder / CROSSED)
    store.activate(CROSSED, 1)
    store.remove("region=r1")
    assert store.domains() == [CROSSED]
    assert store.active() == {CROSSED: 1}
    assert files(store.folder / CROSSED) == kept


def test_rolling_back_changes_active_json_alone(store: KernelStore) -> None:
    before = files(store.folder)
    store.activate("region=r1", 2)
    changed = {name for name, content in files(store.folder).items() if before.get(name) != content}
    assert changed == {"active.json", "sums.json"}


def test_a_failed_add_leaves_no_trace(store: KernelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files(store.folder)

    def fail(manifest: dict[str, Any]) -> str:
        raise OSError("disk full")

    monkeypatch.setattr(kernel_version, "card", fail)
    with pytest.raises(OSError, match="disk full"):
        store.add("region=r1", random_kernel(SHAPE, 4), MANIFEST)
    assert files(store.folder) == before
    assert store.versions("region=r1") == [1, 2]


def test_the_same_kernel_again_is_no_new_version(store: KernelStore) -> None:
    """A run that was interrupted and is run again stores nothing twice."""
    before = files(store.folder)
    assert store.add(CROSSED, random_kernel(SHAPE, 3), MANIFEST) == 1
    assert files(store.folder) == before
    assert store.add(CROSSED, random_kernel(SHAPE, 3), {**MANIFEST, "activated": False}) == 2
    assert store.add(CROSSED, random_kernel(SHAPE, 4), {**MANIFEST, "activated": False}) == 3


@pytest.mark.parametrize("name", ["weights.npz", "manifest.json"])
def test_a_damaged_newest_version_does_not_stop_the_next(name: str, store: KernelStore) -> None:
    (store.folder / CROSSED / "1" / name).unlink()
    assert store.add(CROSSED, random_kernel(SHAPE, 3), MANIFEST) == 2
    np.testing.assert_equal(store.load(CROSSED, 2).weights, random_kernel(SHAPE, 3))


def test_the_card_says_what_a_person_asks(store: KernelStore) -> None:
    card = (store.folder / CROSSED / "1" / "card.md").read_text()
    for text in (
        CROSSED,
        "10 rows",
        "widths 5 - 4 - 1",
        "beta 1.0",
        "Activated",
        "+0.01000 to +0.02000",
        "undefined",
    ):
        assert text in card


def test_the_card_names_the_weight_of_the_regulariser_in_force(store: KernelStore) -> None:
    settings = {**MANIFEST["finetune"], "regulariser": "coding_rate", "code_beta": 0.25}
    version = store.add(CROSSED, random_kernel(SHAPE, 3), {**MANIFEST, "finetune": settings})
    assert (
        "Regulariser coding_rate, code_beta 0.25"
        in (store.folder / CROSSED / str(version) / "card.md").read_text()
    )


@pytest.mark.parametrize("action", [KernelStore.load, KernelStore.activate])
def test_kernels_of_another_backbone_are_refused(
    action: Callable[..., Any], store: KernelStore, job: Job
) -> None:
    change_json(
        job.backbone / "fingerprint.json", lambda content: content.update(fingerprint="e" * 64)
    )
    with pytest.raises(
        InputError,
        match=r"another backbone: expected fingerprint eeeeeeeeeeee, received ffffffffffff",
    ) as error:
        action(KernelStore(job), CROSSED, 1)
    one_line(error)
    assert CROSSED not in store.active()


def test_the_first_tensor_that_differs_is_named(store: KernelStore, job: Job) -> None:
    """Also after the backbone was replaced, so that the tensors it had are known from the kernel
    alone.
    """
    tensors = {"embedding/rows": "1" * 64, "expert_0/kernel": "2" * 64, "tower/kernel": "3" * 64}
    change_json(
        job.backbone / "fingerprint.json",
        lambda content: content.update(fingerprint="a" * 64, tensors=tensors),
    )
    version = KernelStore(job).add(CROSSED, random_kernel(SHAPE, 4), MANIFEST)
    other = {**tensors, "expert_0/kernel": "4" * 64, "tower/kernel": "5" * 64}
    change_json(
        job.backbone / "fingerprint.json",
        lambda content: content.update(fingerprint="b" * 64, tensors=other),
    )
    with pytest.raises(
        InputError, match=r"another backbone: .*; first difference: tensor 'expert_0/kernel'$"
    ) as error:
        KernelStore(job).load(CROSSED, version)
    one_line(error)
    change_json(
        job.backbone / "fingerprint.json", lambda content: content.update(transform="u" * 64)
    )
    with pytest.raises(InputError, match="first difference: the transform"):
        KernelStore(job).load(CROSSED, version)
    (store.folder / CROSSED / str(version) / "backbone.json").unlink()
    with pytest.raises(InputError, match=r"received aaaaaaaaaaaa$"):
        KernelStore(job).load(CROSSED, version)


NO_NAMES = {
    "empty": "",
    "dots": "..",
    "up": "../scene=home",
    "hidden": ".scene=home",
    "surrogate": "scene=\udc80",
    "very long": "scene=" + 250 * "x",
}
ODD_NAMES = {
    "inside": "scene=home/1",
    "absolute": "/scene=home",
    "backslash": "scene\\home",
    "null": "scene=home\0",
    "line": "scene=home\n",
    "space": "scene=home ",
    "Cyrillic letter": "scene=h\u043eme",
    "full width": "scene\uff1dhome",
    "zero width": "scene=home\u200b",
    "combining": "scene=home\u0301",
}


@pytest.mark.parametrize("name", NO_NAMES.values(), ids=NO_NAMES)
def test_names_that_no_folder_can_have_are_refused(name: str, store: KernelStore, job: Job) -> None:
    store.add("scene=home", random_kernel(SHAPE, 1), MANIFEST)
    before = files(job.folder)
    with pytest.raises(InputError, match="no domain's name") as error:
        store.add(name, random_kernel(SHAPE, 1), MANIFEST)
    one_line(error)
    one_line(error).encode("ascii")
    assert store.versions(name) == []
    with pytest.raises(InputError):
        store.activate(name, 1)
    with pytest.raises(InputError):
        store.remove(name)
    assert files(job.folder) == before


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES)
def test_a_name_that_looks_like_another_or_like_a_path_is_a_domain_of_its_own(
    name: str, store: KernelStore
) -> None:
    store.add("scene=home", random_kernel(SHAPE, 1), MANIFEST)
    before = files(store.folder / "scene=home")
    store.activate(name, store.add(name, random_kernel(SHAPE, 2), MANIFEST))
    store.pin(name)
    assert name in store.domains()
    assert store.active() == {"region=r1": 1, name: 1}
    assert store.pinned() == {name}
    assert all(path.parent == store.folder for path in store.folder.iterdir())
    store.remove(name)
    assert name not in store.domains()
    assert files(store.folder / "scene=home") == before


def test_the_longest_name_is_a_domain_like_any_other(store: KernelStore) -> None:
    name = "a" * 255
    assert store.add(name, random_kernel(SHAPE, 1), MANIFEST) == 1
    store.activate(name, 1)
    assert store.load(name, 1).domain == name
    store.remove(name)
    assert name not in store.domains()


@pytest.mark.parametrize("name", ["03", "\uff13", "3 ", "-3", "3.0", "0"])
def test_only_plain_numbers_are_versions(name: str, store: KernelStore) -> None:
    shutil.copytree(store.folder / CROSSED / "1", store.folder / CROSSED / name)
    assert store.versions(CROSSED) == [1]


def test_what_is_added_knows_its_own_place(store: KernelStore) -> None:
    """A manifest that was read from another version says nothing of where it came from."""
    former = store.load("region=r1", 1)
    version = store.add(CROSSED, random_kernel(SHAPE, 7), former.manifest)
    manifest = store.load(CROSSED, version).manifest
    assert (manifest.domain, manifest.version) == (CROSSED, 2)
    assert manifest.files != former.manifest.files


def test_golden_scores_come_back_as_they_were_stored(store: KernelStore) -> None:
    golden = {
        "requests": "a" * 64,
        "scores": {task: [0.1, float(np.float32(0.3))] for task in ("ctr", "cvr", "ctcvr")},
    }
    version = store.add(CROSSED, random_kernel(SHAPE, 3), MANIFEST, golden)
    assert store.load(CROSSED, version).golden == golden
    sha256 = (store.load(CROSSED, version).manifest.files or {})["golden.json"]
    assert (
        f"Golden scores: sha256 `{sha256}`"
        in (store.folder / CROSSED / str(version) / "card.md").read_text()
    )
    assert store.load(CROSSED, 1).golden is None


def test_versions_of_older_jobs_still_load(store: KernelStore) -> None:
    """They list no files and have neither golden scores nor their backbone's tensors."""
    folder = store.folder / CROSSED / "1"
    (folder / "backbone.json").unlink()
    change_json(folder / "manifest.json", lambda content: content.pop("files") and None)
    kernel = store.load(CROSSED, 1)
    np.testing.assert_equal(kernel.weights, random_kernel(SHAPE, 3))
    assert kernel.golden is None


def test_without_a_history_rolling_back_goes_to_the_last_version_that_helped(
    store: KernelStore,
) -> None:
    for seed, helped in ((3, False), (4, True), (5, False), (6, True)):
        store.add("region=r1", random_kernel(SHAPE, seed), {**MANIFEST, "activated": helped})
    store.activate("region=r1", 6)
    store.activate(CROSSED, 1)
    store.job.history.unlink()
    assert [store.rollback("region=r1") for _ in range(3)] == [4, 2, 1]
    assert store.pinned() == {"region=r1"}, "so that the next run does not undo it"
    assert store.active() == {"region=r1": 1, CROSSED: 1}
    with pytest.raises(
        InputError, match="nothing is known to have been served of domain 'region=r1'"
    ) as error:
        store.rollback("region=r1")
    one_line(error)
    assert store.active() == {"region=r1": 1, CROSSED: 1}


@pytest.mark.parametrize(
    ("domain", "said"), [("region=r2", "no kernel of domain"), (CROSSED, "has no active version")]
)
def test_what_is_not_active_cannot_be_rolled_back(
    domain: str, said: str, store: KernelStore
) -> None:
    with pytest.raises(InputError, match=said) as error:
        store.rollback(domain)
    one_line(error)
    assert store.active() == {"region=r1": 1}


def test_a_damaged_version_is_not_rolled_back_to(store: KernelStore) -> None:
    store.activate("region=r1", 2)
    (store.folder / "region=r1" / "1" / "weights.npz").write_bytes(b"half")
    with pytest.raises(InputError, match=r"weights\.npz: damaged"):
        store.rollback("region=r1")
    assert store.active() == {"region=r1": 2}


@pytest.mark.parametrize(
    ("domain", "version"), [("region=r1", 3), ("region=r2", 1), ("region", 1), ("..", 1), ("", 1)]
)
def test_a_version_that_is_not_there_is_refused(
    domain: str, version: int, store: KernelStore
) -> None:
    for action in (store.load, store.activate):
        with pytest.raises(InputError, match=r"no (version|kernel)") as error:
            action(domain, version)
        one_line(error)
    assert store.active() == {"region=r1": 1}


@pytest.mark.parametrize("domain", ["region=r2", "region", "..", ""])
@pytest.mark.parametrize("action", [KernelStore.remove, KernelStore.deactivate])
def test_what_is_not_there_can_be_neither_removed_nor_deactivated(
    action: Callable[..., Any], domain: str, store: KernelStore
) -> None:
    before = files(store.folder)
    with pytest.raises(InputError, match="no kernel of domain") as error:
        action(store, domain)
    near = "did you mean 'region=r1'?" if domain.startswith("region") else CROSSED
    assert near in one_line(error)
    assert files(store.folder) == before


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[200] ^= 1  # inside the first array
    path.write_bytes(content)


def save(path: Path, **changes: Any) -> None:
    weights = {**random_kernel(SHAPE, 3), **changes}
    np.savez(path, **{name: array for name, array in weights.items() if array is not None})


WEIGHTS_DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut": cut,
    "no archive": lambda path: path.write_bytes(b"hello, world"),
    "flipped bit": flip_a_bit,
    "array missing": lambda path: save(path, bias_1=None),
    "array too many": lambda path: save(path, weight_9=np.zeros(3, np.float32)),
    "wrong shape": lambda path: save(path, weight_0=np.zeros((2, 5, 3), np.float32)),
    "wrong dtype": lambda path: save(path, bias_0=np.zeros((2, 4), np.float64)),
    "objects": lambda path: save(path, bias_0=np.array([{}], dtype=object)),
}


@pytest.mark.parametrize("damage", WEIGHTS_DAMAGE.values(), ids=WEIGHTS_DAMAGE)
def test_damaged_weights_are_refused_in_one_line(
    damage: Callable[[Path], object], store: KernelStore
) -> None:
    damage(store.folder / CROSSED / "1" / "weights.npz")
    with pytest.raises(InputError) as error:
        store.load(CROSSED, 1)
    assert CROSSED in one_line(error)


MANIFEST_DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_text(""),
    "cut": cut,
    "no object": lambda path: path.write_text("[]"),
    "no shape": lambda path: change_json(path, lambda content: content.pop("shape") and None),
    "odd shape": lambda path: change_json(
        path, lambda content: content.update(shape={"widths": "wide"})
    ),
}


@pytest.mark.parametrize("damage", MANIFEST_DAMAGE.values(), ids=MANIFEST_DAMAGE)
def test_a_damaged_manifest_is_refused_in_one_line(
    damage: Callable[[Path], object], store: KernelStore
) -> None:
    damage(store.folder / CROSSED / "1" / "manifest.json")
    with pytest.raises(InputError) as error:
        store.load(CROSSED, 1)
    assert CROSSED in one_line(error)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"region=r1": "one"}', '{"../x": 1}', '{"region=r1": true}']
)
def test_a_damaged_active_json_is_refused_in_one_line(content: str, store: KernelStore) -> None:
    (store.folder / "active.json").write_text(content)
    with pytest.raises(InputError) as error:
        store.active_or_newest("region=r1")
    one_line(error)


@pytest.mark.parametrize("content", ["", "{}", "[]"])
def test_a_damaged_fingerprint_is_refused_in_one_line(content: str, job: Job) -> None:
    (job.backbone / "fingerprint.json").write_text(content)
    with pytest.raises(InputError, match=r"fingerprint\.json") as error:
        KernelStore(job)
    one_line(error)


def test_an_active_version_whose_folder_is_gone_is_refused(store: KernelStore) -> None:
    shutil.rmtree(store.folder / "region=r1" / "1")
    with pytest.raises(InputError, match="names version 1 of domain 'region=r1', which is not"):
        store.active_or_newest("region=r1")
    store.deactivate("region=r1")
    assert store.active() == {}


def test_an_active_domain_without_a_kernel_is_refused_and_can_be_put_away(
    store: KernelStore,
) -> None:
    """As one damaged letter makes it, in jobs that are older than ``sums.json``, too."""
    (store.folder / "sums.json").unlink()
    write_json(store.folder / "active.json", {"region=r3": 1, CROSSED: 1})
    with pytest.raises(InputError, match=r"active\.json: damaged: names version 1 of .*region=r3"):
        store.active()
    with pytest.raises(InputError, match=r"active\.json"):
        store.activate("region=r1", 1)
    store.deactivate("region=r3")
    assert store.active() == {CROSSED: 1}


@pytest.mark.parametrize("name", ["active.json", "pinned.json"])
def test_every_flipped_bit_of_what_is_served_is_noticed(name: str, store: KernelStore) -> None:
    """Also one that gives another version or domain that is stored."""
    store.activate("region=r1", 2)
    store.pin(CROSSED)
    path = store.folder / name
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 5):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=name) as error:
            store.active() if name == "active.json" else store.pinned()
        one_line(error)
    path.unlink()
    with pytest.raises(InputError, match=f"{name}: missing"):
        store.active() if name == "active.json" else store.pinned()
    path.write_bytes(whole)
    assert (store.active(), store.pinned()) == ({"region=r1": 2}, {CROSSED})


@pytest.mark.parametrize(
    "forgetful",
    [lambda _: {}, lambda _: sealed({}), lambda sums: sealed({"pinned.json": sums["pinned.json"]})],
)
def test_sums_that_do_not_know_a_file_that_is_there_are_named(
    forgetful: Callable[[dict[str, Any]], dict[str, Any]], store: KernelStore
) -> None:
    active, path = store.active(), store.folder / "sums.json"
    store.pin(CROSSED)
    write_json(path, forgetful(read_json(path)))
    for act in (store.active, lambda: store.activate("region=r1", 2)):
        with pytest.raises(InputError, match=r"sums\.json") as error:
            act()
        one_line(error)
    path.unlink()
    assert store.active() == active


def test_a_job_that_is_older_than_sums_has_them_of_all_files_once_one_is_written(
    store: KernelStore,
) -> None:
    active = store.active()
    (store.folder / "sums.json").unlink()
    store.pin(CROSSED)
    assert store.active() == active
    assert read_json(store.folder / "sums.json").keys() >= {"active.json", "pinned.json"}


@pytest.mark.parametrize("action", ["deactivate", "remove"])
def test_what_makes_room_works_on_a_full_disk(action: str, tmp_path: Path) -> None:
    with full_disk(tmp_path / "disk") as (folder, fill):
        store = KernelStore(bare_job(folder))
        for seed in (1, 2):
            store.add("region=r1", random_kernel(SHAPE, seed), MANIFEST)
        store.activate("region=r1", 1)
        store.pin("region=r1")
        fill()
        with pytest.raises(OSError, match="No space left"):
            store.activate("region=r1", 2)
        getattr(store, action)("region=r1")
        assert store.active() == {}
        assert store.domains() == ([] if action == "remove" else ["region=r1"])


def test_a_writer_that_is_killed_between_two_files_leaves_nothing_wrong(
    store: KernelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = store.active()
    whole = {path.name: path.read_bytes() for path in store.folder.glob("*.json")}
    for calls in (1, 2):
        done = 0

        def write(path: Path, content: Any, calls: int = calls) -> None:
            nonlocal done
            if done == calls:
                raise KeyboardInterrupt
            done += 1
            write_json(path, content)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(state_files, "write_json", write)
            patch.setattr(state_files, "write_sealed", lambda path, c: write(path, sealed(c)))
            store.activate("region=r1", 2)
        assert store.active() == (before if calls == 1 else {"region=r1": 2})
        store.activate("region=r1", 2)
        sums = read_json(store.folder / "sums.json")
        assert [len(allowed) for allowed in sums.values() if isinstance(allowed, list)] == [1]
        for name, content in whole.items():
            (store.folder / name).write_bytes(content)
    store.activate("region=r1", 2)
    assert store.active() == {"region=r1": 2}


def test_leftovers_of_a_killed_add_are_no_versions(store: KernelStore) -> None:
    shutil.copytree(store.folder / CROSSED / "1", store.folder / CROSSED / ".2-abc")
    shutil.copytree(store.folder / CROSSED, store.folder / ".region=r9-abc")
    assert store.versions(CROSSED) == [1]
    assert store.domains() == ["region=r1", CROSSED]
    assert store.add(CROSSED, random_kernel(SHAPE, 5), MANIFEST) == 2


def test_manifests_are_json_without_nan(store: KernelStore) -> None:
    with pytest.raises(ValueError, match="seed"):
        store.add(CROSSED, random_kernel(SHAPE, 5), {**MANIFEST, "seed": float("nan")})
    settings = {**MANIFEST["finetune"], "beta": float("nan")}
    with pytest.raises(ValueError, match="finite"):
        store.add(CROSSED, random_kernel(SHAPE, 5), {**MANIFEST, "finetune": settings})
    assert store.versions(CROSSED) == [1]
    assert json.loads((store.folder / CROSSED / "1" / "manifest.json").read_text())["version"] == 1


def decision(outcome: str, version: int | None, active: int | None) -> Decision:
    given = {"outcome": outcome, "reason": "why", "against": "all"}
    return Decision.model_validate(given | {"version": version, "active": active})


def test_decisions_are_carried_out_and_kept(store: KernelStore) -> None:
    first = {"region=r1": decision("activate", 2, 2), "scene=home": decision("keep", None, None)}
    assert store.decide(first, store.active()) == first == store.decisions()
    assert store.active() == {"region=r1": 2}
    second = {"region=r1": decision("deactivate", None, None)}
    store.decide(second, store.active())
    assert store.active() == {}
    assert store.decisions() == first | second, "what another run decided stays"
    store.remove("region=r1")
    assert store.decisions() == {"scene=home": first["scene=home"]}


def test_what_was_pinned_or_changed_in_the_meantime_is_left_alone(store: KernelStore) -> None:
    before = store.active()
    store.pin("region=r1")
    pinned = store.decide({"region=r1": decision("deactivate", None, None)}, before)
    assert (pinned["region=r1"].outcome, pinned["region=r1"].active) == ("keep", 1)
    assert "pinned" in pinned["region=r1"].reason
    store.activate(CROSSED, 1)
    changed = store.decide({CROSSED: decision("keep", None, None)}, before)
    assert "changed by hand" in changed[CROSSED].reason
    assert store.active() == {"region=r1": 1, CROSSED: 1}
    assert store.decisions() == pinned | changed


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"half")])
def test_a_damaged_version_is_not_served_and_nothing_else_of_the_run_is(
    damage: Callable[[Path], object], store: KernelStore
) -> None:
    damage(store.folder / CROSSED / "1" / "weights.npz")
    made = {"region=r1": decision("deactivate", None, None), CROSSED: decision("activate", 1, 1)}
    with pytest.raises(InputError, match=r"weights\.npz: damaged") as error:
        store.decide(made, store.active())
    one_line(error)
    assert store.active() == {"region=r1": 1}
    assert store.decisions() == {}


def test_pins_come_and_go_and_are_of_known_domains(store: KernelStore) -> None:
    assert store.pinned() == set()
    for domain in ("region=r1", CROSSED, CROSSED):
        store.pin(domain)
    assert store.pinned() == {"region=r1", CROSSED}
    store.unpin(CROSSED)
    store.unpin(CROSSED)
    store.remove("region=r1")
    assert store.pinned() == set()
    for change in (store.pin, store.unpin):
        with pytest.raises(InputError, match="no kernel of domain 'region=r9'") as error:
            change("region=r9")
        one_line(error)


def test_a_domain_of_which_nothing_was_worth_storing_can_be_pinned(store: KernelStore) -> None:
    store.decide({"region=r9": decision("keep", None, None)}, {})
    store.pin("region=r9")
    assert store.pinned() == {"region=r9"}
    store.unpin("region=r9")
    assert store.pinned() == set()


@pytest.mark.parametrize("content", ["", "{", "{}", "[1]", '["../x"]', '"region=r1"'])
def test_a_damaged_pinned_json_is_refused_in_one_line(content: str, store: KernelStore) -> None:
    (store.folder / "pinned.json").write_text(content)
    for action in (store.pinned, lambda: store.pin("region=r1"), lambda: store.remove("region=r1")):
        with pytest.raises(InputError, match=r"pinned\.json") as error:
            action()
        one_line(error)
    assert store.domains() == ["region=r1", CROSSED]
    assert store.active() == {"region=r1": 1}


@pytest.mark.parametrize("content", ["", "[]", '{"all": 1}', '{"all": {"outcome": "maybe"}}'])
def test_damaged_decisions_are_one_line_and_the_next_run_writes_them_anew(
    content: str, store: KernelStore
) -> None:
    (store.folder / "decisions.json").write_text(content)
    with pytest.raises(InputError, match=r"decisions\.json") as error:
        store.decisions()
    one_line(error)
    made = {"region=r1": decision("keep", None, 1)}
    store.decide(made, store.active())
    assert store.decisions() == made


def test_a_version_that_holds_the_same_is_found(store: KernelStore) -> None:
    assert store.version_with("region=r1", random_kernel(SHAPE, 1), None) == 1, "the active one"
    assert store.version_with("region=r1", random_kernel(SHAPE, 2), None) == 2, "the newest one"
    assert store.version_with("region=r1", random_kernel(SHAPE, 9), None) is None
    assert store.version_with("region=r9", random_kernel(SHAPE, 1), None) is None
    (store.folder / "region=r1" / "1" / "weights.npz").write_bytes(b"half")
    assert store.version_with("region=r1", random_kernel(SHAPE, 1), None) is None
