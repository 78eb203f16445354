"""Reading a dataset: every row once, in an order that is a function of the seed; one line where
something is missing.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from configs import Experiment, InputError
from configs.digests.sealed_json import SEAL
from preprocessing.dataset.manifest import ColumnFormat, load_manifest
from preprocessing.dataset.record_format import column_formats, encode_blocks
from tests.trainer.conftest import change_json, one_line, variant
from trainer.backbone.frozen_pass import run_frozen
from trainer.data import dataset as dataset_module
from trainer.data.dataset import Dataset
from trainer.data.row_weights import check_weights
from trainer.data.side_column import SideColumn

SPLIT = "pretrain"
SIDE = "side/values"
KEY = "row/truth"  # fingerprints of impressions: they tell rows apart

Columns = dict[str, np.ndarray[Any, Any]]


def joined(batches: Any) -> Columns:
    parts = list(batches)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def shuffled(dataset: Dataset, seed: int, batch_size: int = 500) -> Columns:
    return joined(dataset.shuffled_batches(SPLIT, batch_size, seed).as_numpy_iterator())


@pytest.fixture(scope="module")
def in_order(dataset: Dataset) -> Columns:
    return joined(dataset.batches(SPLIT, 700))


def test_files_are_read_whole_and_in_order(dataset: Dataset, in_order: Columns) -> None:
    assert len(in_order[KEY]) == dataset.rows(SPLIT) == len(np.unique(in_order[KEY]))
    assert in_order.keys() == dataset.columns.keys()
    counts = [len(batch[KEY]) for batch in dataset.batches(SPLIT, 700)]
    assert counts[:-1] == [700] * (len(counts) - 1)
    sizes = [entry.rows for entry in dataset.manifest.splits[SPLIT].files]
    assert len(sizes) > 1
    second = joined(replace(dataset, manifest=without_first_file(dataset)).batches(SPLIT, 700))
    np.testing.assert_array_equal(second[KEY], in_order[KEY][sizes[0] :])


def without_first_file(dataset: Dataset) -> Any:
    split = dataset.manifest.splits[SPLIT]
    return dataset.manifest.model_copy(
        update={"splits": {SPLIT: split.model_copy(update={"files": split.files[1:]})}}
    )


@pytest.mark.parametrize("buffer", [65_536, 700])
def test_shuffling_keeps_every_row_whole_and_once(
    buffer: int, dataset: Dataset, in_order: Columns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_module, "_SHUFFLED_ROWS", buffer)
    drawn = shuffled(dataset, seed=1)
    assert (drawn[KEY] != in_order[KEY]).mean() > 0.9
    back, there = np.argsort(in_order[KEY]), np.argsort(drawn[KEY])
    for name, values in in_order.items():
        np.testing.assert_array_equal(drawn[name][there], values[back], err_msg=name)


def test_the_order_is_a_function_of_seed_and_epoch(dataset: Dataset) -> None:
    first = shuffled(dataset, seed=1)[KEY]
    np.testing.assert_array_equal(shuffled(dataset, seed=1)[KEY], first)
    np.testing.assert_array_equal(shuffled(dataset, seed=1, batch_size=64)[KEY], first)
    assert (shuffled(dataset, seed=2)[KEY] != first).mean() > 0.9
    later = joined(dataset.shuffled_batches(SPLIT, 500, 1, epoch=1).as_numpy_iterator())[KEY]
    assert (later != first).mean() > 0.9


@pytest.fixture(scope="module")
def with_side(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A column beside one of its splits, whose values are those of two of its own columns."""
    folder = tmp_path_factory.mktemp("side")
    paths = tuple(
        folder / f"{number}.tfrecord" for number in range(len(dataset.manifest.splits[SPLIT].files))
    )
    blocks: dict[int, list[Any]] = {number: [] for number in range(len(paths))}
    for number, block in dataset.blocks(SPLIT):
        blocks[number].append(block)
    for path, of_file in zip(paths, blocks.values(), strict=True):
        with tf.io.TFRecordWriter(str(path)) as writer:
            for block in of_file:
                values = np.stack([block["label/click"], block["row/timestamp"] % 1000], axis=1)
                (record,) = encode_blocks({SIDE: values.astype(np.float32)}, len(values))
                writer.write(record)
    return replace(
        dataset, side=SideColumn(SIDE, ColumnFormat(dtype="float32", length=2), {SPLIT: paths})
    )


