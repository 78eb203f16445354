"""The one feature transform: raw columns -> ids and numbers, as a TensorFlow graph.

Beam applies it to batches (``apply_batch``), the exported SavedModel holds it unchanged
(``features``), so training and serving cannot differ. Topics are no part of it (``topic``). Ids: 0
is padding or missing, then the out-of-vocabulary buckets, then the vocabulary.
"""

import tempfile
from pathlib import Path

import pyarrow as pa

from configs import Experiment
from configs.tensorflow_import import tf
from preprocessing.features.batch_columns import Array, BatchColumns
from preprocessing.features.feature_kind import Constants
from preprocessing.features.fitted import Fitted
from preprocessing.features.kinds.registry import features_of
from preprocessing.features.output_spec import Output as Output
from preprocessing.features.output_spec import transform_outputs as transform_outputs
from preprocessing.features.output_spec import vocabulary_sizes as vocabulary_sizes


class Transform(tf.Module):
    """A fitted transform.

    Raw tensors by column name: strings ``[N]`` (empty = missing), lists ``[N, L]`` padded with
    empty strings, numbers float32 ``[N]`` (NaN = missing), timestamps int64 ``[N]`` in seconds
    since 1970 UTC (outside 1990 to 2100 = missing).
    """

    def __init__(self, experiment: Experiment, fitted: Fitted) -> None:
        super().__init__(name="transform")
        self.experiment = experiment
        self.fitted = fitted
        self.outputs = transform_outputs(experiment, fitted)
        self._folder = tempfile.TemporaryDirectory(
            prefix="vocabularies-"
        )  # table initialisers read files; export copies them as assets
        self._features = features_of(experiment)
        self._ids = {
            name: lookup
            for name, feature in self._features.items()
            if (lookup := feature.lookup(fitted, Path(self._folder.name))) is not None
        }
        self._constants = Constants(fitted, self._ids, self._features)

    def features(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Outputs by name, as ``transform_outputs`` describes them, of every feature whose raw
        column is given.
        """
        outputs: dict[str, tf.Tensor] = {}
        for name, feature in self._features.items():
            columns = self.experiment.columns_of(name)
            if raw.keys() >= set(columns):
                outputs |= feature.graph([raw[column] for column in columns], self._constants)
        return outputs

    def apply_batch(self, batch: pa.RecordBatch | BatchColumns) -> dict[str, Array]:
        """Transforms validated rows (see ``logs.schema.ARROW_TYPES``).

        Look-ups run once per distinct value of the batch: ids are a function of the value alone.

        Returns:
          ``feature/NAME`` columns of the record format.
        """
        columns = BatchColumns.of(batch)
        return {
            f"feature/{name}": array
            for feature in self._features.values()
            for name, array in feature.batch(columns, self._constants).items()
        }
