"""The simulator: its probabilities are true, its logs say nothing they could not have known, its
folder is all or nothing.
"""

import json
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from configs import ConfigError, InputError, load_experiment
from configs.cli import run
from preprocessing import simulate as command
from preprocessing.logs.schema import raw_columns
from preprocessing.simulate import SIMULATION, simulate
from preprocessing.simulator.marketplace import Marketplace
from preprocessing.simulator.traffic import Histories, draw_candidates, draw_requests
from preprocessing.simulator.world import PERIOD_OF_HOUR, PERIODS, SCENES

QUICKSTART = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
SMALL = [
    "rows=24_000",
    "days=4",
    "users=400",
    "shops=100",
    "cuisines=6",
    "drift_start=2025-03-05T03:00:00Z",
]
DAYS = ["2025-03-03", "2025-03-04", "2025-03-05", "2025-03-06"]

Simulated = dict[str, np.ndarray[Any, Any]]


def experiment(*settings: str, seed: int = 17) -> Any:
    return load_experiment(
        QUICKSTART, [f"seed={seed}", *(f"simulation.{setting}" for setting in [*SMALL, *settings])]
    )


def read(folder: Path) -> Simulated:
    """Logs and truth side by side, in the order of the files, by column."""
    logs, truth = (
        pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob(glob))])
        for glob in ("*.parquet", "truth/*.parquet")
    )
    assert logs["impression_id"].equals(truth["impression_id"])
    return {name: table[name].to_numpy() for table in (logs, truth) for name in table.column_names}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("simulate") / "logs"
    simulate(experiment(), output)
    return output


@pytest.fixture(scope="module")
def rows(folder: Path) -> Simulated:
    return read(folder)


def z_score(label: np.ndarray[Any, Any], probability: np.ndarray[Any, Any]) -> float:
    probability = probability.astype(np.float64)
    return float((label - probability).sum() / np.sqrt((probability * (1 - probability)).sum()))


def test_draws_agree_with_their_probabilities(rows: Simulated) -> None:
    for name in ("ctr", "ctr_logged", "cvr", "ctcvr"):
        assert (rows[name] > 0).all() and (rows[name] < 1).all()
    clicked = rows["click"] == 1
    groups = [
        np.ones(len(clicked), bool),
        *(rows["position"] == position for position in range(1, 11)),
        *(rows["scene"] == scene for scene in SCENES),
    ]
    for group in groups:
        assert abs(z_score(rows["click"][group], rows["ctr_logged"][group])) < 4
        assert abs(z_score(rows["conversion"][group & clicked], rows["cvr"][group & clicked])) < 4


def test_a_conversion_needs_a_click_and_rates_are_as_set(rows: Simulated) -> None:
    assert not (rows["conversion"] > rows["click"]).any()
    assert 0.10 < rows["click"].mean() < 0.20
    assert 0.15 < rows["conversion"].sum() / rows["click"].sum() < 0.30


def test_best_reachable_auc_is_that_of_the_truth(rows: Simulated, folder: Path) -> None:
    best = json.loads((folder / SIMULATION).read_text())["best_auc"]["all"]
    clicked = rows["click"] == 1
    assert best["ctr"] == pytest.approx(roc_auc_score(rows["click"], rows["ctr"]), abs=1e-6)
    assert best["ctr_logged"] == pytest.approx(
        roc_auc_score(rows["click"], rows["ctr_logged"]), abs=1e-6
    )
    assert best["cvr"] == pytest.approx(
        roc_auc_score(rows["conversion"][clicked], rows["cvr"][clicked]), abs=1e-6
    )
    assert best["ctcvr"] == pytest.approx(
        roc_auc_score(rows["conversion"], rows["ctcvr"]), abs=1e-6
    )
    assert best["ctr"] > 0.7 and best["cvr"] > 0.7
    assert best["ctr_logged"] > best["ctr"] + 0.005


def test_a_history_is_the_clicks_of_earlier_hours_newest_first(rows: Simulated) -> None:
    clicks: dict[str, list[tuple[Any, str]]] = {}
    hours = rows["timestamp"].astype("datetime64[h]")
    columns = (rows["user_id"], hours, rows["history"], rows["shop_id"], rows["click"])
    longest = 0
    for user, hour, history, shop, click in zip(*columns, strict=True):
        earlier = [clicked for when, clicked in reversed(clicks.get(user, [])) if when < hour]
        assert list(history) == earlier[:20]
        longest = max(longest, len(history))
        if click:
            clicks.setdefault(user, []).append((hour, shop))
    assert longest == 20


def test_histories_push_the_oldest_out() -> None:
    histories = Histories(users=3, length=3)
    histories.add(np.array([0, 2, 0]), np.array([10, 11, 12]))
    histories.add(np.array([0, 0, 1]), np.array([13, 14, 15]))
    assert histories.shops.tolist() == [[14, 13, 12], [15, -1, -1], [11, -1, -1]]
    histories.add(np.full(5, 1), np.arange(5))
    histories.add(np.array([], int), np.array([], int))
    assert histories.shops[1].tolist() == [4, 3, 2]


