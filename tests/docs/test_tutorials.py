"""The commands of the tutorials run, one page after the other, on small logs: in a folder whose
``configs`` are small where those of the repository are large.
"""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.reliability.listening import free_addresses
from configs import Experiment, load_experiment
from tests.conftest import QUICKSTART, ROOT, SMALL
from tests.docs.command_blocks import blocks, run_page

TUTORIALS = ROOT / "docs" / "tutorials"
PAGES = sorted(path for path in TUTORIALS.glob("*.md") if path.stem != "index")
KUAIRAND = ROOT / "configs" / "kuairand.yaml"

FEW_ROWS = "simulation.rows=6_000"
FEW_WEIGHTS = (
    (
        "backbone={embedding_dimension: 4, experts: 2, expert_layers: [8], tower_layers: [6],"
        " attention_layers: [4]}"
    ),
    "pretrain={epochs: 1, batch_size: 512}",
    "kernel.width=6",
    "finetune={epochs: 1, child_epochs: 1, batch_size: 256}",
    "evaluation.bootstrap=20",
)
REQUESTS = 64
"""Golden requests of a job."""


def write_config(experiment: Experiment, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(experiment.model_dump_json(exclude_none=True))


def write_feed(experiment: Experiment, folder: Path, rows: int = 2_000) -> None:
    """Made-up impressions with the columns of KuaiRand's config, evenly over its windows."""
    random = np.random.default_rng(17)
    first = min(split.start for split in experiment.splits.values())
    last = max(split.end for split in experiment.splits.values())
    seconds = np.linspace(0, (last - first).total_seconds(), rows, endpoint=False)
    moments = np.datetime64(first.replace(tzinfo=None), "us") + (seconds * 1e6).astype(int)
    click = random.random(rows) < 0.5

    def texts(values: Sequence[str]) -> list[str]:
        return [str(value) for value in random.choice(values, rows)]

    def lists(values: Sequence[str], most: int) -> list[list[str]]:
        return [
            list(map(str, random.choice(values, size))) for size in random.integers(most, size=rows)
        ]

    users, videos = [f"u{i}" for i in range(60)], [f"v{i}" for i in range(40)]
    columns: dict[str, Any] = {
        "impression_id": [str(row) for row in range(rows)],
        "request_id": [str(row // 4) for row in range(rows)],
        "time": pa.array(moments, pa.timestamp("us", "UTC")),
        "user_id": texts(users),
        "video_id": texts(videos),
        "tab": texts(["1", "0", "4"]),
        "user_active_degree": texts(["full_active", "high_active"]),
        "tags": lists(["t1", "t2", "t3"], 3),
        "recent_views": lists(videos, 5),
        "recent_long_views": lists(videos, 5),
        "duration_s": random.uniform(5, 100, rows),
        "age_days": random.uniform(0, 30, rows),
        "click": click.astype(int),
        "long_view": (click & (random.random(rows) < 0.6)).astype(int),
        "like": (random.random(rows) < 0.2).astype(int),
        "follow": (random.random(rows) < 0.2).astype(int),
        "play_seconds": np.where(click, random.gamma(2.0, 10.0, rows), 0.0),
    }
    for name in experiment.features:
        for column in experiment.columns_of(name):
            if column not in columns:
                columns[column] = texts(["a", "b", "c"])
    folder.mkdir()
    pq.write_table(pa.table(columns), folder / "day.parquet")


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def walk(name: str, folder: Path) -> str:
    (address,) = free_addresses(1)
    return run_page(TUTORIALS / f"{name}.md", folder, {"8500": address.partition(":")[2]})


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first tutorial was walked through; the others go on from there."""
    folder = tmp_path_factory.mktemp("tour")
    small = load_experiment(QUICKSTART, [*SMALL, FEW_ROWS])
    write_config(small, folder / "configs" / "quickstart.yaml")
    walk("own-log", folder)
    return folder


@pytest.fixture(scope="module")
def wider(tour: Path) -> Path:
    """The same with a domain more."""
    walk("new-domain", tour)
    return tour


def test_own_log(tour: Path) -> None:
    place = tour / "runs" / "tour"
    answers = rows_of(place / "answers.jsonl")
    assert len(answers) == REQUESTS
    for answer in answers:
        assert {"click", "conversion", "conversion_all", "score", "served_domain"} <= answer.keys()
    assert (place / "job" / "reports" / "report.html").is_file()


def test_new_domain(wider: Path) -> None:
    place = wider / "runs" / "tour"
    decisions = json.loads((place / "job" / "kernels" / "decisions.json").read_text())
    assert {"region=r1", "region=r2"} <= decisions.keys()
    assert (place / "models" / "2").is_dir()


def test_tensorflow_serving(wider: Path) -> None:
    said = walk("tensorflow-serving", wider)
    answers = rows_of(wider / "runs" / "tour" / "home.jsonl")
    assert len(answers) == REQUESTS
    assert {answer["served_domain"] for answer in answers} <= {"scene=home", "all", "backbone"}
    assert "conversion_all" in said


def test_daily_loop(wider: Path) -> None:
    walk("daily-loop", wider)
    (summary,) = (wider / "runs" / "tour" / "refresh").glob("*/summary.json")
    said = json.loads(summary.read_text())
    assert said["outcome"] in ("released", "unchanged")
    assert said["rows"]


def test_kuairand(tmp_path: Path) -> None:
    experiment = load_experiment(KUAIRAND, FEW_WEIGHTS)
    write_config(experiment, tmp_path / "configs" / "kuairand.yaml")
    write_feed(experiment, tmp_path / "kuairand")
    walk("kuairand", tmp_path)
    job = tmp_path / "runs" / "kuairand" / "job"
    overall = json.loads((job / "reports" / "metrics.json").read_text())["overall"]
    assert {"click", "long_view", "long_view_all", "like", "follow", "watch"} <= overall.keys()
    assert "follow" in json.loads((job / "score.json").read_text())["score"]


def test_a_tutorial_s_tasks_are_the_config_s() -> None:
    (block,) = blocks(TUTORIALS / "kuairand.md", "yaml")
    text = KUAIRAND.read_text()
    assert all(line in text for line in block.text.splitlines())


def test_every_tutorial_is_walked_through() -> None:
    walked = {"own-log", "new-domain", "tensorflow-serving", "daily-loop", "kuairand"}
    assert {page.stem for page in PAGES} == walked


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_is_not_run_says_why_and_is_little(page: Path) -> None:
    commands = blocks(page, "bash")
    left_out = [block for block in commands if block.reason]
    assert len(left_out) <= len(commands) / 2
    assert not [block for block in commands if not block.reason and "docker" in block.text]
