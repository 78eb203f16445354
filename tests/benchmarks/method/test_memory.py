"""Memory in studies: rows remember every label of the splits before them, datasets hold the keys of
all methods, kernels and trees read the same numbers.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trainer  # noqa: F401 - before TensorFlow
from benchmarks.method import bench as bench_module
from benchmarks.method.bench import Bench
from benchmarks.method.boosted_features import BoostedFeatures, memory_names
from benchmarks.method.cells import cells_of
from benchmarks.method.methods.boosted import boosted
from benchmarks.method.methods.tuned import Tuned, kernels, part_of, with_memory
from benchmarks.method.study import Study
from configs import Experiment, InputError, load_experiment
from configs.domains import ALL
from configs.memory import Memory
from configs.tensorflow_import import tf
from tests.conftest import QUICKSTART, SMALL
from trainer.kernels.kernel import KernelShape

MEMORY = (
    "memory={keys: {user: [user_id], shop_scene: [shop_id, scene]}, refresh_hours: 24,"
    " refresh_offset_hours: 3, half_life_hours: 48}"
)
SPLITS = ["test"]


def _study(**methods: dict[str, Any]) -> Study:
    content = {
        "name": "remembering",
        "title": "Remembering",
        "description": "",
        "config": str(QUICKSTART),
        "set": SMALL,
        "seeds": [17],
        "resamples": 5,
        "methods": {
            "zero_shot": {"title": "zero-shot", "run": "backbone"},
            "memory": {"title": "memory", "run": "kernels", "set": [MEMORY]},
            **methods,
        },
    }
    return Study.model_validate(content)


@pytest.fixture(scope="module")
def remembering() -> Experiment:
    """The small experiment with memory."""
    return load_experiment(QUICKSTART, [*SMALL, MEMORY])


@pytest.fixture(scope="module")
def memory(remembering: Experiment) -> Memory:
    assert remembering.memory
    return remembering.memory


@pytest.fixture(scope="module")
def bench(logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The bench of a study of which one method has memory."""
    tf.config.experimental.enable_op_determinism()
    built = cells_of(_study(), (17,))[0].built
    return Bench(built, str(logs / "*.parquet"), tmp_path_factory.mktemp("bench"))


def test_methods_with_memory_and_without_share_a_dataset_that_holds_every_key() -> None:
    other = MEMORY.replace("user: [user_id]", "region: [region]")
    study = _study(other={"title": "other", "run": "kernels", "set": [other]})
    cells = cells_of(study, (17,))
    assert {cell.name for cell in cells} == {"zero_shot", "memory", "other"}
    (kept,) = {cell.built.data.topic_columns for cell in cells}
    assert {"user_id", "shop_id", "scene", "region"} <= set(kept)
    assert len({cell.built.model_dump_json() for cell in cells}) == 1
    alone = cells_of(study, (17,), only=["zero_shot"])[0]
    assert alone.built == cells[0].built


