"""The online test: what is drawn agrees with the truth, a better ranking sells more, no
difference is no lift, and servers are asked.
"""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

import json
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from benchmarks.figures.tables import study_table
from benchmarks.online import __main__ as command
from benchmarks.online import trial
from benchmarks.online.compare import FIGURES, in_treatment, sums_by_user, view
from benchmarks.online.play import Luck, play
from benchmarks.online.scores import server_scores
from benchmarks.online.table import WIDEST, render
from benchmarks.online.traffic import Traffic, draw_traffic
from benchmarks.online.trial import online_test, views
from configs import ConfigError, Experiment, InputError
from configs.cli import run
from configs.files import read_object
from preprocessing.logs.schema import served_columns
from serving.selfcheck import running_server
from tests.conftest import QUICKSTART, SMALL
from tests.trainer.reports.made_results import make_result
from trainer.job import Job

REQUESTS, CANDIDATES = 3_000, 20


@pytest.fixture(scope="session")
def world(experiment: Experiment, logs: Path) -> Experiment:
    """The small experiment, with its logs where the config says."""
    return experiment.model_copy(
        update={"data": experiment.data.model_copy(update={"input": str(logs / "*.parquet")})}
    )


@pytest.fixture(scope="session")
def traffic(experiment: Experiment) -> Traffic:
    return draw_traffic(experiment, REQUESTS, CANDIDATES, seed=5)


@pytest.fixture(scope="module")
def target(models_dir: Path) -> Iterator[str]:
    """Address of a server that the tests share; it calls the model ``online``."""
    with running_server(models_dir, "online") as address:
        yield address


@pytest.fixture(scope="session")
def result(world: Experiment, job_dir: Path, models_dir: Path) -> dict[str, Any]:
    return online_test(world, Job(job_dir), models_dir, requests=60, candidates=CANDIDATES)


def three_candidates() -> Traffic:
    """One request of user 4 with three candidates, of which two are shown; the marketplace plays
    no part.
    """
    row = {
        "attraction": np.array([[0.5, 0.25, 1.0]], np.float32),
        "order_rate": np.array([[0.5, 1.0, 0.1]], np.float32),
        "money": np.array([[10.0, 20.0, 40.0]], np.float32),
    }
    return Traffic(
        marketplace=None,
        days=(),
        hours=(),
        user=np.array([4]),
        examination=np.array([1.0, 0.5], np.float32),
        **row,
    )  # type: ignore[arg-type]


def luck(looks: list[float], clicks: list[float], orders: list[float]) -> Luck:
    return Luck(*(np.array([values], np.float32) for values in (looks, clicks, orders)))


# ---- traffic


def test_traffic_is_of_the_split_and_candidates_are_distinct_shops_of_the_region(
    experiment: Experiment, traffic: Traffic
) -> None:
    split, shops = experiment.splits["test"], traffic.marketplace.shops
    assert [day.isoformat() for day in traffic.days] == ["2025-03-08"]
    time, region = (
        np.concatenate([getattr(offers.requests, name) for offers in traffic.hours])
        for name in ("time", "region")
    )
    shop = np.concatenate([offers.shop for offers in traffic.hours])
    assert (
        (time >= split.start.timestamp() * 1e6).all()
        and (time < split.end.timestamp() * 1e6).all()
        and (np.diff(time) >= 0).all()
    )
    assert (
        shop.shape == traffic.attraction.shape == traffic.order_rate.shape == (REQUESTS, CANDIDATES)
    )
    assert (np.diff(np.sort(shop, axis=1), axis=1) > 0).all() and (
        shops.region[shop] == region[:, None]
    ).all()
    np.testing.assert_array_equal(traffic.money, 10 * shops.price_level[shop])
    assert len(traffic.examination) == 10 and traffic.examination[3] == 0.5


