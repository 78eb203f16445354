"""Topics: the index of each row's value, by a column's values or by local hours."""

from functools import partial
from typing import Any

import numpy as np

from configs.domains import Topic, hours_of
from preprocessing.features.batch_columns import Array, BatchColumns


def topic_index(topic: Topic, column: Any) -> Any:
    """Index of each row's value in a topic, as a graph.

    Args:
      topic: of the experiment.
      column: its raw column: strings ``[N]``, or int64 seconds since 1970 UTC ``[N]``.

    Returns:
      int32 ``[N]``: from 1 in the topic's order, 0 for none of them.
    """
    from configs.tensorflow_import import tf
    from preprocessing.features.local_time import day_and_hour

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


def topic_index_of_batch(topic: Topic, columns: BatchColumns) -> Array:
    """The same of validated rows; values are compared once per distinct value."""
    if topic.hours:
        indices: Array = topic_index(topic, columns.moments(topic.column)).numpy()
        return indices
    return columns.by_distinct_value(topic.column, partial(topic_index, topic))
