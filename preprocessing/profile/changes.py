"""Which features change their meaning from the pre-training split to another one, said in a line
each.

A split is judged where it has ``FEWEST_ROWS`` rows; with fewer, two samples of one distribution may
be far apart. All limits are our choice but that of the distance.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from preprocessing.profile.data_profile import (
    Change,
    DataProfile,
    Description,
    FeatureProfile,
    Reference,
)

FEWEST_ROWS = 500
MOST_DISTANCE = 0.25
"""A change that needs a look (``distance``)."""

MISSING_JUMP = 0.1
"""How much larger or smaller the share of missing values may be."""

UNKNOWN_JUMP = 0.5
"""How much larger the share of values outside the vocabulary may be: ids come and go."""

SHOWN = 10
_SHOWN_SPLITS = 3


def find_changes(
    features: Mapping[str, FeatureProfile], rows: Mapping[str, int], learned: str, own: bool
) -> tuple[Change, ...]:
    """The features that change, the most striking first: those that became constant, those whose
    missing values jumped, those of most distance, those whose values left the vocabulary.

    Args:
      features: of the profile.
      rows: split -> rows.
      learned: name of the split that the transform was fitted on.
      own: whether it is of these rows, and so compared with itself.
    """
    judged = {split for split, count in rows.items() if count >= FEWEST_ROWS}
    judged -= {learned} if own else set()
    found = []
    for name, feature in features.items():
        if feature.reference is None:
            continue
        there = {split: found for split, found in feature.splits.items() if split in judged}
        for place, rule in enumerate(_RULES):
            sizes = {split: rule.size(feature.reference, one) for split, one in there.items()}
            striking = sorted((s for s in sizes if sizes[s] > rule.limit), key=lambda s: -sizes[s])
            if striking:
                says = f"{name}: {rule.says(feature.reference, there, striking)} {learned}"
                change = Change(feature=name, reason=rule.reason, splits=tuple(striking), says=says)
                found.append((place, -sizes[striking[0]], change))
                break
    return tuple(change for _, _, change in sorted(found, key=lambda one: one[:2]))


def change_lines(profile: DataProfile) -> list[str]:
    """The changes as lines, the most striking ones alone, under a line that says what they are;
    nothing where there are none.
    """
    if not profile.changes or profile.reference is None:
        return []
    count = len(profile.changes)
    shown = [f"  {change.says}" for change in profile.changes[:SHOWN]]
    more = [f"  and {count - SHOWN} more"] if count > SHOWN else []
    features = "1 feature changes its" if count == 1 else f"{count} features change their"
    where = f"split '{profile.reference.split}', which the transform was fitted on"
    return [f"{features} meaning after {where}:", *shown, *more]


@dataclass(frozen=True)
class _Rule:
    """A way to change.

    Attributes:
      reason: its name.
      limit: a larger size is a change.
      size: how much a split differs from the reference.
      says: the change in words, up to the name of the split that it was learned on: of the
        reference, the splits, and those that changed.
    """

    reason: str
    limit: float
    size: Callable[[Reference, Description], float]
    says: Callable[[Reference, Mapping[str, Description], list[str]], str]


def _constant_size(reference: Reference, found: Description) -> float:
    varied = reference.constant is None and reference.missing < 1.0
    return float(varied and found.constant is not None)


def _missing_size(reference: Reference, found: Description) -> float:
    return abs(found.missing - reference.missing)


def _distance_size(_: Reference, found: Description) -> float:
    return found.distance or 0.0


def _unknown_size(reference: Reference, found: Description) -> float:
    return (found.out_of_vocabulary or 0.0) - (reference.out_of_vocabulary or 0.0)


def _says_constant(
    reference: Reference, there: Mapping[str, Description], splits: list[str]
) -> str:
    first = there[splits[0]]
    where = "row with a value" if first.missing else "row"
    before = "it varies" if reference.mean is None else f"its mean is {reference.mean:.4g}"
    value = repr(first.constant) if reference.numbers is None else first.constant
    return f"{value} on every {where} of {_listed(splits)}; {before} in"


def _says_missing(reference: Reference, there: Mapping[str, Description], splits: list[str]) -> str:
    shares = [f"{there[split].missing:.0%} of {split}" for split in splits]
    return f"missing on {_listed(shares)}; {reference.missing:.0%} of"


def _says_distance(
    reference: Reference, there: Mapping[str, Description], splits: list[str]
) -> str:
    shown = [f"{there[split].distance:.2f} in {split}" for split in splits]
    first, means = there[splits[0]], ""
    if reference.mean is not None and first.mean is not None:
        means = f" (mean {first.mean:.4g}, before {reference.mean:.4g})"
    return f"distance {_listed(shown)}{means} from"


def _says_unknown(reference: Reference, there: Mapping[str, Description], splits: list[str]) -> str:
    shares = [f"{there[split].out_of_vocabulary:.0%} in {split}" for split in splits]
    before = reference.out_of_vocabulary or 0.0
    return f"outside the vocabulary {_listed(shares)}; {before:.0%} in"


def _listed(parts: list[str]) -> str:
    more = [f"{len(parts) - _SHOWN_SPLITS} more"] if len(parts) > _SHOWN_SPLITS else []
    return ", ".join([*parts[:_SHOWN_SPLITS], *more])


_RULES = (
    _Rule("constant", 0.5, _constant_size, _says_constant),
    _Rule("missing", MISSING_JUMP, _missing_size, _says_missing),
    _Rule("distance", MOST_DISTANCE, _distance_size, _says_distance),
    _Rule("out_of_vocabulary", UNKNOWN_JUMP, _unknown_size, _says_unknown),
)