def test_requests_and_slates_are_functions_of_the_seed_and_the_world_is_not(
    experiment: Experiment, traffic: Traffic
) -> None:
    again, other = (draw_traffic(experiment, REQUESTS, CANDIDATES, seed) for seed in (5, 6))
    for one, same in zip(traffic.hours, again.hours, strict=True):
        np.testing.assert_array_equal(one.shop, same.shop)
        np.testing.assert_array_equal(one.history, same.history)
    np.testing.assert_array_equal(traffic.attraction, again.attraction)
    assert not np.array_equal(traffic.user, other.user)
    np.testing.assert_array_equal(traffic.marketplace.users.taste, other.marketplace.users.taste)
    np.testing.assert_array_equal(
        traffic.marketplace.interests.after, other.marketplace.interests.after
    )


def test_features_are_what_the_logs_hold_at_the_beginning_of_the_day(
    experiment: Experiment, traffic: Traffic, logs: Path
) -> None:
    columns = served_columns(experiment)
    live = [row for table in traffic.tables(columns) for row in table.to_pylist()]
    logged = pq.read_table(logs / "impressions-2025-03-08.parquet").to_pylist()
    by_shop = {row["shop_id"]: row for row in logged}
    by_user = {row["user_id"]: row for row in reversed(logged)}
    first_hour = {row["user_id"]: row for row in logged if row["timestamp"].hour == 3}
    assert (
        len(live) == REQUESTS * CANDIDATES
        and set(live[0]) == {column.name for column in columns}
        and len(first_hour) > 3
    )
    for row in live:
        if shop := by_shop.get(row["shop_id"]):
            for name in ("cuisine", "rating", "shop_orders_last_day"):
                assert row[name] == shop[name]
            assert row["price_level"] == str(shop["price_level"])
        if user := by_user.get(row["user_id"]):
            assert row["segment"] == user["segment"] and row["user_orders"] <= user["user_orders"]
        if user := first_hour.get(row["user_id"]):
            assert row["history"] == user["history"] and row["user_orders"] == user["user_orders"]
    assert any(row["history"] for row in live) and any(row["user_orders"] for row in live)


@pytest.mark.parametrize("candidates", [9, 21])
def test_a_slate_that_cannot_be_is_refused(experiment: Experiment, candidates: int) -> None:
    with pytest.raises(
        InputError, match=rf"from 10 \(what is shown\) to 20 .*received {candidates}$"
    ):
        draw_traffic(experiment, 10, candidates, seed=1)


def test_a_world_is_needed(experiment: Experiment) -> None:
    with pytest.raises(ConfigError, match="no 'simulation' section"):
        draw_traffic(experiment.model_copy(update={"simulation": None}), 10, CANDIDATES, seed=1)


# ---- what comes of a ranking


def test_a_request_by_hand() -> None:
    traffic, scores = three_candidates(), np.array([[0.2, 0.1, 0.3]], np.float32)
    drawn, expected = play(traffic, scores, luck([0.9, 0.4], [0.49, 0.0, 0.9], [0.4, 0.0, 0.2]))
    # Shown: candidate 2 (looked at, clicked, 0.2 >= 0.1: no order), then candidate 0 (0.4 < 0.5:
    # looked at, clicked, ordered).
    assert drawn.tolist() == [[2, 1, 10]]
    np.testing.assert_allclose(expected, [[1.0 + 0.25, 0.1 + 0.125, 4.0 + 1.25]], rtol=1e-6)
    unseen, _ = play(traffic, scores, luck([0.9, 0.5], [0.49, 0.0, 0.9], [0.4, 0.0, 0.2]))
    assert unseen.tolist() == [[1, 0, 0]]


def test_among_equals_the_logging_policy_decides() -> None:
    _, expected = play(
        three_candidates(), np.zeros((1, 3), np.float32), luck([0, 0], [0, 0, 0], [0, 0, 0])
    )
    np.testing.assert_allclose(expected[:, 0], 0.5 + 0.5 * 0.25)


