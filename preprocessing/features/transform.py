"""The one feature transform: raw columns -> ids and numbers, as a TensorFlow graph.

Beam applies it to batches (``apply_batch``), the exported SavedModel holds it unchanged
(``features`` and ``topics``), so training and serving cannot differ. Ids: 0 is padding or missing,
then the out-of-vocabulary buckets, then the vocabulary.
"""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs import Experiment
from configs.domains import Topic, hours_of
from configs.features import (
    CategoricalFeature,
    CrossFeature,
    ListFeature,
    NumericFeature,
    TimestampFeature,
)
from configs.tensorflow_import import tf
from preprocessing.features.fitted import Fitted
from preprocessing.features.local_time import day_and_hour
from preprocessing.features.output_spec import Output as Output
from preprocessing.features.output_spec import transform_outputs as transform_outputs
from preprocessing.features.output_spec import vocabulary_sizes as vocabulary_sizes

_STANDARD_SCORE_LIMIT = 10.0  # our choice: a hostile number may be an outlier, never an overflow
_UNIT_SEPARATOR = "\x1f"  # between the values of a cross: ("a", "bc") is not ("ab", "c")

Array = npt.NDArray[np.generic]


def signed_log1p(values: tf.Tensor) -> tf.Tensor:
    """sign(x) * log(1 + |x|) of float64, elementwise, rounded to float32's 24 bits.

    Vector and scalar code paths of a logarithm differ in the last bit, and so would a row alone and
    the row in a batch.
    """
    return tf.cast(tf.cast(tf.sign(values) * tf.math.log1p(tf.abs(values)), tf.float32), tf.float64)