def test_a_folder_of_data_is_named_by_what_it_keeps(
    bench: Bench, remembering: Experiment, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class StoppedError(Exception):
        pass

    def stop(*arguments: Any) -> None:
        raise StoppedError

    monkeypatch.setattr(bench_module, "DatasetJob", stop)
    with pytest.raises(StoppedError):  # another column is kept: it is not the bench's dataset
        Bench(
            load_experiment(QUICKSTART, [*SMALL, "data.topic_columns=[user_id]"]),
            str(logs / "*.parquet"),
            bench.folder,
        )


def test_rows_remember_all_that_was_known_at_their_refresh(bench: Bench, memory: Memory) -> None:
    found = bench.remembered(memory, SPLITS)
    assert found.seconds > 0
    got = found.memory["test"]
    rows = bench.rows("test")
    assert got.shape == (len(rows.logits), memory.width(2))
    every = {
        split: bench_module._labelled(
            bench_module.Dataset.open(bench.data, bench.experiment, memory=memory), split
        ).columns
        for split in ("pretrain", "finetune", "validation", "test")
    }
    moments = np.concatenate([columns["row/timestamp"] for columns in every.values()])
    users = np.concatenate([columns["memory/user"] for columns in every.values()])
    refreshes = (moments.astype(np.int64) - 3 * 3600) // 86_400
    test = every["test"]
    for row in range(0, len(got), max(1, len(got) // 25)):
        same = test["row/request"] == test["row/request"][row]
        at = (int(test["row/timestamp"][same].min()) - 3 * 3600) // 86_400
        mine = (users == test["memory/user"][row]) & (refreshes < at)
        weight = np.exp2(-(at - 1 - refreshes[mine]) / 2.0).sum()
        assert got[row, 2] == pytest.approx(np.log1p(weight), rel=1e-5)
    assert (got[:, 2] > 0).mean() > 0.5


def test_memory_is_worked_out_once(
    bench: Bench, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bench.remembered(memory, SPLITS)
    monkeypatch.setattr(bench_module, "RowMemory", lambda *arguments: pytest.fail("again"))
    again = bench.remembered(memory, SPLITS)
    assert again.seconds == first.seconds
    np.testing.assert_array_equal(again.memory["test"], first.memory["test"])


def test_kernels_read_memory_where_the_experiment_has_it(
    bench: Bench, remembering: Experiment
) -> None:
    plain = kernels(bench, bench.experiment, SPLITS, {"domains": []})
    remembered = kernels(bench, remembering, SPLITS, {"domains": []})
    assert plain[""].notes["memory_seconds"] == 0
    assert 0 < remembered[""].notes["memory_seconds"] < remembered["all"].seconds
    assert remembered[""].parameters > plain[""].parameters
    pair = [found["all"].logits["test"][ALL] for found in (plain, remembered)]
    assert pair[0].shape == pair[1].shape
    assert np.abs(pair[0] - pair[1]).max() > 1e-3


def test_a_part_of_a_window_keeps_its_memory(bench: Bench, remembering: Experiment) -> None:
    tap = remembering.kernel.tap
    shape = KernelShape.of(remembering.kernel, bench.tap_width(tap), remembering.memory)
    rows, _ = with_memory(bench, shape, {"finetune": bench.rows("finetune", tap)})
    whole = rows["finetune"]
    half = part_of(whole, Tuned(share=0.5), seed=1)
    assert whole.memory is not None and half.memory is not None
    kept = np.isin(whole.columns["row/user"], half.columns["row/user"])
    np.testing.assert_array_equal(half.memory, whole.memory[kept])


def test_trees_read_the_numbers_that_kernels_read(
    bench: Bench, remembering: Experiment, memory: Memory
) -> None:
    options = {"rounds": 5, "leaves": 7, "memory": True}
    outcome = boosted(bench, remembering, SPLITS, options)[""]
    plain = boosted(bench, remembering, SPLITS, {**options, "memory": False})[""]
    assert np.abs(outcome.logits["test"][ALL] - plain.logits["test"][ALL]).max() > 1e-3
    rows = bench.rows("test")
    held = bench.remembered(memory, SPLITS).memory["test"]
    given = bench_module.BackboneOutputs(rows.logits, rows.taps, rows.columns, held)
    features = BoostedFeatures(
        remembering, bench.dataset.fitted, given, ["test"], memory, frozen=True
    )
    topics = [f"topic_{name}" for name in remembering.topics]
    assert features.names == [
        "logit_ctr",
        "logit_cvr",
        *memory_names(memory, ("ctr", "cvr")),
        *topics,
    ]
    x = features.matrix(given)
    np.testing.assert_array_equal(x[:, :2], rows.logits)
    np.testing.assert_array_equal(x[:, 2 : 2 + held.shape[1]], held)


def test_trees_on_frozen_logits_learn_the_window_alone(
    bench: Bench, remembering: Experiment
) -> None:
    options = {"rounds": 5, "leaves": 7, "memory": True, "frozen": True}
    outcome = boosted(bench, remembering, SPLITS, options)[""]
    assert outcome.rows == bench.dataset.rows("finetune") * sum(outcome.notes["rounds"].values())


def test_trees_without_a_memory_section_are_refused(bench: Bench) -> None:
    with pytest.raises(InputError, match=r"boosted\.memory: the experiment has no memory section"):
        boosted(bench, bench.experiment, SPLITS, {"memory": True})