def test_draws_agree_with_the_truth(traffic: Traffic) -> None:
    scores = np.random.default_rng(3).random(traffic.order_rate.shape, np.float32)
    drawn, expected = play(traffic, scores, Luck.draw(traffic, 11))
    shown = np.argsort(-scores, axis=1)[:, :10]
    click, order_rate = (
        np.take_along_axis(values, shown, axis=1).astype(float)
        for values in (traffic.attraction, traffic.order_rate)
    )
    click *= traffic.examination
    np.testing.assert_allclose(
        expected[:, :2],
        np.stack([click.sum(axis=1), (click * order_rate).sum(axis=1)], axis=1),
        rtol=1e-5,
    )
    for column, probability in enumerate((click, click * order_rate)):
        z = (drawn[:, column] - expected[:, column]).sum() / np.sqrt(
            (probability * (1 - probability)).sum()
        )
        assert abs(z) < 4
    assert (drawn[:, 1] <= drawn[:, 0]).all()
    again, _ = play(traffic, scores, Luck.draw(traffic, 11))
    other, _ = play(traffic, scores, Luck.draw(traffic, 12))
    np.testing.assert_array_equal(drawn, again)
    assert not np.array_equal(drawn, other)


# ---- comparisons


def test_figures_by_hand() -> None:
    user = np.array([7, 2, 7, 2, 2])
    outcomes = np.array([[1, 0, 0], [2, 1, 10], [3, 2, 50], [0, 0, 0], [4, 3, 60]], float)
    sums = sums_by_user(user, outcomes)
    assert sums.tolist() == [[3, 6, 4, 70], [2, 4, 2, 50]]
    better = sums * [1, 1, 1.5, 3]
    found = view({"control": sums, "treatment": better}, shown=10, seed=1, paired=True)
    control, treatment, lift = found["arms"]["control"], found["arms"]["treatment"], found["lift"]
    assert (control["requests"], control["users"]) == (5, 2) and "reach" not in found
    assert [control["figures"][name]["value"] for name in FIGURES] == [10 / 50, 6 / 5, 120 / 5]
    assert [treatment["figures"][name]["value"] for name in FIGURES] == pytest.approx(
        [10 / 50, 9 / 5, 360 / 5]
    )
    assert [lift[name]["value"] for name in FIGURES] == pytest.approx([0, 0.5, 2])
    # In every resample the treatment is as much better, so nothing is left to chance; a rate lies
    # between those of the two users.
    assert lift["gmv"]["ci95"] == pytest.approx([2, 2])
    assert control["figures"]["order_rate"]["ci95"] == pytest.approx([2 / 2, 4 / 3])


def test_reach_is_the_way_from_random_to_true() -> None:
    base = np.array([[2.0, 2, 1, 10], [2.0, 4, 1, 10]])
    arms = {
        name: base * [1, times, times, times]
        for name, times in (("random", 1), ("control", 2), ("treatment", 2.5), ("true", 3))
    }
    reach = view(arms, shown=10, seed=1, paired=True)["reach"]
    assert reach["control"]["order_rate"]["value"] == pytest.approx(0.5)
    assert reach["control"]["order_rate"]["ci95"] == pytest.approx([0.5, 0.5])
    assert reach["treatment"]["gmv"]["value"] == pytest.approx(0.75)


def test_what_is_not_known_is_none() -> None:
    sums = np.array([[1.0, 1, 0, 0], [1.0, 0, 0, 0]])
    found = view({"control": sums, "treatment": sums}, shown=10, seed=1, paired=True)
    assert found["lift"]["order_rate"] == {"value": None, "ci95": None}
    alone = view({"control": sums[:1], "treatment": sums[:1]}, shown=10, seed=1, paired=False)
    assert alone["lift"]["click_rate"] == {"value": 0.0, "ci95": None}


def test_an_interval_is_as_wide_as_the_spread_of_users_says() -> None:
    orders = np.random.default_rng(0).normal(5.0, 1.0, 400)
    ones = np.ones_like(orders)
    low, high = view(
        {"control": (sums := np.stack([ones, ones, orders, ones], axis=1)), "treatment": sums},
        10,
        1,
        paired=True,
    )["arms"]["control"]["figures"]["order_rate"]["ci95"] or (0.0, 0.0)
    assert high - low == pytest.approx(2 * 1.96 * orders.std() / 20, rel=0.1)


def test_users_stay_in_their_arm() -> None:
    user = np.tile(np.arange(2_000), 2)
    treated = in_treatment(user, seed=1)
    np.testing.assert_array_equal(treated[:2_000], treated[2_000:])
    assert abs(treated.mean() - 0.5) < 0.05
    assert 0.4 < (in_treatment(user, seed=2) == treated).mean() < 0.6