class Transform(tf.Module):
    """A fitted transform.

    Raw tensors by column name: strings ``[N]`` (empty = missing), lists ``[N, L]`` padded with
    empty strings, numbers float32 ``[N]`` (NaN = missing), timestamps int64 ``[N]`` in seconds
    since 1970 UTC (0 or less = missing).
    """

    def __init__(self, experiment: Experiment, fitted: Fitted) -> None:
        super().__init__(name="transform")
        self.experiment = experiment
        self.fitted = fitted
        self.outputs = transform_outputs(experiment, fitted)
        self._folder = tempfile.TemporaryDirectory(
            prefix="vocabularies-"
        )  # table initialisers read files; export copies them as assets
        self._ids = {
            name: _Ids(name, spec, fitted, Path(self._folder.name))
            for name, spec in experiment.features.items()
            if isinstance(spec, CategoricalFeature)
            or (isinstance(spec, ListFeature) and not spec.shares)
        }

    def features(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Outputs by name, as ``transform_outputs`` describes them, of every feature whose raw
        column is given.
        """
        outputs: dict[str, tf.Tensor] = {}
        for name, spec in self.experiment.features.items():
            columns = self.experiment.columns_of(name)
            if not raw.keys() >= set(columns):
                continue
            column = raw[columns[0]]
            if isinstance(spec, CategoricalFeature):
                outputs[name] = self._ids[name](column)
            elif isinstance(spec, CrossFeature):
                outputs[name] = _crossed([raw[column] for column in columns], spec.hash_buckets)
            elif isinstance(spec, ListFeature):
                outputs[name] = _cut_or_pad(self._ids[spec.shares or name](column), spec.max_length)
            elif isinstance(spec, NumericFeature):
                outputs[name] = self._number(name, spec, column)
            else:
                outputs.update(_time_parts(name, spec, column))
        return outputs

    def topics(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Index of each row's value in every topic, int32 ``[N]``: from 1 in the topic's order,
        0 for none of them.
        """
        return {
            name: _topic_index(topic, raw[topic.column])
            for name, topic in self.experiment.topics.items()
        }

    def apply_batch(self, batch: pa.RecordBatch) -> dict[str, Array]:
        """Transforms validated rows (see ``columns.ARROW_TYPES``).

        Look-ups run once per distinct value of the batch: ids are a function of the value alone.

        Returns:
          ``feature/NAME`` and ``topic/NAME`` columns of the record format.
        """
        arrays: dict[str, Array] = {}
        encoded: dict[str, pa.DictionaryArray] = {}  # columns that several features and topics read

        def by_distinct_value(column: str, function: "_Ids | object") -> Array:
            if column not in encoded:
                encoded[column] = _encoded(batch.column(column))
            return _of_distinct_values(encoded[column], function)

        for name, spec in self.experiment.features.items():
            columns = self.experiment.columns_of(name)
            column = batch.column(columns[0])
            if isinstance(spec, CategoricalFeature):
                arrays[f"feature/{name}"] = by_distinct_value(columns[0], self._ids[name])
            elif isinstance(spec, CrossFeature):
                values = [tf.constant(by_distinct_value(column, tf.identity)) for column in columns]
                arrays[f"feature/{name}"] = _crossed(values, spec.hash_buckets).numpy()
            elif isinstance(spec, ListFeature):
                column = pc.list_slice(column, 0, spec.max_length)
                ids = _dense(
                    column,
                    _of_distinct_values(_encoded(column.flatten()), self._ids[spec.shares or name]),
                )
                arrays[f"feature/{name}"] = _cut_or_pad(tf.constant(ids), spec.max_length).numpy()
            elif isinstance(spec, NumericFeature):
                arrays[f"feature/{name}"] = self._number(
                    name, spec, tf.constant(_with_nan(column))
                ).numpy()
            else:
                parts = _time_parts(name, spec, tf.constant(column.to_numpy(zero_copy_only=False)))
                arrays.update({f"feature/{part}": ids.numpy() for part, ids in parts.items()})
        for name, topic in self.experiment.topics.items():
            column = batch.column(topic.column)
            if topic.hours:
                arrays[f"topic/{name}"] = _topic_index(
                    topic, tf.constant(column.to_numpy(zero_copy_only=False))
                ).numpy()
            else:
                arrays[f"topic/{name}"] = by_distinct_value(
                    topic.column, partial(_topic_index, topic)
                )
        return arrays

    def _number(self, name: str, spec: NumericFeature, column: tf.Tensor) -> tf.Tensor:
        missing = tf.logical_not(tf.math.is_finite(column))
        values = tf.cast(tf.where(missing, tf.zeros_like(column), column), tf.float64)
        if spec.log1p:
            values = signed_log1p(values)
        if spec.quantile_buckets:
            boundaries = tf.constant(self.fitted.boundaries[name], tf.float64)
            return tf.where(missing, 0, 1 + tf.searchsorted(boundaries, values, side="right"))
        if spec.standardise:
            mean, deviation = self.fitted.moments[name]
            values = tf.clip_by_value(
                (values - mean) / deviation, -_STANDARD_SCORE_LIMIT, _STANDARD_SCORE_LIMIT
            )
        return tf.where(missing, tf.zeros_like(column), tf.cast(values, tf.float32))


class _Ids(tf.Module):
    """Strings of any shape -> int32 ids of the same shape."""

    def __init__(
        self, name: str, spec: CategoricalFeature | ListFeature, fitted: Fitted, folder: Path
    ) -> None:
        super().__init__(name=f"ids_{name}".replace(".", "_").replace("-", "_"))
        self._oov_buckets = spec.hash_buckets or spec.oov_buckets
        self._table = None
        if not spec.hash_buckets and fitted.vocabularies[name]:
            path = folder / f"{name}.txt"
            path.write_text(
                "".join(f"{value}\n" for value in fitted.vocabularies[name]),
                encoding="utf-8",
                newline="\n",
            )
            initializer = tf.lookup.TextFileInitializer(
                str(path),
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            )
            self._table = tf.lookup.StaticHashTable(initializer, default_value=-1)

    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        ids = 1 + tf.strings.to_hash_bucket_fast(values, self._oov_buckets)
        if self._table is not None:
            index = self._table.lookup(values)
            ids = tf.where(index >= 0, 1 + self._oov_buckets + index, ids)
        return tf.cast(tf.where(tf.equal(values, ""), tf.zeros_like(ids), ids), tf.int32)


def _crossed(columns: list[tf.Tensor], buckets: int) -> tf.Tensor:
    """Strings ``[N]`` of several columns -> one int32 id ``[N]``; 0 where one of the columns is
    empty.
    """
    ids = 1 + tf.strings.to_hash_bucket_fast(tf.strings.join(columns, _UNIT_SEPARATOR), buckets)
    missing = tf.reduce_any(tf.equal(tf.stack(columns), ""), axis=0)
    return tf.cast(tf.where(missing, tf.zeros_like(ids), ids), tf.int32)


def _cut_or_pad(ids: tf.Tensor, length: int) -> tf.Tensor:
    """``[N, L]`` -> ``[N, length]``."""
    ids = ids[:, :length]
    ids = tf.pad(ids, [[0, 0], [0, length - tf.shape(ids)[1]]])
    return tf.ensure_shape(ids, [None, length])


def _time_parts(name: str, spec: TimestampFeature, seconds: tf.Tensor) -> dict[str, tf.Tensor]:
    day, hour = day_and_hour(seconds, spec.time_zone)
    parts = {"hour": hour, "weekday": (day + 3) % 7}  # 1970-01-01 was a Thursday; Monday is 0
    return {
        f"{name}_{part}": tf.where(seconds > 0, 1 + tf.cast(parts[part], tf.int32), 0)
        for part in spec.parts
    }


def _topic_index(topic: Topic, column: tf.Tensor) -> tf.Tensor:
    if topic.hours:
        by_hour = np.zeros(24, np.int32)
        for index, text in enumerate(topic.hours.values(), 1):
            by_hour[list(hours_of(text))] = index
        _, hour = day_and_hour(column, topic.time_zone)
        return tf.where(column > 0, tf.gather(tf.constant(by_hour), hour), 0)
    indices = tf.range(1, len(topic.values) + 1, dtype=tf.int32)
    return tf.reduce_max(
        tf.where(tf.equal(column[:, tf.newaxis], tf.constant(topic.values)), indices, 0), axis=1
    )


def _encoded(column: pa.Array) -> pa.DictionaryArray:
    """The distinct values of a nullable string column; null is read as the empty string."""
    return column.fill_null("").dictionary_encode()


def _of_distinct_values(encoded: pa.DictionaryArray, function: "_Ids | object") -> Array:
    """Applies an elementwise function of strings once to every distinct value."""
    distinct = function(tf.constant(encoded.dictionary.to_pylist(), tf.string)).numpy()  # type: ignore[operator]
    result: Array = distinct[encoded.indices.to_numpy()]
    return result


def _dense(lists: pa.Array, flat_ids: Array) -> Array:
    """Ragged ids -> ``[N, longest]`` padded with 0, as a client pads a request with empty
    strings.
    """
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    starts = np.cumsum(lengths) - lengths
    dense = np.zeros((len(lists), int(lengths.max(initial=0))), flat_ids.dtype)
    row = np.repeat(np.arange(len(lists)), lengths)
    dense[row, np.arange(len(flat_ids)) - np.repeat(starts, lengths)] = flat_ids
    return dense


def _with_nan(column: pa.Array) -> npt.NDArray[np.float32]:
    numbers: npt.NDArray[np.float32] = column.to_numpy(zero_copy_only=False).astype(
        np.float32, copy=False
    )
    return numbers
