"""Carries a backbone's weights over to one whose vocabularies have grown, and checks that both give
the same scores.
"""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs import Experiment, InputError
from configs.tensorflow_import import tf
from preprocessing.features.fitted import Fitted
from preprocessing.features.kinds.registry import features_of
from preprocessing.features.output_spec import transform_outputs
from preprocessing.features.topic import topics_of_batch
from preprocessing.features.transform import Transform
from trainer.ancestry.ancestor import Ancestor
from trainer.backbone.feature_vectors import table_name
from trainer.backbone.frozen_pass import feature_tensors
from trainer.backbone.layers.chunked_tables import copy_rows
from trainer.backbone.layers.embedding import RowEmbedding
from trainer.backbone.model import inference_model
from trainer.backbone.saving import load_backbone
from trainer.data.dataset import Columns, Dataset
from trainer.registry.golden_scores import record_batch

TOLERANCE = 1e-6
"""How far a logit may be from the older backbone's, of 1 or of its own size."""
_ROWS = 4096
"""New rows that both backbones score."""

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Carried:
    """What was carried over.

    Attributes:
      new: feature -> values that have a new vector, those that took a place included.
      requests: golden requests of the older job that were compared.
      left_out: those that were not, since they hold a value that has left.
      rows: new rows that were compared.
      furthest: the largest distance between two logits.
    """

    new: dict[str, int]
    requests: int
    left_out: int
    rows: int
    furthest: float

    @property
    def words(self) -> str:
        """For people."""
        new = ", ".join(f"{name} {count:,}" for name, count in self.new.items() if count)
        left = f" ({self.left_out} more hold a value that has left)" if self.left_out else ""
        return (
            f"new vectors, which begin as what their values were read as: {new or 'none'}; scores"
            f" of {self.requests} golden requests{left} and {self.rows:,} new rows are those of the"
            f" older backbone (largest difference {self.furthest:.1e})"
        )


def carry_over(
    model: keras.Model, experiment: Experiment, dataset: Dataset, ancestor: Ancestor
) -> Carried:
    """Gives a new backbone the weights of an older one. A row of a table whose value is new begins
    as the row that the value was read as: the out-of-vocabulary one of its hash.

    Args:
      model: of ``build_backbone`` for the dataset; changed in place.
      experiment: of the new backbone.
      dataset: whose transform was grown.
      ancestor: checked (``Ancestor.check_carries``).

    Raises:
      InputError: the older backbone is of another program, or a score is another.
    """
    older = load_backbone(ancestor.job, ancestor.experiment)
    old_fitted = ancestor.job.fitted()
    source = read_before(experiment, old_fitted, dataset.fitted)
    theirs = {variable.path: variable for variable in older.weights}
    rows = {layer.table.path: layer for layer in model.layers if isinstance(layer, RowEmbedding)}
    tables = {table_name(name): numbers for name, numbers in source.items()}
    for variable in model.weights:
        other = theirs.pop(variable.path, None)
        layer = rows.get(variable.path)
        of_rows = layer is not None and layer.name in tables
        if other is None or other.shape[of_rows:] != variable.shape[of_rows:]:
            raise _not_carried(ancestor, variable.path)
        if layer is not None and layer.name in tables:
            copy_rows(variable.value, other.value, tables[layer.name])
        else:
            variable.assign(other.value)
    if theirs:
        raise _not_carried(ancestor, min(theirs))
    new = {
        name: _new_values(old_fitted.vocabularies[name], dataset.fitted.vocabularies[name]).size
        for name in dataset.fitted.vocabularies
    }
    requests, left_out, rows_compared, furthest = _compared(
        older, model, experiment, dataset, ancestor, old_fitted, source
    )
    for name, count in new.items():
        if count and experiment.features[name].reads_vectors:
            kept = "begin with" if experiment.features[name].learns_vectors else "keep"
            print(
                f"note: features.{name}: {count:,} new values {kept} the vector of what is outside"
                " the vocabulary; train without --from to read theirs from 'pretrained'",
                file=sys.stderr,
            )
    return Carried(new, requests, left_out, rows_compared, furthest)


def read_before(experiment: Experiment, old: Fitted, new: Fitted) -> dict[str, Int64s]:
    """The id that the value of each new id had under an older transform.

    Args:
      experiment: features.
      old: the older transform.
      new: grown from it.

    Returns:
      Feature with a vocabulary -> int64 ``[ids]``, padding and out-of-vocabulary ids included.
    """
    found = {}
    features = features_of(experiment)
    with tempfile.TemporaryDirectory(prefix="vocabularies-") as folder:
        for name, values in new.vocabularies.items():
            first = experiment.features[name].shared_ids
            numbers = np.arange(first + len(values))
            changed = _new_values(old.vocabularies[name], values)
            if changed.size:
                lookup = features[name].lookup(old, Path(folder))
                if lookup is None:
                    raise InputError(f"features.{name}: its kind has a vocabulary and no look-up")
                texts = pa.array(values, pa.large_string()).take(pa.array(changed))
                ids = lookup(tf.constant(texts.to_pylist(), tf.string))
                numbers[first + changed] = ids.numpy()
            found[name] = numbers
    return found


