"""Compares a feature of two sides: how far its values are apart, what is missing, what is unknown,
and which single values are new or gone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from configs.operations.drift import Drift
from configs.terminal.plain_text import printable
from operations.drift.chance import Change, Counts, Distance, change, distance
from operations.drift.drift_result import FeatureDrift, Reason, Shares, ValueChange
from operations.drift.feature_samples import FeatureSample, Values
from operations.drift.keys import OUTSIDE, Integers, Keys
from preprocessing.features.numbers import equal_shares
from preprocessing.profile.distance import BINS, DIGITS, ID_COVERAGE, VALUES

_RULES = 4
"""Ways in which a feature can drift, which share the level."""
_TIMES = 5
"""How many times as frequent a value must be as before, or as after, to be new, or gone (our
choice): one that was frequent all along is told by the distance.
"""
_SHOWN = 3
_LETTERS = 40

Top = Mapping[str, float]


@dataclass(frozen=True)
class FeatureComparison:
    """One output of the transform on both sides.

    Attributes:
      name: of the output.
      first, other: what was read.
      keys: of its ids; None of numbers.
      first_top, other_top: text -> share of the most frequent values as the logs have them, where
        they are known: what names values outside the vocabulary.
    """

    name: str
    first: FeatureSample
    other: FeatureSample
    keys: Keys | None
    first_top: Top
    other_top: Top

    def judged(self, drift: Drift, features: int) -> FeatureDrift:
        """What has changed.

        Args:
          drift: the thresholds.
          features: how many are compared, which share the level.
        """
        level = drift.level / (features * _RULES)
        apart = self._distance(level)
        missing = change(self.first.missing, self.other.missing, level)
        unknown = None
        if self.first.unknown is not None and self.other.unknown is not None:
            unknown = change(self.first.unknown, self.other.unknown, level)
        values = self._values(self.keys, drift.value, level, unknown) if self.keys else ()
        sizes: dict[Reason, float] = {}
        if apart and apart.real and apart.beyond_chance > drift.distance:
            sizes["distance"] = apart.beyond_chance / drift.distance
        if missing.real and abs(missing.other - missing.first) > drift.missing:
            sizes["missing"] = abs(missing.other - missing.first) / drift.missing
        if unknown and unknown.real and unknown.other - unknown.first > drift.out_of_vocabulary:
            sizes["out_of_vocabulary"] = (unknown.other - unknown.first) / drift.out_of_vocabulary
        if values:
            most = max(abs(one.other - one.first) for one in values)
            sizes["value"] = most / drift.value
        found = FeatureDrift(
            feature=self.name,
            distance=apart and round(apart.found, DIGITS),
            by_chance=apart and round(apart.by_chance, DIGITS),
            beyond_chance=apart and round(apart.beyond_chance if apart.real else 0.0, DIGITS),
            missing=_shares(missing),
            out_of_vocabulary=_shares(unknown) if unknown else None,
            mean=self._mean(),
            values=values,
            reasons=tuple(sizes),
            severity=round(max(sizes.values(), default=0.0), DIGITS),
            says="",
        )
        return found.model_copy(update={"says": _in_words(found)}) if sizes else found

    def _distance(self, level: float) -> Distance | None:
        """The larger one of values and lengths; None where neither says anything."""
        found = []
        if self.keys is None:
            found.append(_of_numbers(self.first.present, self.other.present, level))
        elif self._told_by_few_values():
            found.append(_of_keys(self.first.present, self.other.present, level))
        if self.first.lengths and self.other.lengths:
            found.append(_of_numbers(self.first.lengths, self.other.lengths, level))
        known = [one for one in found if one is not None]
        return max(known, key=lambda one: one.beyond_chance, default=None)

    def _told_by_few_values(self) -> bool:
        """Whether the most frequent values have half of all: else they are ids, as
        ``preprocessing.profile.distance`` has it.
        """
        _, counts = np.unique(self.first.present.values, return_counts=True)
        most = np.sort(counts)[::-1][:VALUES]
        return bool(most.sum() >= ID_COVERAGE * max(counts.sum(), 1))

    def _values(
        self, keys: Keys, threshold: float, level: float, unknown: Change | None
    ) -> tuple[ValueChange, ...]:
        """Values that are new or gone, the most frequent first."""
        first, other = self.first.present, self.other.present
        top = _most_frequent(first, other)
        one, two = (side.counts(_places(side, top), len(top) + 1) for side in (first, other))
        shares: dict[str, tuple[float, float]] = {}
        for place, key in enumerate(top.tolist()):
            moved = change(_one_bin(one, place), _one_bin(two, place), level / len(top))
            if moved.real and _is_new_or_gone(moved.first, moved.other, threshold):
                shares[keys.text(key)] = moved.first, moved.other
        if unknown and unknown.real and unknown.other > unknown.first:
            # What has no id is one key; the logs' own texts say which values it is.
            for value, now in self.other_top.items():
                before = self.first_top.get(value, 0.0)
                if not keys.knows(value) and _is_new_or_gone(before, now, threshold):
                    shares.setdefault(value, (before, now))
                    shares.pop(OUTSIDE, None)
        order = sorted(shares, key=lambda value: (-max(shares[value]), value))
        return tuple(
            ValueChange(value=value, first=round(before, DIGITS), other=round(now, DIGITS))
            for value in order
            for before, now in [shares[value]]
        )

    def _mean(self) -> Shares | None:
        sides = self.first.present.values, self.other.present.values
        if self.keys is not None or not all(len(values) for values in sides):
            return None
        first, other = (float(np.mean(values.astype(np.float64))) for values in sides)
        return Shares(first=first, other=other)


def _of_numbers(first: Values, other: Values, level: float) -> Distance | None:
    if not len(first.values) or not len(other.values):
        return None
    boundaries = np.asarray(equal_shares(np.sort(first.values.astype(np.float64)), BINS))
    if not len(boundaries):  # one value, or few others: what is on either side of it counts
        middle = float(np.median(first.values.astype(np.float64)))
        boundaries = np.array([middle, np.nextafter(middle, np.inf)])
    one, two = (
        side.counts(np.searchsorted(boundaries, side.values, side="right"), len(boundaries) + 1)
        for side in (first, other)
    )
    return distance(one, two, level)


def _of_keys(first: Values, other: Values, level: float) -> Distance | None:
    if not len(first.values) or not len(other.values):
        return None
    top = _most_frequent(first, other)
    one, two = (side.counts(_places(side, top), len(top) + 1) for side in (first, other))
    return distance(one, two, level)


def _one_bin(counts: Counts, place: int) -> Counts:
    """One bin, and all others together."""
    own = counts[:, place]
    return np.stack([own, counts.sum(axis=1) - own], axis=1)


def _most_frequent(first: Values, other: Values) -> Integers:
    """The most frequent keys of both sides together, either side counting as much, ascending."""
    shares: dict[int, float] = {}
    for side in (first, other):
        keys, counts = np.unique(side.values, return_counts=True)
        for key, count in zip(keys.tolist(), counts.tolist(), strict=True):
            shares[key] = shares.get(key, 0.0) + count / max(len(side.values), 1)
    most = sorted(shares, key=lambda key: (-shares[key], key))[:VALUES]
    return np.sort(np.asarray(most, np.int64))


def _places(side: Values, top: Integers) -> Integers:
    """The place of each value among these keys; all others come last."""
    places = np.searchsorted(top, side.values)
    inside = np.append(top, -1)[np.minimum(places, len(top))] == side.values
    return np.where(inside, places, len(top))


def _is_new_or_gone(before: float, now: float, threshold: float) -> bool:
    larger, smaller = max(before, now), min(before, now)
    return larger >= threshold and larger >= _TIMES * smaller


def _shares(moved: Change) -> Shares:
    return Shares(first=round(moved.first, DIGITS), other=round(moved.other, DIGITS))


def _in_words(found: FeatureDrift) -> str:
    said = []
    for one in found.values[:_SHOWN]:
        value = one.value if one.value == OUTSIDE else repr(printable(one.value[:_LETTERS]))
        said.append(f"{value} has {one.other:.1%} of the values, before {one.first:.1%}")
    if len(found.values) > _SHOWN:
        said.append(f"{len(found.values) - _SHOWN} more values are new or gone")
    if "missing" in found.reasons:
        said.append(f"missing in {found.missing.other:.1%}, before {found.missing.first:.1%}")
    if "distance" in found.reasons:
        mean = found.mean
        means = f" (mean {mean.other:.4g}, before {mean.first:.4g})" if mean else ""
        said.append(f"distance {found.beyond_chance:.2f}{means}")
    if "out_of_vocabulary" in found.reasons and found.out_of_vocabulary:
        shares = found.out_of_vocabulary
        said.append(f"outside the vocabulary {shares.other:.1%}, before {shares.first:.1%}")
    return f"{found.feature}: {'; '.join(said)}"
