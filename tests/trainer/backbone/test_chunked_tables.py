"""Large tables in pieces: the same values, and the same after save and reload, whatever a
piece's size.
"""

import io
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from configs import Experiment, InputError
from configs.files import write_json
from tests.trainer.conftest import one_line
from trainer.backbone import saving
from trainer.backbone.fingerprint import model_fingerprint
from trainer.backbone.layers import chunked_tables
from trainer.backbone.layers.embedding import RowEmbedding
from trainer.backbone.saving import load_frozen, save_backbone
from trainer.job import Job


def table(rows: int, dimension: int, seed: int = 3) -> tf.Variable:
    layer = RowEmbedding(rows, dimension, seed)
    layer.build((None,))
    return layer.table.value


def test_pieces_cover_every_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked_tables, "PIECE", 10)
    assert list(chunked_tables.pieces(7, 3)) == [(0, 0, 3), (1, 3, 6), (2, 6, 7)]
    assert list(chunked_tables.pieces(6, 3)) == [(0, 0, 3), (1, 3, 6)]
    assert list(chunked_tables.pieces(2, 50)) == [(0, 0, 1), (1, 1, 2)]  # a row is never cut


def test_a_table_of_one_piece_is_drawn_as_keras_draws_it() -> None:
    expected = keras.initializers.RandomUniform(-0.05, 0.05, seed=3)((40, 5))
    np.testing.assert_array_equal(table(40, 5), expected)


def test_pieces_are_drawn_from_seeds_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked_tables, "PIECE", 50)
    drawn = table(25, 5).numpy()
    for number, start in enumerate((0, 10, 20)):
        rows = min(10, 25 - start)
        np.testing.assert_array_equal(
            drawn[start : start + rows],
            tf.random.stateless_uniform((rows, 5), (3, number), -0.05, 0.05),
        )
    assert not np.array_equal(drawn[:10], drawn[10:20])
    assert np.abs(drawn).max() <= 0.05


def test_uncopied_values_are_those_of_the_variable_after_sparse_updates() -> None:
    variable = table(6, 2)
    variable.scatter_update(tf.IndexedSlices(tf.ones((1, 2)), tf.constant([4])))
    values = chunked_tables.numpy_view(variable)
    np.testing.assert_array_equal(values, variable.numpy())
    assert values[4].tolist() == [1.0, 1.0]
    kept = values.copy()
    del values
    variable.scatter_update(tf.IndexedSlices(tf.zeros((1, 2)), tf.constant([4])))
    assert (kept[4] == 1.0).all()
    assert variable.numpy()[4].tolist() == [0.0, 0.0]


def test_a_released_table_is_restored_whole(tmp_path: Path) -> None:
    variable = table(6, 2)
    variable.scatter_sub(tf.IndexedSlices(tf.ones((1, 2)), tf.constant([4])))
    values = variable.numpy()
    checkpoint = tf.train.Checkpoint(weights=[variable])
    path = checkpoint.save(str(tmp_path / "ckpt"))
    chunked_tables.release(variable)
    assert tf.size(variable.read_value_no_copy()) == 0
    checkpoint.restore(path)
    np.testing.assert_array_equal(variable.numpy(), values)
    variable.scatter_sub(tf.IndexedSlices(tf.ones((1, 2)), tf.constant([4])))
    np.testing.assert_array_equal(variable.numpy()[4], values[4] - 1.0)
    np.testing.assert_array_equal(variable.numpy()[:4], values[:4])


@pytest.mark.parametrize("piece", [7, 1 << 22])
def test_a_layer_in_pieces_is_saved_and_reloaded(
    piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunked_tables, "PIECE", piece)
    ids = keras.Input((), dtype="int32")
    model = keras.Model(ids, RowEmbedding(11, 3, 5)(ids))
    model.layers[-1].table.assign(np.arange(33, dtype=np.float32).reshape(11, 3))
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(reloaded.layers[-1].table, model.layers[-1].table)


def test_a_damaged_store_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked_tables, "PIECE", 6)
    store: dict[str, np.ndarray] = {}
    chunked_tables.save_table(table(5, 2), store)
    assert {key: rows.shape for key, rows in store.items()} == {"0": (3, 2), "1": (2, 2)}
    with pytest.raises(
        ValueError,
        match=r"piece 1 of a table of shape \(5, 2\): received shape \(2, 1\) from row 3 on",
    ):
        chunked_tables.load_table(table(5, 2), store | {"1": store["1"][:, :1]})
    with pytest.raises(
        ValueError,
        match=r"piece 1 of a table of shape \(5, 2\): received shape \(3, 2\) from row 3 on",
    ):
        chunked_tables.load_table(table(5, 2), store | {"1": store["0"]})
    with pytest.raises(ValueError, match=r"a table of shape \(5, 2\): received 3 rows"):
        chunked_tables.load_table(table(5, 2), {"0": store["0"]})


def test_a_fingerprint_is_of_the_bytes_and_not_of_the_pieces() -> None:
    ids = keras.Input((), dtype="int32")
    model = keras.Model(ids, RowEmbedding(11, 3, 5, name="embedding_a")(ids))
    before = model_fingerprint(model, "t")
    buffer = io.BytesIO()
    np.save(buffer, model.layers[-1].table.numpy())
    model.layers[-1].table.value.scatter_update(
        tf.IndexedSlices(np.load(io.BytesIO(buffer.getvalue()))[2:3], tf.constant([2]))
    )
    assert model_fingerprint(model, "t") == before


def test_a_large_backbone_is_a_folder_and_loads_as_an_archive_does(
    experiment: Experiment, job_dir: Path, job_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "_LARGEST_ARCHIVE", 100)
    monkeypatch.setattr(chunked_tables, "PIECE", 40)
    job = Job(job_copy)
    model = keras.saving.load_model(Job(job_dir).backbone / "model.keras")
    (job.backbone / "model.keras").unlink()
    (job.backbone / "model").mkdir()
    (job.backbone / "model" / "leftover").touch()
    save_backbone(model, job.backbone)
    assert sorted(path.name for path in (job.backbone / "model").iterdir() if path.is_file()) == [
        "config.json",
        "metadata.json",
        "model.weights.h5",
    ]
    assert not (job.backbone / "model.keras").exists()
    frozen = load_frozen(job, experiment)  # compares with the fingerprint of the archive
    assert frozen.trainable_weights == []
    weights = job.backbone / "model" / "model.weights.h5"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    with pytest.raises(
        InputError, match=r"model\.weights\.h5: not a saved backbone: damaged;"
    ) as error:
        load_frozen(job, experiment)
    one_line(error)


def test_a_small_backbone_is_an_archive(job_dir: Path, tmp_path: Path) -> None:
    model = keras.saving.load_model(Job(job_dir).backbone / "model.keras")
    save_backbone(model, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]
    write_json(tmp_path / "fingerprint.json", model_fingerprint(model, "t"))
    assert model_fingerprint(
        keras.saving.load_model(tmp_path / "model.keras"), "t"
    ) == model_fingerprint(model, "t")
