"""The sections of the training step: that they run on small sizes, hand every peer the same
rows, and say what was not measured.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.speed import step, vocabulary
from benchmarks.speed.options import Options
from benchmarks.speed.peers import environments, handed
from benchmarks.speed.peers.handed import Column, Handed, learn_and_score, load_rows, save_rows
from benchmarks.speed.peers.with_keras import build
from configs import InputError, load_experiment
from tests.conftest import QUICKSTART

HANDED = Handed(
    (
        Column("item", "id", "item", 9, 0),
        Column("history", "ids", "item", 9, 3),
        Column("age", "number", "age", 0, 0),
    ),
    dimension=4,
    experts=2,
    expert_layers=(6, 5),
    tower_layers=(3,),
    batch_size=4,
    learning_rate=0.01,
    warm_rows=4,
    check_batches=2,
)


def rows(count: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(count)
    return {
        "item": generator.integers(0, 9, count).astype(np.int32),
        "history": generator.integers(0, 9, (count, 3)).astype(np.int32),
        "age": generator.standard_normal(count, np.float32),
        "click": np.ones(count, np.float32),
        "conversion": np.zeros(count, np.float32),
    }


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        ("tasks={a: {label: click}}", "a (click)"),
        ("tasks={a: {label: click}, b: {label: conversion}}", "a (click), b (conversion)"),
        (
            "tasks={a: {label: click}, b: {label: conversion, after: a}}",
            "a (click), b (conversion where click is 1)",
        ),
    ],
)
def test_other_tasks_than_the_peers_are_refused(tasks: str, words: str) -> None:
    with pytest.raises(InputError) as error:
        step.entire_space(load_experiment(QUICKSTART, [tasks, "score=a"]))
    assert str(error.value).endswith(f"expected these two, received {words}")


def test_the_step_is_measured_and_missing_peers_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(environments.VARIABLE, raising=False)
    figures = step.measure(Options(tmp_path / "no-logs", tmp_path, quick=True))
    for name in ("ours", "ours_with_attention", "ours_bfloat16", "plain_keras"):
        assert float(figures[f"{name}_rows_per_s"]) > 0
        assert 0.4 < float(figures[f"{name}_ctr_auc"]) < 1
    assert figures["best_peer"] == "plain_keras"
    assert (
        float(figures["ours_to_best_peer_ratio"])
        == figures["ours_rows_per_s"] / figures["plain_keras_rows_per_s"]
    )
    assert (
        float(figures["ours_bfloat16_to_best_peer_ratio"])
        == figures["ours_bfloat16_rows_per_s"] / figures["plain_keras_rows_per_s"]
    )
    assert figures["best_auc_is_of"] == "plain_keras"
    assert float(figures["plain_keras_to_best_peers_auc_seconds"]) > 0
    for name in ("ours", "ours_with_attention", "ours_bfloat16"):
        reached = figures[f"{name}_to_best_peers_auc_seconds"]
        assert str(reached).startswith("not in 2 epochs") or float(reached) > 0
    for peer in ("torch_rechub", "deepctr"):
        assert environments.VARIABLE in str(figures[f"{peer}_not_measured"])


def test_tables_are_measured() -> None:
    figures = vocabulary.measure(Options(Path(), Path(), quick=True))
    assert (
        figures["ours_largest_to_smallest_ratio"]
        == figures["ours_10000_rows_ms"] / figures["ours_1000_rows_ms"]
    )
    assert float(figures["plain_keras_10000_rows_ms"]) > 0


def test_what_is_handed_over_is_read_back(tmp_path: Path) -> None:
    HANDED.save(tmp_path)
    save_rows(tmp_path, "train", rows(7))
    assert Handed.load(tmp_path) == HANDED
    inputs, labels = load_rows(tmp_path, "train", HANDED)
    np.testing.assert_equal(inputs | labels, rows(7))


def test_warm_rows_are_learned_but_not_timed_nor_is_what_is_scored_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock by hand: compiling takes 50 s, a batch 2 s, scoring 100 s; ten rows are three
    batches, the first of them warms up.
    """
    for part in ("train", "validation"):
        save_rows(tmp_path, part, rows(10))
    seen, now = [], [0.0]
    monkeypatch.setattr(handed.time, "perf_counter", lambda: now[0])

    def learn(
        inputs: dict[str, np.ndarray], labels: dict[str, np.ndarray], after: Callable[[], None]
    ) -> None:
        seen.append(inputs["item"])
        assert len(labels["click"]) == len(inputs["history"])
        now[0] += 50.0 if len(seen) == 1 else 0.0
        for _ in range(0, len(inputs["item"]), 4):
            now[0] += 2.0
            after()

    def score(inputs: dict[str, np.ndarray]) -> np.ndarray:
        now[0] += 100.0
        return np.full((len(inputs["item"]), 2), len(seen))

    learn_and_score(tmp_path, "peer", learn, score, HANDED)
    np.testing.assert_array_equal(np.concatenate(seen[:2]), rows(10)["item"])
    np.testing.assert_array_equal(seen[2], rows(10)["item"])
    found = json.loads((tmp_path / "peer.json").read_text())
    rate = 6 / 4.0
    assert found["rows_per_s"] == rate
    warm = 4 / rate
    assert found["curve_seconds"] == pytest.approx([warm + at for at in (2, 4, 6, 10, 10)])
    np.testing.assert_array_equal(np.load(tmp_path / "peer.npy"), np.full((10, 2), 2))
    assert np.load(tmp_path / "peer_curve.npy")[:, 0, 0].tolist() == [2, 2, 3, 3, 3]


def test_seconds_to_the_best_auc_of_any_peer() -> None:
    found = step.seconds_to_best_peer(
        {
            "ours": [(1.0, 0.6), (2.0, 0.71), (3.0, 0.72)],
            "fast": [(0.5, 0.69), (1.5, 0.68)],
            "best": [(4.0, 0.7), (8.0, None)],
        },
        ["fast", "best"],
    )
    assert found == {
        "best_auc_of_a_peer": 0.7,
        "best_auc_is_of": "best",
        "ours_to_best_peers_auc_seconds": 2.0,
        "fast_to_best_peers_auc_seconds": "not in 2 epochs: 0.6900 at best",
        "best_to_best_peers_auc_seconds": 4.0,
    }


def test_plain_keras_has_the_same_widths() -> None:
    model = build(HANDED)
    width = 4 + 4 + 1
    expert, gate, tower = (width + 1) * 6 + 7 * 5, (width + 1) * 2, 6 * 3 + 4
    assert model.count_params() == 9 * 4 + 2 * expert + 2 * (gate + tower)
    click, both = model(
        {name: value for name, value in rows(5).items() if name in ("item", "history", "age")}
    )
    assert (both.numpy() < click.numpy()).all()


def test_a_peer_that_fails_is_told_with_its_last_line(tmp_path: Path) -> None:
    told = step._peer(
        "plain_keras",
        tmp_path / "nothing",
        Options(tmp_path, tmp_path, quick=True),
        ("click", "both"),
    )
    assert str(told).startswith("failed: FileNotFoundError")


def test_an_environment_that_cannot_be_made_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments.sys, "executable", str(tmp_path / "no-python"))
    monkeypatch.setenv(environments.VARIABLE, str(tmp_path))
    assert (
        environments.interpreter("deepctr", tmp_path, install=True)
        == "cannot be installed: FileNotFoundError"
    )
    (tmp_path / "deepctr").mkdir()
    (tmp_path / "deepctr" / "complete").touch()
    assert (
        environments.interpreter("deepctr", tmp_path, install=False)
        == tmp_path / "deepctr" / "bin" / "python"
    )
