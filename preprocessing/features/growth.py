"""Grows a transform's vocabularies by the values of new rows, so that a backbone can go on: every
old value keeps its id, and nothing else of the transform changes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs import Experiment
from configs.features.settings import Vocabulary
from preprocessing.features.fitted import Fitted
from preprocessing.features.statistics import vocabulary_statistics
from preprocessing.features.value_list import ValueList

Int64s = npt.NDArray[np.int64]

Grown = dict[str, int]
"""What became of a vocabulary, as ``preprocessing.dataset.manifest.GrownFeature`` has it."""

_DAY = 86_400


@dataclass(frozen=True)
class Rule:
    """What decides which values enter and leave.

    Attributes:
      kept: how often a value must occur in the new rows, and how many there may be.
      seconds: that the new rows span.
      forgotten: seconds without a row after which a value gives its id to a new one; None: never.
    """

    kept: Vocabulary
    seconds: int
    forgotten: int | None


def grown(
    given: Fitted, experiment: Experiment, counts: Mapping[str, pa.Table]
) -> tuple[Fitted, dict[str, Grown]]:
    """A transform whose vocabularies have the values of new rows, too.

    Moments and boundaries stay, so that what was learned of numbers goes on to mean the same.

    Args:
      given: the older transform.
      experiment: of the new rows; the same features.
      counts: feature -> every value of the new rows that are learned from, with its rows, most
        frequent first (``value``, ``rows``).

    Returns:
      The transform, and what became of every vocabulary.
    """
    seconds, until = _new_seconds(given, experiment)
    forgotten = experiment.growth.forget_days
    vocabularies, unseen = dict(given.vocabularies), dict(given.unseen)
    found = {}
    for name, statistic in vocabulary_statistics(experiment).items():
        rule = Rule(
            statistic.kept,
            seconds,
            None if forgotten is None else round(forgotten * _DAY),
        )
        old = given.vocabularies[name]
        before = unseen[name].to_numpy() if name in unseen else np.zeros(len(old), np.int64)
        values, since, found[name] = grown_values(old, before, counts[name], rule)
        vocabularies[name], unseen[name] = ValueList(values), pa.array(since)
    new = replace(
        given,
        vocabularies=vocabularies,
        unseen=unseen,
        grown_from=given.digest,
        counted_until=until,
    )
    return new, found


def _new_seconds(given: Fitted, experiment: Experiment) -> tuple[int, int]:
    """How long the windows are that are learned from, less what was counted when the transform was
    grown before, so that a window that slides by a day counts a day; and when they end.
    """
    windows = [
        (round(split.start.timestamp()), round(split.end.timestamp()))
        for split in map(experiment.splits.__getitem__, experiment.fitted_on)
    ]
    before = given.counted_until
    seconds = sum(
        max(0, end - (start if before is None else max(start, before))) for start, end in windows
    )
    return seconds, max([end for _, end in windows] + ([] if before is None else [before]))


def grown_values(
    old: Sequence[str], unseen: Int64s, counts: pa.Table, rule: Rule
) -> tuple[pa.LargeStringArray, Int64s, Grown]:
    """One vocabulary grown (our choice of rule).

    New values that occur ``min_count`` times take the ids of forgotten ones, those that were unseen
    longest first, then new ids, while there are fewer than ``max_size``. A forgotten value keeps
    its id until a new one takes it.

    Args:
      old: values in the order of their ids.
      unseen: seconds since a row had each.
      counts: of the new rows, as ``grown`` has them.
      rule: which enter and leave.

    Returns:
      Values in the order of their ids; seconds since each was seen; what became of them.
    """
    values = old.array if isinstance(old, ValueList) else pa.array(old, pa.large_string())
    place = pc.index_in(counts["value"].combine_chunks(), value_set=values)
    since = unseen + rule.seconds
    since[place.drop_null().to_numpy()] = 0
    without_row = int(np.count_nonzero(since))

    often = pc.and_(pc.is_null(place), pc.greater_equal(counts["rows"], rule.kept.min_count))
    new = counts["value"].filter(often).combine_chunks()
    free = np.empty(0, np.int64)
    if rule.forgotten is not None:
        long = np.flatnonzero(since >= max(1, rule.forgotten))
        free = long[np.argsort(-since[long], kind="stable")][: len(new)]
    room = max(0, rule.kept.max_size - len(values))
    placed = min(len(new), len(free) + room)

    source = np.arange(len(values) + placed - len(free))
    source[free] = len(values) + np.arange(len(free))
    source[len(values) :] += len(free)
    since = np.concatenate([since, np.zeros(placed - len(free), np.int64)])
    since[free] = 0
    both = pa.concat_arrays([values, new.slice(0, placed)])
    about = {
        "values": len(source),
        "entered": placed,
        "unseen": without_row,
        "left": len(free),
        "no_place": len(new) - placed,
    }
    return both.take(pa.array(source)), since, about