def _new_values(old: Any, new: Any) -> Int64s:
    """Places of a grown vocabulary whose value is not the one of before."""
    before, after = pa.array(old, pa.large_string()), pa.array(new, pa.large_string())
    replaced = pc.not_equal(after.slice(0, len(before)), before)
    places = np.flatnonzero(replaced.to_numpy(zero_copy_only=False))
    return np.concatenate([places, np.arange(len(before), len(after))])


def _left(experiment: Experiment, name: str, old: Fitted, dataset: Dataset) -> Int64s:
    """The ids of values that have left a vocabulary."""
    before = old.vocabularies[name]
    places = _new_values(before, dataset.fitted.vocabularies[name])
    return experiment.features[name].shared_ids + places[places < len(before)]


def _not_carried(ancestor: Ancestor, path: str) -> InputError:
    return InputError(
        f"--from: {ancestor.job.folder}: weight '{path}' has no counterpart of its shape in the"
        " backbone that is trained; it is of another version of this program; train without --from"
    )


def _compared(
    older: keras.Model,
    model: keras.Model,
    experiment: Experiment,
    dataset: Dataset,
    ancestor: Ancestor,
    old_fitted: Fitted,
    source: dict[str, Int64s],
) -> tuple[int, int, int, float]:
    """Scores golden requests of the older job and new rows under both backbones; how many, how many
    requests were left out, and the largest distance. Raises ``InputError`` where it is too large.
    """
    new_side = inference_model(model, experiment)
    old_side = inference_model(older, ancestor.experiment)
    outputs = transform_outputs(experiment, dataset.fitted)
    tables = {name: output.table for name, output in outputs.items() if output.size}

    def before(columns: Columns) -> Columns:
        """Rows of the new transform as the older one reads them, but for values that have left."""
        return columns | {
            f"feature/{name}": source[table][columns[f"feature/{name}"]].astype(np.int32)
            for name, table in tables.items()
            if table in source and f"feature/{name}" in columns
        }

    first = next(dataset.batches(experiment.pretrain.split, _ROWS))
    furthest = _distance(old_side, new_side, before(first), first)
    requests = left_out = 0
    if ancestor.job.golden.exists():
        lines = ancestor.job.golden_requests()
        batch = record_batch(ancestor.experiment, lines, str(ancestor.job.golden))
        topics = topics_of_batch(ancestor.experiment.topics, batch)
        theirs = Transform(ancestor.experiment, old_fitted).apply_batch(batch) | topics
        ours = Transform(experiment, dataset.fitted).apply_batch(batch) | topics
        expected = before(ours)
        same = np.ones(len(lines), bool)
        for name, table in tables.items():
            was = theirs[f"feature/{name}"]
            unequal = was != expected[f"feature/{name}"]
            if (
                table in source
                and not np.isin(was[unequal], _left(experiment, table, old_fitted, dataset)).all()
            ):
                raise InputError(
                    f"{dataset.folder}: its transform reads values of features.{name} as other ids"
                    f" than that of {ancestor.job.folder}; make it again with --grow"
                )
            same &= ~unequal.reshape(len(lines), -1).any(axis=1)
        requests, left_out = int(same.sum()), int((~same).sum())
        if requests:
            kept = [
                {name: values[same] for name, values in side.items()} for side in (theirs, ours)
            ]
            furthest = float(np.max([furthest, _distance(old_side, new_side, *kept)]))
    if not furthest <= TOLERANCE:
        raise InputError(
            f"--from: {ancestor.job.folder}: before the first step a score is {furthest:.1e} from"
            f" that of its backbone, expected {TOLERANCE:.0e} at most: the program that trained it"
            " computed something else; train without --from"
        )
    return requests, left_out, len(first["row/weight"]), furthest


def _distance(older: keras.Model, newer: keras.Model, theirs: Columns, ours: Columns) -> float:
    """The largest distance of two backbones' logits, in units of 1 or of the logit."""
    expected, received = _logits(older, theirs), _logits(newer, ours)
    return float(np.max(np.abs(received - expected) / np.maximum(1.0, np.abs(expected))))


def _logits(model: keras.Model, columns: Columns) -> npt.NDArray[np.float32]:
    inputs = feature_tensors(columns, model)
    heads = model({name: tf.constant(inputs[name]) for name in inputs}, training=False)
    logits: npt.NDArray[np.float32] = heads["logits"].numpy()
    return logits
