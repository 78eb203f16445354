"""From a row's topics to its domain's slot; the same graph judges ``auto`` in evaluation and routes it at serving."""

import numpy as np
import tensorflow as tf

from configs import InputError
from configs.domains import ALL, Domain, Topic


def most_specific_first(domains: list[Domain], topics: dict[str, Topic]) -> list[Domain]:
    """Cross-topic before single-topic, then the config's order of topics and values, then ``all``."""
    order = list(topics)
    return sorted(
        domains, key=lambda domain: (-len(domain.conditions), [(order.index(topic), index) for topic, index in domain.conditions])
    )


def auto_rank(topics: dict[str, tf.Tensor], domains: list[Domain], rows: tf.Tensor | int) -> tf.Tensor:
    """The most specific domain that each row matches.

    Args:
      topics: topic -> index of each row's value, int32 ``[N]`` (``Transform.topics``).
      domains: candidates, most specific first.
      rows: N.

    Returns:
      int32 ``[N]``: from 1 in the order of ``domains``; 0 where none matches.
    """
    names = list(topics)
    if not domains:
        return tf.zeros([rows], tf.int32)
    wanted = np.zeros((len(domains), len(names) + 1), np.int32)  # 0: any value; the last column lets 'all' match without topics
    for row, domain in enumerate(domains):
        for topic, index in domain.conditions:
            wanted[row, names.index(topic)] = index
    received = tf.stack([*topics.values(), tf.zeros([rows], tf.int32)], axis=1)
    matches = tf.reduce_all(tf.logical_or(wanted == 0, tf.equal(received[:, tf.newaxis, :], wanted)), axis=2)
    first = tf.argmax(tf.cast(matches, tf.int32), axis=1, output_type=tf.int32)
    return tf.where(tf.reduce_any(matches, axis=1), first + 1, 0)


def parse_domain(name: str, topics: dict[str, Topic]) -> Domain:
    """The domain of a name such as ``region=25,period=noon``. Raises ``InputError`` where a topic or value is unknown."""
    if name == ALL:
        return Domain(ALL)
    conditions = []
    for part in name.split(","):
        topic, _, value = part.partition("=")
        if topic not in topics or value not in topics[topic].names:
            raise InputError(f"domain '{name}': '{part}' is no value of a topic; topics: {', '.join(topics) or 'none'}")
        conditions.append((topic, topics[topic].names.index(value) + 1))
    return Domain(name, tuple(conditions))
