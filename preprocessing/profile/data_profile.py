"""Defines ``profile.json``: every feature and label of a dataset, split by split, and the distance
to the pre-training split.

Shares and distances are rounded to six digits. Who reads this needs neither Arrow nor Beam.
"""

import json
from pathlib import Path

from pydantic import ValidationError

from configs.digests.sealed_json import sealed, unsealed
from configs.errors import InputError
from configs.files import delete, write_bytes
from configs.section import Section
from preprocessing.dataset.manifest import PROFILE_FILE, Manifest, load_manifest, read_entry

FORMAT = 1

_AGAIN = "run preprocessing.task again"


class Bins(Section):
    """A distribution over bins, as the reference has it.

    Attributes:
      boundaries: of numbers, ascending: the first bin is below the first boundary, and a boundary
        belongs to the bin above it. None for text.
      values: of text, the most frequent ones, each a bin of its own. None for numbers.
      shares: of each bin; of text then of all other values; at last of missing ones.
    """

    boundaries: tuple[float, ...] | None = None
    values: tuple[str, ...] | None = None
    shares: tuple[float, ...]


class Reference(Section):
    """What a feature was like in the pre-training split, as far as others are compared with it.

    Attributes:
      missing: share of the rows without a value.
      out_of_vocabulary: share of the values that have no id of their own; None without a
        vocabulary.
      constant: the value that all rows with a value have; None where they differ.
      mean: of numbers, or of the lengths of lists; None for text.
      numbers: distribution of numbers, or of the lengths of lists.
      texts: distribution of text, or of the values of lists; None for ids, of which no few values
        have half of the rows.
    """

    missing: float
    out_of_vocabulary: float | None = None
    constant: str | None = None
    mean: float | None = None
    numbers: Bins | None = None
    texts: Bins | None = None


class Description(Section):
    """A feature in the rows of one split.

    Attributes:
      missing, out_of_vocabulary, constant: as ``Reference`` has them.
      mean, deviation, minimum, maximum: of numbers as they are in the logs, or of the lengths of
        lists; None where there are none.
      quantiles: of the same, of a sample of the rows: level -> value.
      top: text, or values of lists, most frequent first, with their shares in a sample: of the rows
        that have a value, or of the values.
      distance: population stability index against the reference, of lists the larger one of
        lengths and values; None without a reference, for ids, and for moments.
    """

    missing: float
    out_of_vocabulary: float | None = None
    constant: str | None = None
    mean: float | None = None
    deviation: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    quantiles: dict[str, float] | None = None
    top: dict[str, float] | None = None
    distance: float | None = None


class FeatureProfile(Section):
    """A feature: what it reads, its reference, and every split that has rows."""

    columns: tuple[str, ...]
    kind: str
    reference: Reference | None
    splits: dict[str, Description]


class LabelRates(Section):
    """Labels of a domain's rows in a split.

    Attributes:
      rows: of the domain.
      rates: label -> share of positives, or mean of amounts, over the rows that are old enough to
        carry it; None where there is no such row.
    """

    rows: int
    rates: dict[str, float | None]


class ReferenceRows(Section):
    """Which rows others are compared with: the split, and how many they were."""

    split: str
    rows: int


class Change(Section):
    """A feature that changes its meaning.

    Attributes:
      feature: its name.
      reason: ``constant``, ``missing``, ``distance`` or ``out_of_vocabulary``.
      splits: where, the most striking first.
      says: the same as a line for people.
    """

    feature: str
    reason: str
    splits: tuple[str, ...]
    says: str


class DataProfile(Section):
    """A whole profile.

    Attributes:
      reference: the rows that others are compared with; None where they are not at hand.
      rows: split -> rows.
      sampled: split -> rows of the sample.
      features: by name, in the config's order.
      labels: split -> domain -> rates.
      changes: the most striking first.
    """

    format: int = FORMAT
    reference: ReferenceRows | None
    rows: dict[str, int]
    sampled: dict[str, int]
    features: dict[str, FeatureProfile]
    labels: dict[str, dict[str, LabelRates]]
    changes: tuple[Change, ...]

    def to_json(self) -> bytes:
        """The file's content."""
        return (json.dumps(sealed(self.model_dump(mode="json")), indent=1) + "\n").encode()

    def furthest_first(self) -> list[str]:
        """Names of features: those that change, then the others by their largest distance in any
        split; without a reference the config's order.
        """
        places = {change.feature: place for place, change in enumerate(self.changes)}
        last = len(places)
        return sorted(
            self.features,
            key=lambda name: (places.get(name, last), -furthest(self.features[name])),
        )


def furthest(feature: FeatureProfile) -> float:
    """A feature's largest distance in any split; -1 where it has none."""
    distances = [found.distance for found in feature.splits.values() if found.distance is not None]
    return max(distances, default=-1.0)


def parse_profile(content: bytes, where: str) -> DataProfile:
    """What ``DataProfile.to_json`` wrote. Raises ``InputError``, which names the file, where it is
    damaged or of another format.
    """
    try:
        loaded = json.loads(content)
        if not isinstance(loaded, dict):
            raise ValueError("expected a JSON object")
        return DataProfile.model_validate(unsealed(loaded, Path(where), _AGAIN))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(f"{where}: not a profile: {place}: {first['msg']}; {_AGAIN}") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where}: not a profile: {error}; {_AGAIN}") from None


def read_profile(data: Path) -> DataProfile | None:
    """The profile of a finished dataset; None of one that is older than profiles.

    Raises:
      InputError: there is no dataset, or its profile is missing or damaged.
    """
    entry = load_manifest(data).profile
    return parse_profile(read_entry(data, entry), str(data / PROFILE_FILE)) if entry else None


def copy_profile(data: Path, manifest: Manifest, target: Path) -> None:
    """Copies the profile of a dataset to a file; where the dataset has none, a former file is
    deleted, which was another's. Raises ``InputError`` where the profile is missing or damaged.
    """
    if manifest.profile is None:
        delete(target)
    else:
        write_bytes(target, read_entry(data, manifest.profile))
