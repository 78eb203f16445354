"""Ranks the rows of a page: by which expression, and what it comes to; the same graph in evaluation
and at serving.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy.typing as npt

from configs import Experiment
from configs.domains import Domain, Topic
from configs.prediction.expressions import value_of
from configs.prediction.tasks import Tasks
from configs.tensorflow_import import tf
from preprocessing.features.expressions import operations
from trainer.kernels.routing import auto_rank, most_specific_first

BY_FIELDS = -1
"""In place of an expression: the row's own fields say which."""

RowTopics = Callable[[], dict[str, tf.Tensor]]
"""Gives topic -> index of each row's value, int32 ``[N]``."""


class PageScores:
    """The expressions of a config, ``score`` and ``scores``, and which one ranks a row.

    A row whose request names a topic's domain is ranked by that domain's expression, else by that
    of a domain above it; one whose request names none (``all``, ``auto``, ``backbone``, a name that
    nobody has) by that of a domain which its own fields match. Of several the most specific counts,
    in the order in which ``auto`` routes; where there is none, ``score``. Which kernel answers does
    not matter: an expression is what is wanted of a page (our choice).

    Args:
      experiment: with the expressions.
      topics: that define the domains, and whose order breaks ties, where they are not the
        experiment's.
    """

    def __init__(self, experiment: Experiment, topics: Mapping[str, Topic] | None = None) -> None:
        topics = experiment.topics if topics is None else topics
        self.tasks: Tasks = experiment.tasks
        self._plain = experiment.score
        texts = {Domain.parse(name, topics): text for name, text in experiment.scores.items()}
        self._domains = most_specific_first(texts, topics)
        expressions = list(dict.fromkeys([experiment.score, *texts.values()]))
        self._others = [text for text in expressions[1:] if text is not None]
        self._place_of = [expressions.index(texts[domain]) for domain in self._domains]

    def of_request(self, domain: Domain | None) -> int:
        """The place of the expression for rows whose request names a domain.

        Args:
          domain: None where none has the name, as of ``auto`` and ``backbone``.

        Returns:
          From 1 on, 0 for ``score``; ``BY_FIELDS`` where ``of_rows`` says it, row by row.
        """
        if not self._domains:
            return 0
        if domain is None or not domain.conditions:
            return BY_FIELDS
        asked = set(domain.conditions)
        found = zip(self._domains, self._place_of, strict=True)
        return next((place for other, place in found if asked.issuperset(other.conditions)), 0)

    def of_rows(self, topics: RowTopics, n_rows: tf.Tensor | int) -> tf.Tensor:
        """The place of every row's expression by its own fields, int32 ``[N]``.

        Args:
          topics: gives them where they are needed.
          n_rows: N.
        """
        if not self._domains:
            return tf.zeros([n_rows], tf.int32)
        ranks = auto_rank(topics(), self._domains, n_rows)
        return tf.gather(tf.constant([0, *self._place_of], tf.int32), ranks)

    def of_columns(self, columns: Mapping[str, npt.NDArray[Any]], n_rows: int) -> tf.Tensor:
        """``of_rows`` from record columns."""
        read = {topic for domain in self._domains for topic, _ in domain.conditions}
        return self.of_rows(
            lambda: {name: tf.constant(columns[f"topic/{name}"]) for name in read}, n_rows
        )

    def values(self, answers: Mapping[str, tf.Tensor], places: tf.Tensor) -> tf.Tensor:
        """What the rows of a page are ranked by, ``[N]``. Every expression is computed once, for
        all rows. A row for which its expression is no number stands last (our choice);
        infinities are the largest and the smallest number.

        Args:
          answers: every target's prediction ``[N]``.
          places: of every row's expression, int32 ``[N]``.
        """
        chosen = (
            answers[str(self.tasks.ranked_by)]
            if self._plain is None
            else _value(self._plain, answers)
        )
        for place, text in enumerate(self._others, 1):
            chosen = tf.where(tf.equal(places, place), _value(text, answers), chosen)
        return chosen


def _value(text: str, answers: Mapping[str, tf.Tensor]) -> tf.Tensor:
    score = value_of(text, answers, operations())
    known = tf.where(tf.math.is_nan(score), tf.float32.min, score)
    return tf.clip_by_value(known, tf.float32.min, tf.float32.max)