def test_the_truth_sells_more_than_chance_and_the_same_arm_twice_is_no_lift(
    traffic: Traffic,
) -> None:
    truth, chance = (
        traffic.attraction * traffic.order_rate,
        np.random.default_rng(1).random(traffic.order_rate.shape, np.float32),
    )
    treated, fate = in_treatment(traffic.user, 5), Luck.draw(traffic, 2)
    found = views(
        traffic,
        {"random": chance, "control": chance, "treatment": truth, "true": truth},
        fate,
        treated,
        seed=3,
    )
    for name in ("split_users", "paired", "expected"):
        low, high = found[name]["lift"]["order_rate"]["ci95"] or (0.0, 0.0)
        assert 0.1 < low < high
    reach = found["expected"]["reach"]
    assert (
        reach["control"]["order_rate"]["value"] == 0.0
        and reach["treatment"]["order_rate"]["value"] == 1.0
    )

    null = views(
        traffic,
        {"random": chance, "control": truth, "treatment": truth, "true": truth},
        fate,
        treated,
        seed=3,
    )
    assert (
        null["paired"]["lift"]["gmv"]
        == null["expected"]["lift"]["gmv"]
        == {"value": 0.0, "ci95": [0.0, 0.0]}
    )
    for figure in FIGURES:
        low, high = null["split_users"]["lift"][figure]["ci95"] or (1.0, 1.0)
        assert low < 0 < high
    sizes = {name: arm["requests"] for name, arm in null["split_users"]["arms"].items()}
    assert sizes == {"control": int((~treated).sum()), "treatment": int(treated.sum())}


def test_an_arm_needs_users(traffic: Traffic) -> None:
    same = dict.fromkeys(("random", "control", "treatment", "true"), traffic.order_rate)
    with pytest.raises(InputError, match="fell into one arm"):
        views(traffic, same, Luck.draw(traffic, 1), np.ones(REQUESTS, bool), seed=1)


# ---- with a server


def test_the_server_is_asked_for_every_candidate(
    experiment: Experiment, models_dir: Path, target: str
) -> None:
    traffic, columns = draw_traffic(experiment, 100, CANDIDATES, seed=2), served_columns(experiment)
    domains = ["backbone", "auto", "backbone"]
    scores, served = server_scores(target, "online", traffic, columns, domains, "ctcvr")
    signature = tf.saved_model.load(str(models_dir / "1")).signatures["serving_default"]
    rows = [row for table in traffic.tables(columns) for row in table.to_pylist()]
    assert len(rows) == 2_000 and set(scores) == {"auto", "backbone"}
    for domain, values in scores.items():
        inputs: dict[str, tf.Tensor] = {"domain": tf.constant([domain] * len(rows))}
        for name, info in signature.structured_input_signature[1].items():
            if name == "history":
                inputs[name] = tf.ragged.constant(
                    [row[name] for row in rows], ragged_rank=1, dtype=tf.string
                ).to_tensor("")
            elif name != "domain":
                inputs[name] = tf.constant([row[name] for row in rows], info.dtype)
        expected = signature(**inputs)
        np.testing.assert_allclose(values.ravel(), expected["ctcvr"].numpy(), rtol=1e-4, atol=1e-6)
        names, counts = np.unique(expected["served_domain"].numpy().astype(str), return_counts=True)
        assert served[domain] == dict(zip(names.tolist(), counts.tolist(), strict=True))
    assert set(served["backbone"]) == {"backbone"}


