"""The windows of a replay, and what is made of its scores."""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

import sys
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest

from benchmarks.figures.tables import study_table
from benchmarks.method.text import MISSING
from benchmarks.onward import __main__ as command
from benchmarks.onward.arms import Arms
from benchmarks.onward.days import DAY, NEXT, Replay, settings
from benchmarks.onward.summary import (
    ARMS,
    KERNELS,
    ONWARD,
    SCRATCH,
    SUMMARY,
    render,
    summarise,
)
from benchmarks.onward.tables import read_beside, tables
from configs import Experiment, InputError, load_experiment
from configs.files import read_object, write_json
from tests.conftest import QUICKSTART, SMALL
from trainer.job import Job
from trainer.metrics.task_metrics import task_metrics

REPLAY = Replay(datetime.fromisoformat("2025-03-03T03:00:00Z"), 4, 8)


def test_every_row_is_learned_once_and_no_judge_is_learned_from() -> None:
    days = list(REPLAY.learned())
    assert days == list(range(5, 13))
    end = REPLAY.scratch(REPLAY.first)["pretrain"][1]
    for day in days:
        onward, scratch = REPLAY.onward(day), REPLAY.scratch(day)
        assert onward["pretrain"][0] == end, "no gap, and nothing twice"
        end = onward["pretrain"][1]
        assert scratch["pretrain"] == (REPLAY.start, end)
        arms = [onward, scratch, REPLAY.kernels(day) or REPLAY.frozen(day)]
        for windows in arms:
            assert windows[NEXT] == (REPLAY.ends(day), REPLAY.ends(day) + DAY)
            assert list(REPLAY.read(windows, NEXT)) == [day + 1]
            # the config's own rules: windows that judge overlap none that is learned from
            load_experiment(QUICKSTART, [*SMALL, settings(windows), f"evaluation.split={NEXT}"])
            assert (
                max(stop for name, (_, stop) in windows.items() if name != NEXT)
                <= (windows[NEXT][0])
            )
        tuned = REPLAY.kernels(day)
        if tuned:
            assert tuned["finetune"][0] >= REPLAY.ends(REPLAY.first)
            assert tuned["finetune"][1] == tuned["validation"][0]
    assert REPLAY.kernels(days[0]) is None
    assert list(REPLAY.read(REPLAY.onward(6), *REPLAY.onward(6))) == [5, 6, 7]


def scores(folder: Path, day: int, shift: float, users: int = 0) -> Path:
    random = np.random.default_rng(day)
    click = (random.random(400) < 0.4).astype(np.float32)
    order = click * (random.random(400) < 0.5)
    noise = random.standard_normal((400, 2))
    arrays = {
        "logits": (noise + shift * np.stack([click, order], 1)).astype(np.float32),
        "label/click": click,
        "label/conversion": order.astype(np.float32),
        "row/weight": np.ones(400, np.float32),
        "row/request": np.arange(400) // 4,
        "row/user": users + np.arange(400) // 8,
        "row/timestamp": np.arange(400),
    }
    path = folder / f"{day}-{shift}-{users}.npz"
    np.savez(path, **arrays)
    return path


