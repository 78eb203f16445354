"""The section of memory: its quick form with every command in this process, tables of the sizes
that it names, and what is divided by what.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import pytest

import trainer  # noqa: F401 - before TensorFlow

# isort: split
from benchmarks.speed import memory as section
from benchmarks.speed import serving as speed
from benchmarks.speed.options import Options
from benchmarks.speed.processes import Finished
from configs import Experiment, InputError, load_experiment
from configs.memory import Memory
from configs.prediction.tasks import Tasks
from preprocessing.beam.dataset_job import Job as DatasetJob
from preprocessing.dataset.manifest import load_manifest
from preprocessing.features.fitted import Fitted
from preprocessing.task import main as preprocessing_command
from preprocessing.task import parse_arguments
from serving.export.export_manifest import Record
from tests.conftest import QUICKSTART, SMALL
from tests.serving.conftest import NAME, serving
from tests.serving.jobs import loud_job
from trainer.job import Job
from trainer.task import main as trainer_command

SIZES = {"user": 750, "item": 160, "item_scene": 350, "user_scene": 980}
COMMANDS = ["trainer.task memory", "preprocessing.task --config", "trainer.task memory"]


class MadeUp:
    """In the place of a bench: a dataset of the small logs, and a backbone that was never
    trained.
    """

    logs = ""

    def __init__(self, experiment: Experiment, logs: str | None, folder: Path) -> None:
        assert logs is None  # the quick form simulates its own
        self.experiment, self.data = experiment, folder / "data"
        _, flags = parse_arguments(["--config", "-", "--output", str(self.data)])
        DatasetJob(experiment, self.logs, str(self.data), tuple(flags)).run()
        fitted = Fitted.load(str(self.data / "transform"))
        self.job: Job = loud_job(folder / "job", experiment, fitted)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Options:
    folder = tmp_path_factory.mktemp("memory")
    return Options(folder / "no-logs", folder, quick=True)


@pytest.fixture(scope="module")
def commands() -> list[str]:
    """What was run, in order."""
    return []


@pytest.fixture(scope="module")
def figures(
    options: Options, commands: list[str], logs: Path, experiment: Experiment
) -> dict[str, float]:
    """Of the quick form on the small experiment, whose commands and servers are run in this
    process.
    """

    def small(domains: int, quick: bool, memory: str, *topics: str) -> Experiment:
        assert quick
        assert len(experiment.domains) > domains
        return load_experiment(QUICKSTART, [*SMALL, memory])

    def here(words: list[str], log: Path) -> Finished:
        commands.append(" ".join(words[:2]))
        if words[0] == "preprocessing.task":
            preprocessing_command(words[1:])
        else:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "argv", words)
                trainer_command()
        return Finished(2.0, 1.0, 100.0, "")

    @contextmanager
    def served(base: Path, name: str) -> Iterator[tuple[str, int]]:
        assert name == NAME
        with serving(base) as peer:
            yield peer.target, os.getpid()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MadeUp, "logs", str(logs / "*.parquet"))
        patch.setattr(section, "Bench", MadeUp)
        patch.setattr(section, "experiment_of", small)
        patch.setattr(section, "run_process", here)
        patch.setattr(section, "server_process", served)
        for module in (section, speed):
            patch.setattr(module, "MODEL", NAME)
        return {name: float(value) for name, value in section.measure(options).items()}


def test_a_refresh_is_measured_beside_what_comes_before_it(
    figures: dict[str, float], options: Options, commands: list[str]
) -> None:
    assert commands == COMMANDS
    for stage in ("first_memory", "preprocess_day", "refresh"):
        assert (figures[f"{stage}_seconds"], figures[f"{stage}_cpu_seconds"]) == (2.0, 1.0)
    assert set(load_manifest(options.folder / "data").splits) == {
        "pretrain",
        "finetune",
        "validation",
    }
    day = load_manifest(options.folder / "day").splits
    assert figures["day_rows"] == day["finetune"].rows > 0
    assert figures["first_memory_rows"] > 3 * figures["day_rows"]
    assert all(figures[f"keys_{name}"] > 0 for name in SIZES)
    tables = sum(20 * (figures[f"keys_{name}"] + 1) for name in SIZES)  # a hash and three rates
    assert figures["served_mib"] == pytest.approx(tables / 2**20)
    assert figures["stored_mib"] > figures["served_mib"]


def test_the_models_differ_in_memory_and_composition_alone(options: Options) -> None:
    records = {path.name: Record.load(path / "1") for path in (options.folder / "models").iterdir()}
    assert set(records) == {"without", "memory", "composed"}
    assert records["without"].memory is None
    held = records["memory"].memory
    assert held is not None
    assert held.keys == SIZES
    assert len(records["without"].kernels) == len(load_experiment(QUICKSTART, [*SMALL]).domains)
    for record in records.values():
        assert list(record.kernels) == list(records["without"].kernels)
    assert {name for name, record in records.items() if record.compose} == {"composed"}
    assert records["composed"].memory == held


def test_every_model_and_signature_is_divided_by_the_one_without(
    figures: dict[str, float],
) -> None:
    for model, kind in product(("memory", "composed"), ("default", "rank", "auto")):
        for place in (
            "session_{}_{}_{}",
            "session_cpu_{}_{}_{}",
            "server_{}_{}_1_threads_{}",
        ):
            for figure in ("p50", "p99"):
                name = place.format(model, kind, figure)
                without = figures[place.format("without", kind, f"{figure}_ms")]
                ratio = figures[f"{name}_ms"] / without
                assert figures[f"{name}_to_without_ratio"] == pytest.approx(ratio)
    assert len([name for name in figures if name.endswith("_to_without_ratio")]) == 36


def test_tables_hold_the_keys_of_the_rows() -> None:
    tasks = speed.experiment_of(4, True).tasks
    memory = Memory.model_validate({"keys": {"user": ["u"], "both": ["u", "i"]}})
    rows = [{"u": "a", "i": f"i{index}"} for index in range(5)] + [{"u": None, "i": "i0"}]
    counts = section.counts_of(memory, tasks, rows, {"user": 30, "both": 3}, 7, seed=1)
    other = section.counts_of(memory, tasks, rows, {"user": 30, "both": 3}, 8, seed=1)
    assert counts.border == 7
    sizes = {name: len(held.hashes) for name, held in counts.keys.items()}
    assert sizes == {"user": 30, "both": 5}  # those of the rows are always there
    for name, own in (("user", 1), ("both", 5)):
        hashes = [set(found.keys[name].hashes.tolist()) for found in (counts, other)]
        assert len(hashes[0] & hashes[1]) == own
        assert 0 not in hashes[0]
        assert (counts.keys[name].hashes[1:] > counts.keys[name].hashes[:-1]).all()


def test_a_task_that_waits_on_another_counts_fewer_rows() -> None:
    def shares(**tasks: dict[str, str]) -> list[float]:
        return section._shares_counted(Tasks.model_validate(tasks)).tolist()

    assert shares(view={"label": "viewed"}) == [1.0, 0.2]
    order = {"label": "bought", "after": "view"}
    assert shares(view={"label": "viewed"}, order=order) == [1.0, 0.2, 0.2, 0.05]
    assert shares(view={"label": "viewed"}, like={"label": "liked"}) == [1.0, 1.0, 0.2, 0.2]


def test_a_log_of_the_next_day_that_is_missing_is_told(tmp_path: Path) -> None:
    from types import SimpleNamespace

    experiment = speed.experiment_of(4, True)
    bench = SimpleNamespace(experiment=experiment, logs=str(tmp_path / "*.parquet"))
    with pytest.raises(InputError, match=r"impressions-2025-03-17\.parquet: no such file"):
        section._next_day(bench)  # type: ignore[arg-type]
