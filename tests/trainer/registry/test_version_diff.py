"""What a comparison of two versions says: figures worked out by hand, and by their definitions."""

from pathlib import Path

import numpy as np
import pytest

from configs import InputError
from tests.trainer.conftest import MANIFEST, SHAPE, auc_figures, bare_job, one_line, random_kernel
from trainer.metrics.score_shift import shift_figures
from trainer.registry.kernel_registry import KernelStore
from trainer.registry.version_diff import Difference, ScoredRows, kernel_diff, render_diff

TASKS = ("ctr", "cvr", "ctcvr")


@pytest.fixture
def store(tmp_path: Path) -> KernelStore:
    return KernelStore(bare_job(tmp_path))


def add(
    store: KernelStore,
    seed: int,
    scores: list[float] | None,
    requests: str = "a",
) -> int:
    golden = scores and {"requests": requests, "scores": dict.fromkeys(TASKS, scores)}
    rows = {"train": 1_000 * seed, "validation": 5}
    return store.add(
        "all",
        random_kernel(SHAPE, seed),
        {**MANIFEST, "rows": rows},
        golden or None,
    )


def difference(store: KernelStore) -> Difference:
    return kernel_diff(store, "all", 1, 2)


def scored() -> ScoredRows:
    found = auc_figures([0.01, 0.02], "undefined")
    found["ctr"]["auc"] |= {"backbone": 0.625, "kernel": 0.75, "delta": 0.125}
    found["ctr"]["pcoc"] |= {"backbone": "undefined", "kernel": 1.2, "delta": "undefined"}
    return ScoredRows.model_validate(
        {"data": "later", "split": "test", "rows": 1_234, "figures": found}
    )


def test_weights_and_rows_stand_side_by_side_and_figures_of_other_rows_do_not(
    store: KernelStore,
) -> None:
    add(store, 1, [0.5, 0.1])
    add(store, 2, [0.25, 0.1])
    found = difference(store)
    first, second = random_kernel(SHAPE, 1)["weight_0"], random_kernel(SHAPE, 2)["weight_0"]
    norms = [np.linalg.norm(array) for array in (first, second, second - first)]
    assert list(found["weights"]["weight_0"].values()) == pytest.approx(norms)
    assert found["rows"]["train"] == {"first": 1_000, "second": 2_000}
    assert found["scored"] is found["validation"] is None
    text = render_diff(found)
    assert "no figures: give --data" in text
    assert "AUC" not in text
    lines = [line.split() for line in text.splitlines()]
    for line in (
        "all: version 1 -> version 2",
        "train 1,000 2,000",
        f"weight_0 {norms[0]:.4f} {norms[1]:.4f} {norms[2]:.4f}",
    ):
        assert line.split() in lines


