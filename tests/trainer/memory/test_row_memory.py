"""What a dataset's rows remember, from its raw logs; what a job serves after fine-tuning; and a
refresh by a dataset of new days alone.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow
import numpy as np
import pyarrow as pa
import pyarrow.dataset as arrow
import pytest

from configs import Experiment, InputError, load_experiment
from preprocessing.features.key_hashes import keys_of_batch
from preprocessing.hashing import fingerprint64
from tests.conftest import MEMORY, QUICKSTART, SMALL
from trainer.backbone.frozen_pass import BackboneOutputs, open_frozen, run_frozen
from trainer.data.dataset import Dataset
from trainer.job import Job
from trainer.memory.counts import LabelledRows, border_before, counts_at, rates_when_read
from trainer.memory.lookup import rates_of_rows
from trainer.memory.memory_store import MemoryStore
from trainer.memory.row_memory import RowMemory

SPLITS = ("finetune", "validation", "test")


@pytest.fixture(scope="module")
def rows(
    memory_experiment: Experiment, dataset_dir: Path, memory_job: Path
) -> Mapping[str, BackboneOutputs]:
    """Rows of three splits, with keys, less what they remember."""
    memory = memory_experiment.memory
    dataset, backbone = open_frozen(memory_experiment, dataset_dir, Job(memory_job), memory=memory)
    return {name: run_frozen(backbone, dataset, name, None, name) for name in SPLITS}


@pytest.fixture
def empty(job_dir: Path, tmp_path: Path) -> MemoryStore:
    """Of a job that remembers nothing."""
    (tmp_path / "backbone").symlink_to(Job(job_dir).backbone.resolve())
    return MemoryStore(Job(tmp_path))


def source(experiment: Experiment, data: Path, store: MemoryStore) -> RowMemory:
    memory = experiment.memory
    assert memory is not None
    return RowMemory(experiment, Dataset.open(data, experiment, {}, memory), store, memory)


def remember_pretrain(reader: RowMemory) -> None:
    """Stores what counts at the end of the pre-training rows, and serves it."""
    counts = reader.counted(["pretrain"], None)
    assert counts is not None
    reader.store.add(reader.memory, counts)


def logged(experiment: Experiment, logs: Path) -> LabelledRows:
    """All rows of the logs, read without anything of the dataset."""
    table = arrow.dataset(sorted(logs.glob("*.parquet"))).to_table()
    batch = table.combine_chunks().to_batches()[0]
    memory = experiment.memory
    assert memory is not None
    hashes = keys_of_batch(memory, batch)
    click, order = (
        np.array(batch.column(task.label)).astype(float) for task in experiment.tasks.root.values()
    )
    moments = np.array(batch.column(experiment.data.timestamp).cast(pa.int64()))
    return LabelledRows(
        moments // 1_000_000,
        fingerprint64(batch.column(experiment.data.request).cast(pa.string())),
        {name: hashes[f"memory/{name}"] for name in memory.keys},
        np.stack([np.ones(len(click)), click, click, click * order], axis=1),
    )


def test_rows_read_what_the_logs_said(
    memory_experiment: Experiment,
    dataset_dir: Path,
    logs: Path,
    rows: Mapping[str, BackboneOutputs],
    empty: MemoryStore,
) -> None:
    memory = memory_experiment.memory
    assert memory is not None
    every = logged(memory_experiment, logs)
    read = rates_when_read(memory, None, every, np.ones(len(every.moments), bool))
    places = {
        (request, *keys): index
        for index, (request, *keys) in enumerate(
            zip(every.requests.tolist(), *(k.tolist() for k in every.keys.values()), strict=True)
        )
    }
    found = source(memory_experiment, dataset_dir, empty).of(rows)
    for split in SPLITS:
        columns, remembered = found[split].columns, found[split].memory
        assert remembered is not None
        named = zip(
            columns["row/request"].tolist(),
            *(columns[f"memory/{name}"].tolist() for name in memory.keys),
            strict=True,
        )
        expected = read[[places[row] for row in named]]
        np.testing.assert_allclose(remembered, expected, rtol=1e-4, atol=1e-5)
        assert np.abs(remembered).max() > 0.1


def test_splits_alone_and_together_read_the_same(
    memory_experiment: Experiment,
    dataset_dir: Path,
    rows: Mapping[str, BackboneOutputs],
    empty: MemoryStore,
) -> None:
    together = source(memory_experiment, dataset_dir, empty)
    both = together.of(rows)
    for split in SPLITS:
        alone = together.of({split: rows[split]})[split].memory
        np.testing.assert_array_equal(alone, both[split].memory)


def test_what_a_job_remembers_goes_on(
    memory_experiment: Experiment,
    dataset_dir: Path,
    memory_job: Path,
    rows: Mapping[str, BackboneOutputs],
    empty: MemoryStore,
) -> None:
    """Test rows read the same on top of what fine-tuning has stored as from all rows."""
    store = MemoryStore(Job(memory_job))
    test = {"test": rows["test"]}
    going_on = source(memory_experiment, dataset_dir, store).of(test)["test"].memory
    at_once = source(memory_experiment, dataset_dir, empty).of(test)["test"].memory
    np.testing.assert_allclose(going_on, at_once, rtol=1e-3, atol=0.02)  # rare keys are forgotten


def test_fine_tuning_serves_all_that_it_has_seen(
    memory_experiment: Experiment, logs: Path, memory_job: Path
) -> None:
    memory = memory_experiment.memory
    assert memory is not None
    served = MemoryStore(Job(memory_job)).served(memory)
    end = memory_experiment.splits["validation"].end
    assert timedelta() <= end - served.until < timedelta(hours=memory.refresh_hours)
    every = logged(memory_experiment, logs)
    expected = counts_at(memory, None, every, served.counts.border)
    for name, found in expected.keys.items():
        np.testing.assert_array_equal(served.counts.keys[name].hashes, found.hashes)
        np.testing.assert_allclose(served.counts.keys[name].sums, found.sums, rtol=1e-9)


def test_what_is_served_is_what_a_row_at_that_refresh_reads(
    memory_experiment: Experiment,
    dataset_dir: Path,
    memory_job: Path,
    rows: Mapping[str, BackboneOutputs],
) -> None:
    memory, store = memory_experiment.memory, MemoryStore(Job(memory_job))
    assert memory is not None
    counts = store.served(memory).counts
    test = source(memory_experiment, dataset_dir, store).of({"test": rows["test"]})["test"]
    requests, moments = test.columns["row/request"], test.columns["row/timestamp"].astype(np.int64)
    _, place = np.unique(requests, return_inverse=True)
    first = np.full(len(requests), moments.max())
    np.minimum.at(first, place, moments)
    now = border_before(memory, first[place]) == counts.border
    assert now.any()
    served = rates_of_rows(memory, counts, test.columns)
    np.testing.assert_array_equal(served[now], np.asarray(test.memory)[now])


def test_rows_of_two_splits_count_once(
    dataset_dir: Path, rows: Mapping[str, BackboneOutputs], empty: MemoryStore, logs: Path
) -> None:
    """Windows that overlap hold the same rows; ``validation`` is cut into two that do."""
    experiment = load_experiment(QUICKSTART, [*SMALL, MEMORY])
    window = experiment.splits["validation"]
    again = {**experiment.splits, "again": window}
    overlapping = experiment.model_copy(update={"splits": again})
    reader = source(experiment, dataset_dir, empty)
    held = reader.dataset.manifest
    twice = held.model_copy(update={"splits": {**held.splits, "again": held.splits["validation"]}})
    both = replace(reader, experiment=overlapping, dataset=replace(reader.dataset, manifest=twice))
    once = reader.counted(["finetune", "validation"], None)
    counted = both.counted(["finetune", "validation", "again"], None)
    assert once is not None
    assert counted is not None
    np.testing.assert_array_equal(once.total, counted.total)


def test_nothing_new_is_no_refresh(
    memory_experiment: Experiment, dataset_dir: Path, memory_job: Path
) -> None:
    store = MemoryStore(Job(memory_job))
    reader = source(memory_experiment, dataset_dir, store)
    served = store.served(reader.memory)
    assert reader.counted(["finetune", "validation"], served) is None
    counts = reader.counted(["finetune", "validation", "test"], served)
    assert counts is not None
    assert counts.border > served.counts.border


def test_hours_that_nobody_counts_are_told(
    memory_experiment: Experiment,
    dataset_dir: Path,
    empty: MemoryStore,
    capsys: pytest.CaptureFixture[str],
) -> None:
    reader = source(memory_experiment, dataset_dir, empty)
    remember_pretrain(reader)
    reader.counted(["finetune", "validation"], empty.served(reader.memory))
    assert "remembered by nobody" not in capsys.readouterr().err
    reader.counted(["validation"], empty.served(reader.memory))
    told = capsys.readouterr().err
    assert "begin at 2025-03-07 0" in told
    assert "counts those before 2025-03-06 03:00Z; rows between them are remembered by" in told
    with pytest.raises(InputError, match="remembered by nobody; give a dataset that holds them"):
        reader.refresh(["validation"], empty.served(reader.memory), gaps=False)


def test_a_gap_inside_a_split_is_told(
    memory_experiment: Experiment, dataset_dir: Path, empty: MemoryStore
) -> None:
    """The window reaches back to what is served; the rows in it do not."""
    reader = source(memory_experiment, dataset_dir, empty)
    remember_pretrain(reader)
    start = memory_experiment.splits["pretrain"].end
    wide = {
        "validation": memory_experiment.splits["validation"].model_copy(update={"start": start})
    }
    gappy = replace(reader, experiment=memory_experiment.model_copy(update={"splits": wide}))
    with pytest.raises(InputError, match="remembered by nobody"):
        gappy.refresh(["validation"], empty.served(reader.memory), gaps=False)


def test_quiet_hours_at_the_end_are_no_gap(
    memory_experiment: Experiment, dataset_dir: Path, empty: MemoryStore
) -> None:
    """The last border with rows lies hours before the split ends, where the next dataset begins."""
    reader = source(memory_experiment, dataset_dir, empty)
    window = memory_experiment.splits["pretrain"]
    end = window.end + timedelta(hours=9)
    late = {**memory_experiment.splits, "pretrain": window.model_copy(update={"end": end})}
    quiet = replace(reader, experiment=memory_experiment.model_copy(update={"splits": late}))
    quiet.serve(["pretrain"])
    served = empty.served(reader.memory)
    assert served.counts.covers == int(end.timestamp())
    assert served.until < end
    after = memory_experiment.splits["validation"].model_copy(update={"start": end})
    alone = memory_experiment.model_copy(update={"splits": {"finetune": after}})
    assert replace(reader, experiment=alone).refresh(["finetune"], served, gaps=False)


def test_tuning_again_loses_nothing_of_what_is_served(
    memory_experiment: Experiment,
    dataset_dir: Path,
    empty: MemoryStore,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What was refreshed before counts on, and what is as young stays."""
    reader = source(memory_experiment, dataset_dir, empty)
    reader.serve(["pretrain"])
    first = empty.served(reader.memory)
    alone = {name: memory_experiment.splits[name] for name in ("finetune", "validation")}
    later = replace(reader, experiment=memory_experiment.model_copy(update={"splits": alone}))
    later.serve(["finetune", "validation"])
    served = empty.served(reader.memory)
    assert empty.manifest(served.version).base == first.version
    at_once = reader.counted(["pretrain", "finetune", "validation"], None)
    assert at_once is not None
    np.testing.assert_allclose(served.counts.total, at_once.total, rtol=1e-9)
    reader.serve(["finetune", "validation"])
    assert empty.served(reader.memory).version == served.version
    reader.serve(["pretrain"])
    assert empty.served(reader.memory).version == served.version
    assert "farther than these rows; it stays as it is" in capsys.readouterr().err


