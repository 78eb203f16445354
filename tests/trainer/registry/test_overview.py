"""What a list of kernels says of each, and why one was activated."""

from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.tasks import RANKING
from tests.trainer.conftest import MANIFEST, SHAPE, auc_figures, bare_job, random_kernel
from trainer.registry.decision import Decision
from trainer.registry.kernel_manifest import KernelRecord
from trainer.registry.kernel_registry import KernelStore
from trainer.registry.overview import overview, overview_json, render_overview

ABOVE, BELOW, AROUND, UNDEFINED = [0.01, 0.02], [-0.02, -0.01], [-0.01, 0.01], "undefined"


def record(ctr: Any, ctcvr: Any) -> KernelRecord:
    """As it was stored before there were decisions."""
    return KernelRecord.model_validate({**MANIFEST, "validation": auc_figures(ctr, ctcvr)})


@pytest.mark.parametrize(
    ("ctr", "ctcvr", "expected"),
    [
        (ABOVE, ABOVE, "CTR- and CTCVR-AUC higher"),
        (ABOVE, AROUND, "CTR-AUC higher"),
        (UNDEFINED, ABOVE, "CTCVR-AUC higher"),
        (ABOVE, BELOW, "CTR-AUC higher, but CTCVR-AUC lower"),
        (BELOW, BELOW, "CTR- and CTCVR-AUC lower"),
        (AROUND, UNDEFINED, "no interval of CTR- and CTCVR-AUC lies above 0"),
        (UNDEFINED, UNDEFINED, "no interval: too few users or one outcome alone"),
    ],
)
def test_of_older_kernels_the_reason_names_the_interval_that_decided(
    ctr: Any, ctcvr: Any, expected: str
) -> None:
    assert record(ctr, ctcvr).reason == expected


def test_the_words_agree_with_the_intervals() -> None:
    ends = [ABOVE, BELOW, AROUND, UNDEFINED, [0.0, 0.1], [-0.1, 0.0]]
    for ctr, ctcvr in product(ends, ends):
        reason = record(ctr, ctcvr).reason
        assert ("higher" in reason) == (ABOVE in (ctr, ctcvr))
        assert ("lower" in reason) == (BELOW in (ctr, ctcvr))


def test_without_figures_it_was_not_judged() -> None:
    assert KernelRecord.model_validate({**MANIFEST, "validation": {}}).reason == "not judged"


def test_what_was_decided_is_the_reason() -> None:
    made = {"outcome": "keep", "reason": "not better than all", "against": "all"}
    assert KernelRecord.model_validate({**MANIFEST, "decision": made}).reason == made["reason"]


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
    lines = [line.split("  ") for line in render_overview(overview(store), RANKING).splitlines()]
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
    everything, home = overview_json(overview(store), RANKING)
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
        "pinned": False,
        "decision": None,
    }
    assert (everything["active"], everything["version"]) == (None, 1)
    assert everything["gain"]["ctcvr"] == {"delta": 0.0, "ci95": None}


def decision(**given: Any) -> Decision:
    return Decision.model_validate({"outcome": "keep", "reason": "why", "against": "all"} | given)


def state(store: KernelStore, domain: str) -> str:
    return next(line.state for line in overview(store) if line.domain == domain)


def test_the_list_says_what_was_decided_last_while_it_holds(store: KernelStore) -> None:
    store.decide({"scene=home": decision(active=2)}, store.active())
    assert state(store, "scene=home") == "kept: why"
    store.activate("scene=home", 3)
    assert state(store, "scene=home") == "activated: CTR-AUC higher"
    store.deactivate("scene=home")
    assert state(store, "scene=home") == "deactivated by hand; when tuned: CTR-AUC higher"
    store.activate("all", 1)
    assert state(store, "all").startswith("activated by hand; when tuned: no interval")
    gone = decision(outcome="deactivate", reason="what was served is below backbone")
    store.decide({"all": gone}, store.active())
    assert state(store, "all") == "deactivated: what was served is below backbone"
    assert overview_json(overview(store), RANKING)[0]["decision"] == gone.model_dump(
        mode="json", exclude={"definition"}
    )


def test_the_list_shows_pins_and_domains_of_which_nothing_was_stored(store: KernelStore) -> None:
    store.pin("all")
    store.decide({"region=r9": decision(reason="no better than all, from which it started")}, {})
    store.pin("region=r9")
    lines = {line["domain"]: line for line in overview_json(overview(store), RANKING)}
    assert [name for name, line in lines.items() if line["pinned"]] == ["all", "region=r9"]
    nothing = lines["region=r9"]
    assert (nothing["versions"], nothing["version"], nothing["active"]) == ([], None, None)
    table = render_overview(overview(store), RANKING).splitlines()
    assert "pinned; not activated: no interval" in table[1]
    assert table[2].split() == [
        *("region=r9", *"-" * 6, "pinned;"),
        *["not", "activated:", "no", "better", "than", "all,", "from", "which", "it", "started"],
    ]


def test_a_damaged_manifest_is_a_line_like_any_other(store: KernelStore) -> None:
    (store.folder / "scene=home" / "2" / "manifest.json").write_text("{")
    lines = overview(store)
    assert "damaged: " in render_overview(lines, RANKING).splitlines()[2]
    assert overview_json(lines, RANKING)[1]["reason"].startswith("damaged: ")
    assert overview_json(lines, RANKING)[1]["rows"] is None


def test_a_damaged_active_version_is_no_sound_line(store: KernelStore) -> None:
    store.activate("scene=home", 2)
    weights = store.folder / "scene=home" / "2" / "weights.npz"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    line = overview_json(overview(store), RANKING)[1]
    assert line["active"] == 2 and line["reason"].startswith(f"damaged: {weights}: damaged: ")
    assert line["rows"] is None


def test_versions_with_gaps_are_told_apart(store: KernelStore) -> None:
    import shutil

    shutil.rmtree(store.folder / "scene=home" / "1")
    store.add("scene=home", random_kernel(SHAPE, 9), MANIFEST)
    shutil.rmtree(store.folder / "scene=home" / "3")
    assert " 2, 4 " in render_overview(overview(store), RANKING).splitlines()[2]
