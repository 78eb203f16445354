"""Vectors of another model: each id gets its own, what has none the mean, and nothing else is
believed.
"""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs import ConfigError, Experiment, InputError, load_experiment
from preprocessing.features.fitted import Fitted
from preprocessing.features.transform import transform_outputs
from tests.conftest import QUICKSTART, SMALL
from tests.serving.jobs import made_up
from trainer.backbone.layers.embedding import learned_tables
from trainer.backbone.model import build_backbone
from trainer.backbone.pretrained_vectors import fill_tables
from trainer.training.backbone_step import Learner

VECTORS = {"shop_id3": [1.0, 2.0, 3.0], "shop_id0": [3.0, 0.0, -1.0], "elsewhere": [9.0, 9.0, 9.0]}


def experiment(path: Path, **settings: Any) -> Experiment:
    words = ", ".join(f"{key}: {value}" for key, value in settings.items())
    return load_experiment(
        QUICKSTART,
        [
            *SMALL,
            "features.shop_id.dimension=3",
            f"features.shop_id.pretrained={{path: '{path}/*.parquet', {words}}}",
        ],
    )


def write(path: Path, ids: list[Any], vectors: list[Any], **names: str) -> None:
    table = {names.get("id", "id"): pa.array(ids), names.get("vector", "vector"): pa.array(vectors)}
    pq.write_table(pa.table(table), path / "vectors.parquet")


def filled(settings: Experiment) -> tuple[keras.Model, Fitted, list[Any]]:
    fitted = made_up(settings)
    model = build_backbone(settings, transform_outputs(settings, fitted))
    return model, fitted, fill_tables(model, settings, fitted)


def test_every_id_has_its_vector_and_the_others_the_mean(tmp_path: Path) -> None:
    write(tmp_path, list(VECTORS), list(VECTORS.values()))
    model, fitted, (found,) = filled(experiment(tmp_path))
    table = model.get_layer("embedding_shop_id").table.numpy()
    first = 2  # 0 is missing, 1 stands for what is outside the vocabulary
    for value, vector in list(VECTORS.items())[:2]:
        row = first + fitted.vocabularies["shop_id"].index(value)
        np.testing.assert_array_equal(table[row], vector)
    mean = np.mean([VECTORS["shop_id3"], VECTORS["shop_id0"]], axis=0)
    others = [0, 1, *(first + place for place in range(12) if place not in (0, 3))]
    np.testing.assert_array_equal(table[others], np.tile(mean, (12, 1)))
    assert (found.used, found.ids, found.unused) == (2, 12, 1)
    assert "2 of 12 ids have one; 10 start from their mean" in found.words


@pytest.mark.parametrize("trained", [False, True])
def test_a_frozen_table_is_nobodys_to_learn(tmp_path: Path, trained: bool) -> None:
    write(tmp_path, list(VECTORS), list(VECTORS.values()))
    settings = experiment(tmp_path, trained=str(trained).lower())
    model, _, _ = filled(settings)
    assert ("embedding_shop_id" in [table.name for table in learned_tables(model)]) == trained
    learner, table = Learner(model, settings), model.get_layer("embedding_shop_id").table
    taught = [*learner.tables, *(weight.value for weight in learner.dense)]
    assert any(table.value is weight for weight in taught) == trained
    again = keras.Model.from_config(model.get_config())
    assert again.get_layer("embedding_shop_id").frozen == (not trained)


def test_columns_may_have_other_names_and_ids_may_be_numbers(tmp_path: Path) -> None:
    write(tmp_path, [7, 8], [[1, 2, 3], [4, 5, 6]], id="item", vector="embedding")
    settings = experiment(tmp_path, id="item", vector="embedding")
    fitted = made_up(settings)
    fitted.vocabularies["shop_id"] = ("8", "7.5")
    model = build_backbone(settings, transform_outputs(settings, fitted))
    (found,) = fill_tables(model, settings, fitted)
    assert (found.used, found.unused) == (1, 1)


@pytest.mark.parametrize(
    ("ids", "vectors", "expected"),
    [
        (["shop_id1"], [[1.0, 2.0]], "id 'shop_id1': expected 3 numbers"),
        (["shop_id1", "shop_id1"], [[1.0] * 3] * 2, "stands twice"),
        (["shop_id1"], [[1.0, None, 2.0]], "a number is missing"),
        (["shop_id1", None], [[1.0] * 3] * 2, "id None: missing"),
        (["shop_id1"], [[1.0, float("nan"), 2.0]], "column 'vector': row 0"),
        (["nobody"], [[1.0] * 3], "none of its ids is in the vocabulary"),
        (["shop_id1"], ["x"], "column 'vector': row 0: expected a list"),
        (["shop_id1"], [None], "id 'shop_id1': has no vector"),
    ],
)
def test_what_is_no_vector_is_refused(
    tmp_path: Path, ids: list[Any], vectors: list[Any], expected: str
) -> None:
    write(tmp_path, ids, vectors)
    with pytest.raises(InputError, match=expected) as error:
        filled(experiment(tmp_path))
    assert str(error.value).startswith("features.shop_id.pretrained")
    assert "\n" not in str(error.value)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file matches"):
        filled(experiment(tmp_path))
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match="not a Parquet file, or damaged"):
        filled(experiment(tmp_path))
    (tmp_path / "a.parquet").unlink()
    write(tmp_path, ["a"], [[1.0] * 3], vector="vec")
    with pytest.raises(InputError, match="has no column 'vector'"):
        filled(experiment(tmp_path))


def test_vectors_need_a_vocabulary_and_a_width(tmp_path: Path) -> None:
    pretrained = "features.shop_id.pretrained={path: x}"
    with pytest.raises(ConfigError, match="needs 'dimension'"):
        load_experiment(QUICKSTART, [pretrained])
    hashed = "features.shop_id={kind: categorical, side: item, hash_buckets: 9, dimension: 3}"
    with pytest.raises(ConfigError, match="need a 'vocabulary'"):
        load_experiment(QUICKSTART, [hashed, pretrained])