def test_rows_that_remember_nothing_are_told(
    memory_experiment: Experiment,
    dataset_dir: Path,
    rows: Mapping[str, BackboneOutputs],
    empty: MemoryStore,
    capsys: pytest.CaptureFixture[str],
) -> None:
    reader = source(memory_experiment, dataset_dir, empty)
    reader.of({"test": rows["test"]})
    assert "remember nothing" not in capsys.readouterr().err
    alone = {"test": memory_experiment.splits["test"]}
    bare = replace(reader, experiment=memory_experiment.model_copy(update={"splits": alone}))
    bare.of({"test": rows["test"]})
    assert "memory begins with the rows of 2025-03-08 " in capsys.readouterr().err


def test_a_column_that_the_dataset_does_not_hold_is_named(
    memory_experiment: Experiment, dataset_dir: Path
) -> None:
    memory = memory_experiment.memory
    assert memory is not None
    other = memory.model_copy(update={"keys": {"history": ("history",)}})
    with pytest.raises(InputError, match=r"memory reads column 'history', .* preprocessing\.task"):
        Dataset.open(dataset_dir, memory_experiment, {}, other)
    numbers = memory.model_copy(update={"keys": {"price": ("price_level", "nothing")}})
    with pytest.raises(InputError, match="memory reads column 'nothing'"):
        Dataset.open(dataset_dir, memory_experiment, {}, numbers)