def test_orders_are_counted_before_the_request(rows: Simulated) -> None:
    first_day = rows["timestamp"] < np.datetime64("2025-03-04T03:00:00")
    assert (
        not rows["shop_orders_last_day"][first_day].any()
        and rows["shop_orders_last_day"][~first_day].any()
    )
    assert not rows["user_orders"][rows["timestamp"] < np.datetime64("2025-03-03T04:00:00")].any()
    ordered: dict[str, int] = {}
    for user, order in zip(rows["user_id"], rows["conversion"], strict=True):
        ordered[user] = ordered.get(user, 0) + order
    last = dict(zip(rows["user_id"], rows["user_orders"], strict=True))
    assert all(last[user] <= count for user, count in ordered.items()) and max(last.values()) > 0


def test_the_first_position_is_clicked_more(rows: Simulated) -> None:
    by_position = [rows["click"][rows["position"] == position].mean() for position in (1, 3, 10)]
    assert by_position[0] > 1.3 * by_position[1] > 1.69 * by_position[2]
    examined = np.arange(1, 11) ** -0.5
    np.testing.assert_allclose(
        rows["ctr_logged"] / rows["ctr"],
        examined[rows["position"] - 1] / examined.mean(),
        rtol=1e-5,
    )


def test_candidates_are_distinct_open_and_of_the_region() -> None:
    settings = experiment("shops=80", "days=3").simulation
    marketplace = Marketplace(settings, settings.start, seed=3)
    shops, rng = marketplace.shops, np.random.default_rng(0)
    requests = draw_requests(settings, marketplace.users, settings.start, 500, rng)
    shown = draw_candidates(shops, requests, 0, settings.candidates, rng)
    assert (np.diff(np.sort(shown, axis=1), axis=1) > 0).all()
    assert (shops.first_day[shown] == 0).all() and (
        marketplace.users.first_day[requests.user] == 0
    ).all()
    assert (shops.region[shown] == requests.region[:, None]).all()