@pytest.mark.parametrize("buffer", [65_536, 700])
def test_a_side_column_goes_with_its_rows(
    buffer: int, dataset: Dataset, with_side: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_module, "_SHUFFLED_ROWS", buffer)
    for batches in (
        with_side.batches(SPLIT, 700),
        with_side.shuffled_batches(SPLIT, 500, 1, 1).as_numpy_iterator(),
    ):
        rows = joined(batches)
        assert len(rows[KEY]) == dataset.rows(SPLIT)
        np.testing.assert_array_equal(rows[SIDE][:, 0], rows["label/click"])
        np.testing.assert_array_equal(rows[SIDE][:, 1], rows["row/timestamp"] % 1000)


def test_a_side_column_changes_nothing_else(dataset: Dataset, with_side: Dataset) -> None:
    """Neither the order of rows, nor what is read where it is not wanted or not there."""
    np.testing.assert_array_equal(shuffled(with_side, seed=1)[KEY], shuffled(dataset, seed=1)[KEY])
    few = joined(with_side.batches(SPLIT, 700, wanted=lambda name: name == KEY))
    assert few.keys() == {KEY}
    assert joined(with_side.batches("test", 700)).keys() == dataset.columns.keys()
    every = joined(with_side.batches(SPLIT, 700, every=3))
    np.testing.assert_array_equal(every[SIDE][:, 0], every["label/click"])


def test_blocks_are_the_files_in_order(dataset: Dataset, in_order: Columns) -> None:
    found = list(dataset.blocks(SPLIT))
    np.testing.assert_array_equal(np.concatenate([block[KEY] for _, block in found]), in_order[KEY])
    rows = np.zeros(len(dataset.manifest.splits[SPLIT].files), int)
    for number, block in found:
        rows[number] += len(block[KEY])
    assert rows.tolist() == [file.rows for file in dataset.manifest.splits[SPLIT].files]


def test_neighbours_of_a_file_do_not_stay_together(dataset: Dataset, in_order: Columns) -> None:
    place = {key: index for index, key in enumerate(in_order[KEY])}
    drawn = np.array([place[key] for key in shuffled(dataset, seed=1)[KEY]])
    assert (np.abs(np.diff(drawn)) < 10).mean() < 0.02
    halves = drawn.reshape(2, -1) if len(drawn) % 2 == 0 else drawn[1:].reshape(2, -1)
    assert abs(halves[0].mean() - halves[1].mean()) < 0.1 * len(drawn)


