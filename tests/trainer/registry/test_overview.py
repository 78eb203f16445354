"""What a list of kernels says of each, and why one was activated."""

from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.conftest import MANIFEST, SHAPE, auc_figures, bare_job, random_kernel
from trainer.evaluation.activation import passes_activation_rule
from trainer.registry.decision import decision, reason
from trainer.registry.kernel_manifest import KernelRecord
from trainer.registry.kernel_registry import KernelStore
from trainer.registry.overview import overview, overview_json, render_overview

ABOVE, BELOW, AROUND, UNDEFINED = [0.01, 0.02], [-0.02, -0.01], [-0.01, 0.01], "undefined"


def record(ctr: Any, ctcvr: Any) -> KernelRecord:
    judged = KernelRecord.model_validate({**MANIFEST, "validation": auc_figures(ctr, ctcvr)})
    return judged.model_copy(update={"activated": passes_activation_rule(judged.validation)})


@pytest.mark.parametrize(
    ("ctr", "ctcvr", "expected"),
    [
        (ABOVE, ABOVE, "activated: CTR- and CTCVR-AUC higher"),
        (ABOVE, AROUND, "activated: CTR-AUC higher"),
        (UNDEFINED, ABOVE, "activated: CTCVR-AUC higher"),
        (ABOVE, BELOW, "not activated: CTR-AUC higher, but CTCVR-AUC lower"),
        (BELOW, BELOW, "not activated: CTR- and CTCVR-AUC lower"),
        (AROUND, UNDEFINED, "not activated: no interval of CTR- and CTCVR-AUC lies above 0"),
        (
            UNDEFINED,
            UNDEFINED,
            "not activated: no interval: too few users or one outcome alone",
        ),
    ],
)
def test_the_reason_names_the_interval_that_decided(ctr: Any, ctcvr: Any, expected: str) -> None:
    found = record(ctr, ctcvr)
    assert f"{decision(found)}: {reason(found)}" == expected


def test_the_words_agree_with_the_rule() -> None:
    """Whatever the intervals: activated means something higher and nothing lower."""
    ends = [ABOVE, BELOW, AROUND, UNDEFINED, [0.0, 0.1], [-0.1, 0.0]]
    for ctr, ctcvr in product(ends, ends):
        found = record(ctr, ctcvr)
        assert found.activated == ("higher" in reason(found) and "lower" not in reason(found))


def test_without_figures_it_was_not_judged() -> None:
    assert reason(KernelRecord.model_validate({**MANIFEST, "validation": {}})) == "not judged"


@pytest.fixture
def store(tmp_path: Path) -> KernelStore:
    """Three versions of a domain, the second active; one of another, not activated."""
    store = KernelStore(bare_job(tmp_path))
    figures = auc_figures(ABOVE, AROUND)
    figures["ctr"]["auc"]["delta"] = 0.0151
    for seed in (1, 2, 3):
        judged = {"validation": figures, "rows": {"train": 1_000 * seed, "validation": 5}}
        store.add("scene=home", random_kernel(SHAPE, seed), MANIFEST | judged)
    store.activate("scene=home", 2)
    refused = {"validation": auc_figures(AROUND, UNDEFINED), "activated": False}
    store.add("all", random_kernel(SHAPE, 4), MANIFEST | refused)
    return store


def test_the_table_has_a_line_a_domain(store: KernelStore) -> None:
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    lines = [line.split("  ") for line in render_overview(overview(store)).splitlines()]
    cells = [[cell.strip() for cell in line if cell] for line in lines]
    assert cells == [
        [
            "domain",
            "active",
            "versions",
            "stored",
            "rows",
            "CTR-AUC gain",
            "CTCVR-AUC gain",
            "on validation",
        ],
        [
            "all",
            "-",
            "1",
            today,
            "10",
            "+0.00 [-1.00, +1.00]",
            "+0.00 [undefined]",
            "not activated: no interval of CTR- and CTCVR-AUC lies above 0",
        ],
        [
            "scene=home",
            "2",
            "1-3",
            today,
            "2,000",
            "+1.51 [+1.00, +2.00]",
            "+0.00 [-1.00, +1.00]",
            "activated: CTR-AUC higher",
        ],
    ]


def test_json_says_the_same(store: KernelStore) -> None:
    everything, home = overview_json(overview(store))
    assert datetime.fromisoformat(home.pop("stored")).tzinfo == UTC
    assert home == {
        "domain": "scene=home",
        "active": 2,
        "versions": [1, 2, 3],
        "version": 2,
        "rows": 2_000,
        "gain": {
            "ctr": {"delta": 0.0151, "ci95": [0.01, 0.02]},
            "ctcvr": {"delta": 0.0, "ci95": [-0.01, 0.01]},
        },
        "activated": True,
        "reason": "CTR-AUC higher",
    }
    assert (everything["active"], everything["version"]) == (None, 1)
    assert everything["gain"]["ctcvr"] == {"delta": 0.0, "ci95": None}


def test_a_damaged_manifest_is_a_line_like_any_other(store: KernelStore) -> None:
    (store.folder / "scene=home" / "2" / "manifest.json").write_text("{")
    lines = overview(store)
    assert "damaged: " in render_overview(lines).splitlines()[2]
    assert overview_json(lines)[1]["reason"].startswith("damaged: ")
    assert overview_json(lines)[1]["rows"] is None


def test_versions_with_gaps_are_told_apart(store: KernelStore) -> None:
    import shutil

    shutil.rmtree(store.folder / "scene=home" / "1")
    store.add("scene=home", random_kernel(SHAPE, 9), MANIFEST)
    shutil.rmtree(store.folder / "scene=home" / "3")
    assert " 2, 4 " in render_overview(overview(store)).splitlines()[2]
