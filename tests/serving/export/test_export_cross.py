"""A crossed feature is computed by the served model, from the same raw columns, in every
signature.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import trainer  # noqa: F401 - before TensorFlow

# isort: split
import tensorflow as tf

from configs import Experiment, load_experiment
from preprocessing.features.fitted import Fitted
from preprocessing.features.transform import Transform
from preprocessing.logs.schema import ARROW_TYPES, raw_columns
from serving.export.version_writer import export
from tests.conftest import QUICKSTART, SMALL
from tests.serving.jobs import loud_job
from tests.tasks import TASKS
from trainer.backbone.frozen_pass import feature_tensors
from trainer.backbone.saving import load_frozen
from trainer.job import Job
from trainer.losses import learned_scores

CROSS = (
    "features.user_shop={kind: cross, side: item, columns: [user_id, shop_id], hash_buckets: 50}"
)
ROWS = 8


@pytest.fixture(scope="module")
def crossed() -> Experiment:
    return load_experiment(QUICKSTART, [*SMALL, CROSS])


@pytest.fixture(scope="module")
def crossed_job(crossed: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A backbone of large random weights, so that every input moves the scores; no kernel."""
    specs = crossed.features.items()
    fitted = Fitted(
        settings=Fitted.settings_of(crossed),
        vocabularies={name: ("a", "b", "c") for name, spec in specs if spec.kind == "categorical"},
        moments={name: (2.0, 3.0) for name, spec in specs if spec.kind == "numeric"},
        boundaries={},
    )
    return loud_job(tmp_path_factory.mktemp("crossed"), crossed, fitted)


def requests(experiment: Experiment) -> dict[str, list[Any]]:
    """One user, eight shops, by column."""
    columns: dict[str, list[Any]] = {}
    for name, column in raw_columns(experiment).items():
        if column.served:
            value = {"string": "a", "strings": ["a", "b"], "number": 1.5, "timestamp": 1741000000}[
                column.kind
            ]
            columns[name] = [value] * ROWS
    return columns | {
        "user_id": ["a user"] * ROWS,
        "shop_id": [f"shop {index}" for index in range(ROWS)],
    }


def test_every_signature_scores_crosses_as_the_trainer_does(
    crossed: Experiment, crossed_job: Job, tmp_path: Path
) -> None:
    columns, kinds = requests(crossed), raw_columns(crossed)
    batch = pa.RecordBatch.from_pydict(
        {name: pa.array(values, ARROW_TYPES[kinds[name].kind]) for name, values in columns.items()}
    )
    backbone = load_frozen(crossed_job, crossed)
    outputs = Transform(crossed, crossed_job.fitted()).apply_batch(batch)
    assert len(set(outputs["feature/user_shop"].tolist())) > 3
    heads = backbone(
        {name: tf.constant(values) for name, values in feature_tensors(outputs, backbone).items()},
        training=False,
    )
    expected = np.exp(learned_scores(TASKS, heads["logits"])["ctr"])
    assert (
        len(set(expected.tolist())) > 3
    )  # shops are all out of the vocabulary, so only the cross tells them apart

    signatures = tf.saved_model.load(str(export(crossed_job, tmp_path))).signatures
    dtypes = {
        "string": tf.string,
        "strings": tf.string,
        "number": tf.float32,
        "timestamp": tf.int64,
    }
    for name in ("serving_default", "rank"):
        taken = signatures[name].structured_input_signature[1]
        raw = {
            column: tf.constant(columns[column], dtypes[kinds[column].kind])
            for column in taken
            if column != "domain"
        }
        raw["domain"] = tf.constant(["backbone"] * ROWS)
        fed = {
            column: tensor[:1] if taken[column].shape[0] == 1 else tensor
            for column, tensor in raw.items()
        }
        np.testing.assert_allclose(
            signatures[name](**fed)["ctr"], expected, rtol=1e-5, err_msg=name
        )
