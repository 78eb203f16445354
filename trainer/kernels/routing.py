"""Finds from a row's topics which kernel, or which kernels together, answer it under ``auto``; the
same graph judges ``auto`` in evaluation and routes it at serving.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from configs.domains import Domain, Topic
from configs.tensorflow_import import tf

Topics = Mapping[str, tf.Tensor]
"""Topic -> index of each row's value, int32 ``[N]`` (``features.topic.topic_index``)."""


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
    topics: Topics,
    domains: list[Domain],
    n_rows: tf.Tensor | int,
    slots: tf.Tensor | tf.Variable | None = None,
) -> tf.Tensor:
    """The most specific domain that each row matches.

    Args:
      topics: of the rows.
      domains: candidates, most specific first.
      n_rows: N.
      slots: int32 ``[1 + len(domains)]``, by rank; candidates of slot 0 are not served, and no row
        is theirs. None: all are served.

    Returns:
      int32 ``[N]``: from 1 in the order of ``domains``; 0 where none matches.
    """
    none = len(domains) + 1
    best = tf.fill([n_rows], none)
    for cut, ranked in _by_topics(domains).items():
        found = _matched(cut, ranked, topics, n_rows)
        served = found if slots is None else tf.gather(slots, found)
        best = tf.minimum(best, tf.where(tf.logical_and(found > 0, served > 0), found, none))
    return tf.where(tf.equal(best, none), 0, best)


def composed_ranks(
    own: tf.Tensor,
    topics: Topics,
    domains: list[Domain],
    n_rows: tf.Tensor | int,
    slots: tf.Tensor | tf.Variable | None = None,
) -> tf.Tensor:
    """Which kernels answer each row together under ``auto``, where the config has
    ``routing.compose``.

    Of a row whose most specific served domain has one topic or none, the logits are

        all + share * sum over d of (kernel_d - all)

    over the served single-topic domains d that it matches, at most one a topic; the backbone's
    logits stand for ``all`` where that is not served. A kernel with a gate enters under its gate.

    Where one kernel can answer alone it does, and nothing is added up (our choice): a row that
    matches one such domain is answered by its kernel, all of whose change is better than a share of
    it (``docs/results.md``); a row whose most specific served domain has two topics by that one,
    which knows both of them together; and every row whose request names a domain by that domain's.

    Args:
      own: what ``auto_rank`` gives of the other arguments.
      topics: as of ``auto_rank``.
      domains: see there.
      n_rows: see there.
      slots: see there.

    Returns:
      int32 ``[N, 1 + P]``, ranks as of ``auto_rank``: whose logits a row starts from, then of every
      topic that has single-topic domains the one whose change is added; 0 for none, of the first
      for the backbone.
    """
    cuts = _by_topics(domains)
    crosses = [False, *(len(domain.conditions) > 1 for domain in domains)]
    crossed = tf.gather(tf.constant(crosses), own)
    parts = [_matched(cut, of, topics, n_rows) for cut, of in cuts.items() if len(cut) == 1]
    ((_, everyone),) = cuts.get((), [((), 0)])
    ranks = tf.stack([tf.fill([n_rows], everyone), *parts], axis=1)
    if slots is not None:
        ranks = tf.where(tf.gather(slots, ranks) > 0, ranks, 0)
    single = tf.equal(tf.math.count_nonzero(ranks[:, 1:], axis=1), 1)
    only = tf.pad(own[:, tf.newaxis], [[0, 0], [0, len(parts)]])
    return tf.where((crossed | single)[:, tf.newaxis], only, ranks)


def parts_of(domains: Iterable[Domain]) -> int:
    """P of ``composed_ranks``: how many topics have single-topic domains."""
    return len({domain.conditions[0][0] for domain in domains if len(domain.conditions) == 1})


def _by_topics(domains: list[Domain]) -> dict[tuple[str, ...], list[tuple[tuple[int, ...], int]]]:
    """Topics -> the domains that these cut: indices of their values, and rank."""
    found: dict[tuple[str, ...], list[tuple[tuple[int, ...], int]]] = {}
    for rank, domain in enumerate(domains, 1):
        cut = tuple(topic for topic, _ in domain.conditions)
        found.setdefault(cut, []).append((tuple(index for _, index in domain.conditions), rank))
    return found


def _matched(
    cut: tuple[str, ...],
    ranked: list[tuple[tuple[int, ...], int]],
    topics: Topics,
    n_rows: tf.Tensor | int,
) -> tf.Tensor:
    """The rank of the domain of these topics that each row matches, int32 ``[N]``; 0 for none. From
    a table: a row's cost grows with the ways of cutting traffic, not with the domains they give.
    """
    sizes = [1 + max(indices) for indices in zip(*(indices for indices, _ in ranked), strict=True)]
    table = np.zeros(sizes, np.int32)
    for indices, rank in reversed(ranked):
        table[indices] = rank
    place = tf.zeros([n_rows], tf.int32)
    for topic, size in zip(cut, sizes, strict=True):
        place = place * size + tf.where(topics[topic] < size, topics[topic], 0)
    return tf.gather(tf.constant(table.ravel()), place)