def test_days_are_averaged_and_costs_added_up(experiment: Experiment, tmp_path: Path) -> None:
    shifts = {SCRATCH: 1.0, ONWARD: 1.5, KERNELS: 0.5}
    paths = {
        day: {arm: scores(tmp_path, day, shift) for arm, shift in shifts.items()} for day in (5, 6)
    }
    costs = {
        f"{day}/{arm}": {"data": 1.0, "training": 10.0 if arm == SCRATCH else 2.0}
        for day in (5, 6)
        for arm in ARMS
    }
    found = summarise(experiment, paths, costs)
    aucs = {arm: [day["arms"][arm]["auc"]["ctr"] for day in found["days"]] for arm in ARMS}
    with np.load(paths[5][ONWARD]) as held:
        expected = task_metrics(
            held["label/click"],
            1 / (1 + np.exp(-held["logits"][:, 0].astype(np.float64))),
            None,
            held["row/request"],
        )["auc"]
    assert aucs[ONWARD][0] == pytest.approx(expected)
    for key, other in (("over_scratch", SCRATCH), ("over_kernels", KERNELS)):
        gain = found["mean"]["ctr"][key]
        apart = 100 * (np.mean(aucs[ONWARD]) - np.mean(aucs[other]))
        assert gain["points"] == pytest.approx(apart)
        assert gain["ci95"][0] < gain["points"] < gain["ci95"][1]
    assert found["cost"][SCRATCH] == {"data": 2.0, "training": 20.0}
    assert found["training_share"] == pytest.approx(0.2)
    assert "CTR, gone on over from scratch: +" in render(found)

    other = found | {"settings": ["growth.rate=0.5", "growth.epochs=2"]}
    sections = tables(found, [other], date(2017, 10, 1))
    days, mean, settings = ([row["cells"] for row in of[0]["rows"]] for of in sections.values())
    assert [row[0] for row in days] == ["10-06", "10-07"]  # the day after the one learned last
    ctr, ctcvr = (found["days"][0]["arms"][ONWARD]["auc"][task] for task in ("ctr", "ctcvr"))
    assert days[0][2] == f"{ctr:.4f} / {ctcvr:.4f}"
    assert days[0][4:] == [10, 2, 2]
    assert [row[3:] for row in mean] == [
        ["0.20 of 20 s", "1.00 of 2 s"],
        ["1.00 of 4 s", "1.00 of 2 s"],
    ]
    assert all(f" {row[1].partition(' ')[0]} [" in render(found) for row in mean)
    scored = [f"{ctr:.4f}", f"{ctcvr:.4f}"]
    assert settings == [["growth.rate=0.5, growth.epochs=2", *scored], ["default", *scored]]
    assert sections["settings"][0]["columns"][1] == "CTR-AUC on 10-06"


def test_runs_that_stand_beside_are_of_the_same_day_and_tasks(tmp_path: Path) -> None:
    run = {"settings": [], "days": [{"day": 6}, {"day": 7}], "mean": {"ctr": {}, "ctcvr": {}}}
    write_json(tmp_path / SUMMARY, run)
    assert read_beside([tmp_path], 6, ["ctr", "ctcvr"]) == [run]
    for first, tasks in ((5, ["ctr", "ctcvr"]), (6, ["ctr"])):
        with pytest.raises(InputError, match=f"after day 6, by ctr, ctcvr; expected day {first} a"):
            read_beside([tmp_path], first, tasks)
    with pytest.raises(InputError, match=r"onward\.json"):
        read_beside([tmp_path / "none"], 6, ["ctr"])


def test_scores_of_other_rows_are_refused(experiment: Experiment, tmp_path: Path) -> None:
    paths = {arm: scores(tmp_path, 5, 1.0) for arm in ARMS}
    paths[ONWARD] = scores(tmp_path, 5, 1.0, users=7)
    with pytest.raises(InputError, match="scores of other rows"):
        summarise(experiment, {5: paths}, {})


def test_what_is_done_is_summarised_once_and_is_a_report(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is new, day by day: a run that is stopped leaves the days so far."""
    summarised: list[list[int]] = []

    class Scored(Arms):
        """Arms whose scores are drawn."""

        def first(self) -> Job:
            return Job(self.folder)

        def run(self, day: int, arm: str) -> None:
            scores(tmp_path, day, 1.0).replace(self.scores(day, arm))

        def summarise(self, days: Sequence[int]) -> None:
            summarised.append(list(days))
            paths = {day: {arm: self.scores(day, arm) for arm in ARMS} for day in days}
            spent = {"data": 1.0, "training": 2.0}
            costs = {f"{day}/{arm}": spent for day in days for arm in (SCRATCH, ONWARD)}
            write_json(self.summary, summarise(experiment, paths, costs, self.overrides))

    monkeypatch.setattr(command, "Arms", Scored)
    (tmp_path / "globo").mkdir()
    for day in range(1, 9):
        (tmp_path / "globo" / f"{day}.parquet").touch()
    path = tmp_path / "onward" / "report.json"
    words = ["--input", str(tmp_path), "--output", str(tmp_path), "--days", "3"]
    monkeypatch.setattr(sys, "argv", ["onward", *words, "--report", str(path)])
    command.main()
    assert summarised == [[5], [5, 6], [5, 6, 7]]
    command.main()
    assert summarised[3:] == [[5, 6, 7]]
    report = read_object(path, "sections")
    (_, *days) = study_table(report, "onward/days/0")
    assert [row[0] for row in days] == ["10-06", "10-07", "10-08"]
    assert days[0][-1] == MISSING
