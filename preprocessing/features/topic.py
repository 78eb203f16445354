"""Topics: the index of each row's value, by a column's values, numbers or lists, or by local
hours.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.topics import Topic, hours_of
from preprocessing.features.batch_columns import Array, BatchColumns

_NONE = np.iinfo(np.int32).max


def topic_index(topic: Topic, column: Any) -> Any:
    """Index of each row's value in a topic, as a graph.

    Args:
      topic: of the experiment.
      column: its raw column as ``Transform`` describes them: strings ``[N]``, lists ``[N, L]``,
        float32 ``[N]``, or int64 seconds since 1970 UTC ``[N]``.

    Returns:
      int32 ``[N]``: from 1 in the topic's order, 0 for none of them.
    """
    by_element = element_index(topic, column)
    return first_of(by_element) if topic.read_as == "strings" else by_element


def element_index(topic: Topic, elements: Any) -> Any:
    """Index of every element by itself, int32, whatever the shape; of a list's elements
    ``first_of`` decides.
    """
    return _BY_WAY[topic.way](topic, elements)


def first_of(by_element: Any) -> Any:
    """Index of each row from those of its list's elements, int32 ``[N, L]``: the first value that
    the list holds, 0 where it holds none.
    """
    from configs.tensorflow_import import tf

    first = tf.reduce_min(tf.where(by_element > 0, by_element, _NONE), axis=1)
    return tf.where(tf.equal(first, _NONE), 0, first)


def topics_of_batch(
    topics: Mapping[str, Topic], batch: pa.RecordBatch | BatchColumns
) -> dict[str, Array]:
    """``topic/NAME`` of validated rows (``logs.schema.ARROW_TYPES``), int32 ``[N]`` each; text is
    compared once per distinct value.
    """
    columns = BatchColumns.of(batch)
    return {f"topic/{name}": _of_batch(topic, columns) for name, topic in topics.items()}


def _of_batch(topic: Topic, columns: BatchColumns) -> Array:
    if topic.read_as == "timestamp":
        return _numpy(topic_index(topic, columns.moments(topic.column)))
    if topic.read_as == "number":
        return _numpy(topic_index(topic, columns.numbers(topic.column)))
    found = columns.by_distinct_value(topic.column, partial(element_index, topic))
    by_element: npt.NDArray[np.int32] = found.astype(np.int32, copy=False)
    if topic.read_as == "string":
        return by_element
    lists = columns.array(topic.column)
    first = np.full(len(lists), _NONE, np.int32)
    inside = by_element > 0
    rows = lists.value_parent_indices().to_numpy()
    np.minimum.at(first, rows[inside], by_element[inside])
    return np.where(first < _NONE, first, 0)


def _numpy(tensor: Any) -> Array:
    array: Array = tensor.numpy()
    return array


def _index_of_text(topic: Topic, text: Any) -> Any:
    from configs.tensorflow_import import tf

    indices = tf.range(1, len(topic.names) + 1, dtype=tf.int32)
    same = tf.equal(text[..., tf.newaxis], tf.constant(topic.names))
    return tf.reduce_max(tf.where(same, indices, 0), axis=-1)


def _index_of_hours(topic: Topic, seconds: Any) -> Any:
    from configs.tensorflow_import import tf
    from preprocessing.features.local_time import day_and_hour, known

    by_hour = np.zeros(24, np.int32)
    for index, text in enumerate(topic.hours.values(), 1):
        by_hour[list(hours_of(text))] = index
    _, hour = day_and_hour(seconds, topic.time_zone)
    return tf.where(known(seconds), tf.gather(tf.constant(by_hour), hour), 0)


def _index_of_numbers(topic: Topic, numbers: Any) -> Any:
    from configs.tensorflow_import import tf

    low, high = (tf.constant(ends, tf.float32) for ends in zip(*topic.bounds(), strict=True))
    indices = tf.range(1, len(topic.ranges) + 1, dtype=tf.int32)
    value = numbers[..., tf.newaxis]
    inside = tf.logical_and(value >= low, value < high)  # NaN is in none
    return tf.reduce_max(tf.where(inside, indices, 0), axis=-1)


_BY_WAY: dict[str, Callable[[Topic, Any], Any]] = {
    "values": _index_of_text,
    "hours": _index_of_hours,
    "ranges": _index_of_numbers,
    "contains": _index_of_text,
}
