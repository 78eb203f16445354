"""Finds a row's slot from its topics; the same graph judges ``auto`` in evaluation and routes it at
serving.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from configs.domains import Domain, Topic
from configs.tensorflow_import import tf


def most_specific_first(domains: Iterable[Domain], topics: Mapping[str, Topic]) -> list[Domain]:
    """Cross-topic before single-topic, then the config's order of topics and values, then
    ``all``.
    """
    order = list(topics)
    return sorted(
        domains,
        key=lambda domain: (
            -len(domain.conditions),
            [(order.index(topic), index) for topic, index in domain.conditions],
        ),
    )


def auto_rank(
    topics: dict[str, tf.Tensor],
    domains: list[Domain],
    n_rows: tf.Tensor | int,
    slots: tf.Tensor | tf.Variable | None = None,
) -> tf.Tensor:
    """The most specific domain that each row matches.

    Args:
      topics: topic -> index of each row's value, int32 ``[N]`` (``features.topic.topic_index``).
      domains: candidates, most specific first.
      n_rows: N.
      slots: int32 ``[1 + len(domains)]``, by rank; candidates of slot 0 are not served, and no row
        is theirs. None: all are served.

    Returns:
      int32 ``[N]``: from 1 in the order of ``domains``; 0 where none matches.
    """
    none = len(domains) + 1
    best = tf.fill([n_rows], none)
    by_topics: dict[tuple[str, ...], list[tuple[tuple[int, ...], int]]] = {}
    for rank, domain in enumerate(domains, 1):
        cut = tuple(topic for topic, _ in domain.conditions)
        by_topics.setdefault(cut, []).append((tuple(index for _, index in domain.conditions), rank))
    # A table for each set of topics: a row's cost grows with the ways of cutting traffic, not with
    # the domains they give.
    for cut, ranked in by_topics.items():
        sizes = [
            1 + max(indices) for indices in zip(*(indices for indices, _ in ranked), strict=True)
        ]
        table = np.zeros(sizes, np.int32)
        for indices, rank in reversed(ranked):
            table[indices] = rank
        place = tf.zeros([n_rows], tf.int32)
        for topic, size in zip(cut, sizes, strict=True):
            place = place * size + tf.where(topics[topic] < size, topics[topic], 0)
        found = tf.gather(tf.constant(table.ravel()), place)
        served = found if slots is None else tf.gather(slots, found)
        best = tf.minimum(best, tf.where(tf.logical_and(found > 0, served > 0), found, none))
    return tf.where(tf.equal(best, none), 0, best)