def test_a_run_says_what_was_asked_and_its_table_shows_it(
    result: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (result["requests"], result["candidates"], result["shown"]) == (60, CANDIDATES, 10)
    assert (result["control"], result["treatment"], result["rank_by"], result["offline"]) == (
        "backbone",
        "auto",
        "ctcvr",
        None,
    )
    assert set(result["views"]["paired"]["arms"]) == {"random", "control", "treatment", "true"}
    assert all(sum(counts.values()) == 60 * CANDIDATES for counts in result["served"].values())
    best = result["views"]["expected"]["arms"]
    assert best["true"]["figures"]["order_rate"]["value"] == max(
        arm["figures"]["order_rate"]["value"] for arm in best.values()
    )
    json.dumps(result, allow_nan=False)
    table = render(result)
    assert (
        "60 live requests" in table
        and "offline: not evaluated" in table
        and "control backbone: 0.0%" in table
    )
    for figure in ("click_rate", "order_rate", "gmv"):
        value = result["views"]["paired"]["lift"][figure]["value"]
        assert f"{value:+.2%}" in table
    monkeypatch.setenv("COLUMNS", "80")
    narrow = render(result)
    assert max(map(len, narrow.splitlines())) <= 80
    assert f"{value:+.2%}" in narrow


def test_the_table_shows_what_offline_promised(result: dict[str, Any]) -> None:
    metric = {"backbone": 0.61, "kernel": 0.6223, "best": 0.7}
    offline = {
        "split": "test",
        "ctr": {"auc": metric, "gauc": metric},
        "ctcvr": {"auc": metric, "gauc": {**metric, "kernel": "undefined"}},
    }
    table = render({**result, "offline": offline})
    assert (
        "CTR   AUC  0.6100 -> 0.6223 (+1.23 points), best 0.7000" in table
        and "CTCVR GAUC" not in table
    )


def test_the_command(
    world: Experiment,
    job_copy: Path,
    models_dir: Path,
    target: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(trial, "running_server", lambda *_: nullcontext(target))

    def call(*more: str) -> int:
        settings = [*SMALL, f"data.input={world.data.input}"]
        sets = [word for setting in settings for word in ("--set", setting)]
        words = [
            "--config",
            str(QUICKSTART),
            *sets,
            "--job-dir",
            str(job_copy),
            "--models",
            str(models_dir),
            "--candidates",
            "20",
            *more,
        ]
        monkeypatch.setattr(sys, "argv", ["online", *words])
        with pytest.raises(SystemExit) as stopped:
            run(command.main)
            sys.exit(0)
        return int(stopped.value.code or 0)

    metrics = make_result()
    figures = metrics["overall"]["ctr"]
    (job_copy / "reports").mkdir(exist_ok=True)
    (job_copy / "reports" / "metrics.json").write_text(json.dumps(metrics))
    assert (
        call(
            "--requests",
            "30",
            "--rank-by",
            "ctr",
            "--seed",
            "3",
            "--json",
            "--output",
            str(tmp_path / "out"),
            "--report",
            str(tmp_path / "online" / "report.json"),
        )
        == 0
    )
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert json.loads((tmp_path / "out" / "online.json").read_text()) == result
    report = read_object(tmp_path / "online" / "report.json", "sections")
    monkeypatch.setenv("COLUMNS", "80")  # a page is as wide, whoever writes it
    assert study_table(report, "online/test/0") == render(result, WIDEST)
    assert (
        result["rank_by"] == "ctr"
        and result["seed"] == 3
        and result["offline"]["ctr"]["auc"] == {**figures["auc"], "best": 0.7654}
    )
    assert "rows/s" in printed.err

    (tmp_path / "empty").mkdir()
    for wrong, message in (
        (
            ["--treatment", "scene=moon"],
            "'scene=moon' is no domain of the config; it has: auto, backbone, all",
        ),
        (["--candidates", "21"], "received 21"),
        (["--models", str(tmp_path / "empty")], "no version of a model"),
        (["--job-dir", str(tmp_path / "empty")], "run python -m trainer.task pretrain first"),
        (
            ["--rank-by", "cvr"],
            "'cvr' is no task over all rows to rank by; the config has: ctr, ctcvr",
        ),
        (
            ["--set", "tasks={view: {label: click}}"],
            "what is simulated are clicks and conversions after them; expected a task with label"
            " 'click', and one after it with label 'conversion', received view (click)",
        ),
        (
            ["--set", "tasks={v: {label: click}, o: {label: conversion, after: v}}"],
            "trained for ctr (click), cvr (conversion where click is 1), ctcvr (conversion);",
        ),
        (["--requests", "0"], "received 0"),
        (["--set", "simulation.shift=1"], "trained on another marketplace"),
        (["--set", "seed=18"], "these logs were simulated with another"),
    ):
        assert call(*wrong) == 2
        printed = capsys.readouterr()
        assert printed.err.count("\n") == 1 and message in printed.err and not printed.out
