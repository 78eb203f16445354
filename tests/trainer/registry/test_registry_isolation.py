"""What happens to one domain's kernel changes nothing of any other: no byte of the job
directory, no bit of a score.
"""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.preprocessing.shop_logs import digests
from trainer.job import Job
from trainer.registry.golden_scores import GoldenRows
from trainer.registry.kernel_registry import KernelStore

HOME, OTHER = "scene=home", "region=r1,scene=home"


@pytest.fixture
def job(job_copy: Path) -> Job:
    """The small job, with two versions of one scene's kernel; both helped, the second is active."""
    store = KernelStore(Job(job_copy))
    former = store.load(HOME, 1)
    assert store.versions(OTHER) == [1], "a name that ends like the other's"
    louder = {name: 2 * array for name, array in former.weights.items()}
    # what is the same is not stored twice
    other = former.manifest.model_copy(update={"activated": True, "seed": 18})
    for weights in (former.weights, louder):
        version = store.add(HOME, weights, other, former.golden)
        store.activate(HOME, version)
    return Job(job_copy)


def add(store: KernelStore) -> None:
    former = store.load(HOME, 1)
    store.add(
        HOME,
        {name: array + 1 for name, array in former.weights.items()},
        former.manifest,
        former.golden,
    )


CHANGES: dict[str, tuple[Callable[[KernelStore], object], set[str]]] = {
    "add": (
        add,
        {
            f"kernels/{HOME}/4/{name}"
            for name in ("weights.npz", "manifest.json", "golden.json", "backbone.json", "card.md")
        },
    ),
    "activate": (
        lambda store: store.activate(HOME, 1),
        {"kernels/active.json", "kernels/sums.json"},
    ),
    "roll back": (
        lambda store: store.rollback(HOME),
        {"kernels/active.json", "kernels/pinned.json", "kernels/sums.json"},
    ),
    "pin": (lambda store: store.pin(HOME), {"kernels/pinned.json", "kernels/sums.json"}),
    "unpin": (lambda store: store.unpin(HOME), set()),
    "deactivate": (
        lambda store: store.deactivate(HOME),
        {"kernels/active.json", "kernels/sums.json"},
    ),
    "remove": (
        lambda store: store.remove(HOME),
        {
            "kernels/active.json",
            "kernels/sums.json",
            "kernels/decisions.json",
            *(
                f"kernels/{HOME}/{version}/{name}"
                for version in (1, 2, 3)
                for name in (
                    "weights.npz",
                    "manifest.json",
                    "golden.json",
                    "backbone.json",
                    "card.md",
                )
            ),
        },
    ),
}


@pytest.mark.parametrize(("change", "touched"), CHANGES.values(), ids=CHANGES)
def test_no_other_file_changes_and_no_other_score(
    change: Callable[[KernelStore], object], touched: set[str], job: Job, frozen: keras.Model
) -> None:
    store, golden = KernelStore(job), GoldenRows.open(job, frozen)

    def scores() -> dict[str, object]:
        kernels = {
            domain: store.active_or_newest(domain) for domain in store.domains() if domain != HOME
        }
        return {
            domain: golden.scores_for(kernel.shape, kernel.weights)
            for domain, kernel in kernels.items()
            if kernel
        }

    before, scored, active = digests(job.folder), scores(), store.active()
    times = {
        path: path.stat().st_mtime_ns
        for path in job.folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }
    change(store)
    after = digests(job.folder)
    assert {
        name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    } - {"history.jsonl"} == touched
    written = {
        str(path.relative_to(job.folder))
        for path, moment in times.items()
        if path.exists() and path.stat().st_mtime_ns != moment
    }
    state = {"kernels/active.json", "kernels/decisions.json", "kernels/sums.json", "history.jsonl"}
    assert written <= state, "not even written anew"
    assert scores() == scored
    assert len(scored) == len(store.domains()) - (HOME in store.domains()) > 5
    assert {name: version for name, version in store.active().items() if name != HOME} == {
        name: version for name, version in active.items() if name != HOME
    }


def test_the_scores_that_change_are_those_of_the_domain(job: Job, frozen: keras.Model) -> None:
    store, golden = KernelStore(job), GoldenRows.open(job, frozen)
    louder, former = store.load(HOME, 3), store.load(HOME, 2)
    one, other = (
        golden.scores_for(kernel.shape, kernel.weights)["scores"]["ctr"]
        for kernel in (former, louder)
    )
    assert np.abs(np.subtract(one, other)).max() > 0
    assert store.rollback(HOME) == 2
    active = store.active_or_newest(HOME)
    assert active
    assert golden.scores_for(active.shape, active.weights)["scores"]["ctr"] == one