def test_sentences_and_tables_fit_the_terminal(
    store: KernelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(store, 1, [0.5, 0.1])
    add(store, 2, [0.25, 0.1])
    for found in (difference(store), kernel_diff(store, "all", 1, 2, scored())):
        wide = set(render_diff(found).split())
        with monkeypatch.context() as patch:
            patch.setenv("COLUMNS", "60")
            text = render_diff(found)
        assert all(len(line) <= 60 for line in text.splitlines())
        assert set(text.split()) == wide


def test_figures_are_of_the_same_rows_and_say_which(store: KernelStore) -> None:
    add(store, 1, None)
    add(store, 2, None)
    found = kernel_diff(store, "all", 1, 2, scored())
    assert found["scored"] == {"data": "later", "split": "test", "rows": 1_234}
    assert list(found["validation"]) == list(TASKS)
    assert found["validation"]["ctr"]["auc"] == {
        "first": 0.625,
        "second": 0.75,
        "change": 0.125,
        "ci95": [0.01, 0.02],
    }
    text = render_diff(found)
    assert "1,234 rows of split 'test' of later" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["ctr", "AUC", "0.6250", "0.7500", "0.1250", "+0.0100", "to", "+0.0200"] in lines
    assert next(line for line in lines if line[:2] == ["ctr", "PCOC"])[:5] == [
        "ctr",
        "PCOC",
        "undefined",
        "1.2000",
        "undefined",
    ]


def test_the_slate_by_hand() -> None:
    found = shift_figures([0.5, 0.25, 0.75, 0.1], [0.25, 0.5, 0.75, 0.2])
    assert found["shift_mean"] == pytest.approx((-0.25 + 0.25 + 0.0 + 0.1) / 4)
    assert found["shift_max"] == pytest.approx(0.25)
    assert found["kendall_tau"] == pytest.approx((5 - 1) / 6)
    assert found["top_changed"] == 0
    moved = [
        0.5 * np.log(2) + 0.5 * np.log(0.5 / 0.75),
        0.25 * np.log(0.5) + 0.75 * np.log(0.75 / 0.5),
    ]
    moved.append(0.1 * np.log(0.5) + 0.9 * np.log(0.9 / 0.8))
    assert found["kl"] == pytest.approx(sum(moved) / 4)


def test_the_slate_by_its_definitions() -> None:
    generator = np.random.default_rng(1)
    first, second = generator.random((2, 64)).round(1).clip(0.05, 0.95)  # rounded: ties
    found = shift_figures(first, second)
    pairs = [
        (np.sign(a - b), np.sign(c - d))
        for a, c in zip(first, second, strict=True)
        for b, d in zip(first, second, strict=True)
    ]
    agreement, apart = (
        sum(x * y for x, y in pairs),
        [sum(pair[side] != 0 for pair in pairs) for side in (0, 1)],
    )
    assert found["kl"] == pytest.approx(
        (first * np.log(first / second) + (1 - first) * np.log((1 - first) / (1 - second))).mean()
    )
    assert found["kendall_tau"] == pytest.approx(agreement / np.sqrt(apart[0] * apart[1]))
    assert found["shift_p95"] == pytest.approx(np.quantile(abs(first - second), 0.95))


def test_the_head_of_the_slate() -> None:
    first = np.linspace(0.9, 0.1, 30)
    second = first.copy()
    second[[0, 5, 9]] = 0.01
    second[20] = 0.99
    assert shift_figures(first, second)["top_changed"] == 3
    assert shift_figures(first, first) == {
        "kl": 0.0,
        "shift_mean": 0.0,
        "shift_p95": 0.0,
        "shift_max": 0.0,
        "kendall_tau": 1.0,
        "top_changed": 0,
    }
    assert shift_figures(first, first[::-1])["kendall_tau"] == pytest.approx(-1.0)
    assert shift_figures(first, np.full(30, 0.5))["kendall_tau"] == 0.0
    assert shift_figures(np.zeros(3), np.ones(3))["kendall_tau"] == 1.0
    assert np.isfinite(shift_figures(np.zeros(3), np.ones(3))["kl"])


def test_golden_scores_are_compared_task_by_task(store: KernelStore) -> None:
    add(store, 1, [0.5, 0.1])
    add(store, 2, [0.25, 0.3])
    found = difference(store)
    assert list(found["golden"]) == list(TASKS)
    assert found["golden"]["cvr"] == shift_figures([0.5, 0.1], [0.25, 0.3])
    text = render_diff(found)
    assert ["Kendall's", "tau", "-1.0000", "-1.0000", "-1.0000"] in [
        line.split() for line in text.splitlines()
    ]


@pytest.mark.parametrize(("scores", "requests"), [(None, "a"), ([0.1, 0.2], "b")])
def test_other_requests_are_not_compared(
    scores: list[float] | None, requests: str, store: KernelStore
) -> None:
    add(store, 1, [0.5, 0.1])
    add(store, 2, scores, requests)
    found = difference(store)
    assert found["golden"] is None
    assert "not scored on the same ones" in render_diff(found)


def test_weights_of_other_shapes_have_no_change(store: KernelStore) -> None:
    wider = type(SHAPE)((5, 6, 1), "relu", True, "tower")
    add(store, 1, None)
    store.add("all", random_kernel(wider, 2), {**MANIFEST, "shape": wider.to_json()})
    found = difference(store)
    assert found["weights"]["weight_0"]["change"] is None
    assert (
        "-"
        in next(
            line for line in render_diff(found).splitlines() if line.startswith("weight_0")
        ).split()
    )


@pytest.mark.parametrize(("domain", "version"), [("all", 3), ("al", 1)])
def test_a_version_that_is_not_there(domain: str, version: int, store: KernelStore) -> None:
    add(store, 1, None)
    with pytest.raises(InputError, match=r"no (version|kernel)") as error:
        kernel_diff(store, domain, 1, version)
    one_line(error)