def test_traffic_is_heavy_tailed_and_some_arrive_late(rows: Simulated) -> None:
    for column, known in (("user_id", 400), ("shop_id", 100)):
        names, first, counts = np.unique(rows[column], return_index=True, return_counts=True)
        assert len(names) > 0.8 * known
        assert np.sort(counts)[-len(counts) // 10 :].sum() > 0.2 * counts.sum()
        late = rows["timestamp"][first] > np.datetime64("2025-03-04T03:00:00")
        assert 0.03 < late.mean() < 0.5


def cuisine_tastes(rows: Simulated, inside: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Mean log-odds of a click by cuisine."""
    odds = np.log(rows["ctr"] / (1 - rows["ctr"]))
    return np.array(
        [odds[inside & (rows["cuisine"] == f"c{cuisine}")].mean() for cuisine in range(6)]
    )


def test_shift_is_what_makes_scenes_differ(rows: Simulated, tmp_path: Path) -> None:
    def agreement(of: Simulated) -> float:
        tastes = [cuisine_tastes(of, of["scene"] == scene) for scene in SCENES]
        return float(np.corrcoef(tastes).min())

    settings = experiment("shift=0")
    simulate(settings, tmp_path / "same")
    assert agreement(read(tmp_path / "same")) > 0.9
    assert agreement(rows) < 0.7
    market = Marketplace(settings.simulation, settings.simulation.drift_start, settings.seed)
    assert not market.interests.before.any() and not market.interests.after.any()


def test_drift_moves_the_later_days(tmp_path: Path) -> None:
    def moved(drift: float) -> float:
        simulate(experiment(f"drift={drift}"), tmp_path / str(drift))
        rows = read(tmp_path / str(drift))
        day = rows["timestamp"].astype("datetime64[h]") - np.timedelta64(3, "h")
        early, late = day < np.datetime64(DAYS[2]), day >= np.datetime64(DAYS[3])
        return float(
            np.mean(
                [
                    np.abs(
                        np.subtract(
                            *(
                                cuisine_tastes(rows, when & (rows["scene"] == s))
                                for when in (early, late)
                            )
                        )
                    ).mean()
                    for s in SCENES
                ]
            )
        )

    assert moved(1.0) > 1.5 * moved(0.0)


def test_interests_stay_as_wide_while_they_move() -> None:
    market = Marketplace(experiment().simulation, experiment().simulation.start, seed=1)
    domain = np.arange(market.interests.before.shape[1])
    base = (
        market.interests.weights(0, domain, np.zeros(len(domain), np.float32))
        - market.interests.before[0]
    )
    spreads = [
        (market.interests.weights(0, domain, np.full(len(domain), angle, np.float32)) - base).std()
        for angle in (0.0, 0.6, np.pi / 2)
    ]
    assert max(spreads) < 1.3 * min(spreads)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_seed_decides_every_byte(folder: Path, tmp_path: Path) -> None:
    simulate(experiment(), tmp_path / "again")
    simulate(experiment(seed=18), tmp_path / "other")
    first, other = contents(folder), contents(tmp_path / "other")
    assert contents(tmp_path / "again") == first
    assert sorted(first) == sorted(
        [
            *(f"impressions-{day}.parquet" for day in DAYS),
            *(f"truth/{day}.parquet" for day in DAYS),
            SIMULATION,
        ]
    )
    assert all(first[name] != other[name] for name in first)


@pytest.mark.parametrize("wanted", [1_000, 12_345])
def test_rows_are_as_many_as_asked(wanted: int, tmp_path: Path) -> None:
    summary = simulate(experiment(), tmp_path / "logs", rows=wanted)
    assert (
        summary["rows"] == len(read(tmp_path / "logs")["click"]) == pytest.approx(wanted, rel=0.01)
    )
    assert json.loads((tmp_path / "logs" / SIMULATION).read_text())["simulation"]["rows"] == wanted


def test_a_foreign_folder_is_refused_and_an_earlier_simulation_replaced(tmp_path: Path) -> None:
    output = tmp_path / "logs"
    output.mkdir()
    simulate(experiment(), output, rows=500)
    (output / "impressions-1999-01-01.parquet").touch()
    simulate(experiment(), output, rows=500)
    assert not (output / "impressions-1999-01-01.parquet").exists()
    (output / SIMULATION).unlink()
    with pytest.raises(InputError, match=r"no _simulation\.json"):
        simulate(experiment(), output, rows=500)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        simulate(experiment(), tmp_path / "file", rows=500)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "logs"]


def test_a_run_that_breaks_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "logs"
    simulate(experiment(), output, rows=500)
    before = contents(output)

    def break_off(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "truth_table", break_off)
    with pytest.raises(KeyboardInterrupt):
        simulate(experiment(), output, rows=700)
    assert contents(output) == before and [path.name for path in tmp_path.iterdir()] == ["logs"]


def test_settings_that_cannot_be_are_one_line() -> None:
    with pytest.raises(
        ConfigError,
        match="simulation: 4 regions of 10 candidates need 80 shops, received shops: 79",
    ):
        experiment("shops=79")
    with pytest.raises(ConfigError, match=r"click_rate 0\.6 is out of reach"):
        experiment("click_rate=0.6")


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    def call(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["simulate", *arguments])
        with pytest.raises(SystemExit) as stopped:
            run(command.main)
            sys.exit(0)
        return int(stopped.value.code or 0)

    return call


def test_the_command(
    main: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "logs")
    sets = [part for setting in SMALL for part in ("--set", f"simulation.{setting}")]
    assert main("--config", str(QUICKSTART), "--output", output, "--rows", "500", *sets) == 0
    out = capsys.readouterr().out
    summary = json.loads((tmp_path / "logs" / SIMULATION).read_text())
    best = summary["best_auc"]["all"]
    lines = {line.split("  ")[0]: line.split() for line in out.splitlines()}
    assert lines["rows"] == ["rows", "500"]
    assert lines["clicks"] == ["clicks", f"{summary['ctr']:.2%}", "of", "rows"]
    assert lines["all"] == ["all", *(f"{best[task]:.4f}" for task in best)]
    assert set(summary["best_auc"]) <= set(lines)
    assert main("--help") == 0 and "--rows" in capsys.readouterr().out
    for wrong in (
        ["--config", str(QUICKSTART), "--set", "simulation=null"],
        ["--config", str(QUICKSTART), "--rows", "0"],
    ):
        assert main(*wrong, "--output", output) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "error" in error


def test_quickstart_describes_what_is_simulated(folder: Path) -> None:
    quickstart = load_experiment(QUICKSTART)
    settings = quickstart.simulation
    assert settings is not None
    logs = pq.read_schema(next(iter(sorted(folder.glob("*.parquet")))))
    assert set(raw_columns(quickstart)) <= set(logs.names)
    assert (
        logs.field("timestamp").type == pa.timestamp("us", "UTC")
        and logs.field("history").type.value_type == pa.string()
    )
    assert (
        quickstart.topics["period"].hours == PERIODS
        and quickstart.topics["period"].time_zone == settings.time_zone
    )
    assert quickstart.topics["scene"].values == SCENES
    assert quickstart.topics["region"].values == tuple(
        f"r{region + 1}" for region in range(settings.regions)
    )
    assert len(quickstart.domains) <= 30
    windows = sorted((split.start, split.end) for split in quickstart.splits.values())
    assert all(end <= start for (_, end), (start, _) in pairwise(windows))
    assert (
        windows[0][0] == settings.start and (windows[-1][1] - settings.start).days == settings.days
    )
    assert quickstart.evaluation.truth is not None
    assert set(folder.glob(quickstart.evaluation.truth.path)).isdisjoint(folder.glob("*.parquet"))
    assert quickstart.evaluation.truth.key in logs.names


def test_periods_cover_the_day_as_their_hours_say() -> None:
    for index, text in enumerate(PERIODS.values()):
        first, last = (int(part) for part in text.split("-"))
        hours = [(first + step) % 24 for step in range((last - first) % 24 + 1)]
        assert (PERIOD_OF_HOUR[hours] == index).all()