@pytest.mark.parametrize(("blocks", "buffer"), [(256, 65_536), (8, 4096)])
def test_neighbours_end_up_as_far_apart_as_the_buffer_allows(
    blocks: int, buffer: int, dataset: Dataset, in_order: Columns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second case is a split that is larger than its buffers, so that files and blocks have
    to be mixed as well.
    """
    monkeypatch.setattr(dataset_module, "_SHUFFLED_BLOCKS", blocks)
    monkeypatch.setattr(dataset_module, "_SHUFFLED_ROWS", buffer)
    rows = len(in_order[KEY])
    order = np.argsort(in_order[KEY])
    drawn = order[
        np.searchsorted(in_order[KEY], shuffled(dataset, seed=1)[KEY], sorter=order)
    ]  # place in the files of every drawn row
    apart = np.abs(np.diff(np.argsort(drawn)))  # steps between rows that were neighbours
    window = min(rows, buffer)
    assert np.median(apart) > 0.2 * window  # of two rows anywhere in the window: 0.29
    assert (apart < 0.01 * window).mean() < 0.05  # 0.02
    files = np.repeat(
        np.arange(len(dataset.manifest.splits[SPLIT].files)),
        [file.rows for file in dataset.manifest.splits[SPLIT].files],
    )
    full = files[drawn][: rows // window * window]  # the last buffer holds what is left
    assert min(len(np.unique(batch)) for batch in np.array_split(full, len(full) // 500)) >= 3


def test_batches_are_full_but_the_last(dataset: Dataset) -> None:
    sizes = [
        len(batch["row/weight"])
        for batch in dataset.shuffled_batches(SPLIT, 512, seed=1).as_numpy_iterator()
    ]
    assert sizes[:-1] == [512] * (len(sizes) - 1)
    assert sum(sizes) == dataset.rows(SPLIT)


def test_resuming_skips_exactly_the_batches_that_were_seen(dataset: Dataset) -> None:
    whole = shuffled(dataset, seed=4)
    rest = joined(dataset.shuffled_batches(SPLIT, 500, seed=4).skip(3).as_numpy_iterator())
    np.testing.assert_array_equal(rest[KEY], whole[KEY][1500:])


@pytest.fixture
def folder(dataset_dir: Path, tmp_path: Path) -> Path:
    """A copy of the dataset, to damage."""
    return shutil.copytree(dataset_dir, tmp_path / "data")


def grow_vocabulary(folder: Path) -> None:
    with (folder / "transform" / "shop_id.txt").open("a") as file:
        file.write("another\n")


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (
        shutil.rmtree,
        r"manifest\.json: not found; expected a dataset written by preprocessing\.task",
    ),
    "manifest missing": (
        lambda folder: (folder / "manifest.json").unlink(),
        r"manifest\.json: not found",
    ),
    "manifest cut": (
        lambda folder: (folder / "manifest.json").write_text('{"format": 1,'),
        r"manifest\.json: not readable as JSON",
    ),
    "other format": (
        lambda folder: change_json(folder / "manifest.json", lambda m: m.update(format=99)),
        "dataset format 99, expected 1",
    ),
    "transform missing": (
        lambda folder: shutil.rmtree(folder / "transform"),
        r"transform/[a-z_]+\.(txt|json): missing: manifest\.json lists it",
    ),
    "vocabulary missing": (
        lambda folder: (folder / "transform" / "shop_id.txt").unlink(),
        r"transform/shop_id\.txt: missing: manifest\.json lists it",
    ),
    "transform foreign": (grow_vocabulary, r"transform/shop_id\.txt: damaged"),
    "constants damaged": (
        lambda folder: (folder / "transform" / "transform.json").write_text("{}"),
        r"transform/transform\.json: damaged",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_dataset_is_refused_in_one_line(
    damage: Callable[[Path], object], message: str, folder: Path, experiment: Experiment
) -> None:
    damage(folder)
    with pytest.raises(InputError, match=message) as error:
        Dataset.open(folder, experiment)
    assert str(folder) in one_line(error)


@pytest.mark.parametrize("read", ["batches", "shuffled_batches"])
def test_a_file_that_is_missing_is_named(read: str, folder: Path, experiment: Experiment) -> None:
    opened = Dataset.open(folder, experiment)
    missing = folder / opened.manifest.splits[SPLIT].files[1].path
    missing.unlink()
    arguments = (SPLIT, 100) if read == "batches" else (SPLIT, 100, 1)
    with pytest.raises(InputError, match=r"missing: manifest\.json lists it") as error:
        getattr(opened, read)(*arguments)
    assert str(missing) in one_line(error)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("features.rating.log1p=true", r"features\.rating"),
        ("features.history.max_length=5", r"features\.history"),
        ("splits.test.end=2025-03-09T02:00:00Z", "other data, tasks or splits settings"),
        ("data.user=request_id", "other data, tasks or splits settings"),
    ],
)
def test_a_dataset_of_other_settings_is_refused(
    setting: str, message: str, dataset_dir: Path
) -> None:
    with pytest.raises(InputError, match=message) as error:
        Dataset.open(dataset_dir, variant(setting))
    assert "run preprocessing.task again" in one_line(error)


def test_settings_of_training_alone_do_not_need_another_dataset(dataset_dir: Path) -> None:
    other = variant(
        "features.shop_id.id_dropout=0.5",
        "pretrain.epochs=7",
        "seed=3",
        "tasks.ctr.loss_weight=0.5",
        "topics.region.values=[r2]",
        "data.topic_columns=[device]",
    )
    assert Dataset.open(dataset_dir, other).rows(SPLIT) > 0


def test_fewer_rows_than_the_manifest_says_are_refused(
    experiment: Experiment, dataset_dir: Path, frozen: Any, tmp_path: Path
) -> None:
    folder = shutil.copytree(dataset_dir, tmp_path / "data")
    largest = max((folder / "test").glob("*.tfrecord"), key=lambda path: path.stat().st_size)
    records = list(tf.data.TFRecordDataset(str(largest)).as_numpy_iterator())
    with tf.io.TFRecordWriter(str(largest)) as writer:
        for record in records[:-1]:
            writer.write(record)
    with pytest.raises(InputError, match=f"{largest.name}: damaged"):
        run_frozen(frozen, Dataset.open(folder, experiment), "test", None, "test")


@pytest.mark.parametrize("read", ["batches", "shuffled_batches"])
@pytest.mark.parametrize("damage", ["flip", "cut", "another split's"])
def test_a_damaged_file_is_named(
    read: str, damage: str, folder: Path, experiment: Experiment
) -> None:
    opened = Dataset.open(folder, experiment)
    damaged = folder / opened.manifest.splits[SPLIT].files[-1].path
    content = bytearray(damaged.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 4
    elif damage == "cut":
        del content[len(content) // 2 :]
    else:
        content = bytearray((folder / opened.manifest.splits["test"].files[0].path).read_bytes())
    damaged.write_bytes(content)
    arguments = (SPLIT, 100) if read == "batches" else (SPLIT, 100, 1)
    with pytest.raises(InputError, match=f"{damaged.name}: damaged") as error:
        getattr(opened, read)(*arguments)
    assert "run preprocessing.task again" in one_line(error)


def flip_rows(manifest: dict[str, Any]) -> None:
    manifest["splits"][SPLIT]["rows"] += 1


@pytest.mark.parametrize("sealed", [True, False])
def test_a_flipped_digit_of_rows_is_noticed(
    sealed: bool, folder: Path, experiment: Experiment
) -> None:
    """Also in manifests that are older than seals."""
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    flip_rows(content)
    if not sealed:
        content.pop(SEAL)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"manifest\.json: damaged"):
        Dataset.open(folder, experiment)


@pytest.mark.parametrize("content", [b"\xff{}", b"[" * 100_000, b"{}", b"[]", b""], ids=range(5))
def test_a_manifest_that_is_none_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(InputError, match=r"manifest\.json") as error:
        load_manifest(tmp_path)
    one_line(error)


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        (0.0, r"every sample weight \(data\.weight, column 'price'\) is 0"),
        (3e38, r"column 'price'\) sum to .*: scale them down"),
    ],
)
def test_weights_that_nothing_can_be_learned_from_are_said(
    weight: float, said: str, tmp_path: Path
) -> None:
    columns = {"row/weight": np.full(3_000, weight, np.float32)}
    path = tmp_path / "rows.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for block in encode_blocks(columns):
            writer.write(block)
    form = column_formats(columns)["row/weight"]
    with pytest.raises(InputError, match=said) as error:
        check_weights([str(path)], form, "price", "data: split 'pretrain'")
    assert one_line(error).startswith("data: split 'pretrain': ")


def test_the_weights_of_a_split_are_looked_at_where_a_column_gives_them(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(dataset_module, "check_weights", lambda *found: seen.append(found))
    next(dataset.batches(SPLIT, 100))
    assert seen == []
    next(replace(dataset, weight="price").batches(SPLIT, 100))
    assert [found[2] for found in seen] == ["price"]
