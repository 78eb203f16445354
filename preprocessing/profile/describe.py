"""Counts of a dataset's rows become its profile."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from configs import Experiment
from preprocessing.dataset.domain_counts import mean_label
from preprocessing.features.batch_columns import is_list
from preprocessing.profile.counts import (
    LENGTH,
    FeatureCounts,
    Form,
    ProfileCounts,
    SplitCounts,
    form_of,
)
from preprocessing.profile.data_profile import (
    Description,
    FeatureProfile,
    LabelRates,
    Reference,
    ReferenceRows,
)
from preprocessing.profile.distance import (
    DIGITS,
    bins_of_numbers,
    bins_of_texts,
    most_frequent,
    shares_of_numbers,
    shares_of_values,
    stability_index,
)
from preprocessing.profile.number_sums import Floats

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
TOP = 5  # values that are shown

_KINDS: dict[Form, str] = {
    "string": "text",
    "strings": "list",
    "number": "number",
    "numbers": "numbers",
    "timestamp": "moment",
    "ids": "ids",
}


@dataclass(frozen=True)
class ReferenceProfile:
    """What a dataset is compared with.

    Attributes:
      rows: of the pre-training split.
      features: by name.
    """

    rows: ReferenceRows
    features: Mapping[str, Reference]


def own_reference(experiment: Experiment, counts: ProfileCounts) -> ReferenceProfile | None:
    """That of a dataset whose transform was fitted on its rows: its pre-training split; None where
    it has no row.
    """
    split = experiment.pretrain.split
    if split not in counts:
        return None
    return ReferenceProfile(
        ReferenceRows(split=split, rows=counts[split].rows),
        {name: _View(counts[split], name).reference() for name in experiment.features},
    )


def describe_features(
    experiment: Experiment, counts: ProfileCounts, reference: ReferenceProfile | None
) -> dict[str, FeatureProfile]:
    """Every feature in every split that has rows.

    Args:
      experiment: names features and splits.
      counts: of the dataset's rows.
      reference: what it is compared with; None for nothing.
    """
    features = {}
    for name in experiment.features:
        compared = reference.features.get(name) if reference else None
        features[name] = FeatureProfile(
            columns=experiment.columns_of(name),
            kind=_KINDS[form_of(experiment, name)],
            reference=compared,
            splits={
                split: _View(counts[split], name).describe(compared)
                for split in experiment.splits
                if split in counts
            },
        )
    return features


def label_rates(
    experiment: Experiment, domains: Mapping[str, Mapping[str, Counter[str]]]
) -> dict[str, dict[str, LabelRates]]:
    """Rates by split and domain, of domains that have rows there.

    Args:
      experiment: names splits, domains and labels.
      domains: split -> domain -> counts (``dataset.domain_counts``).
    """
    return {
        split: {
            domain.name: LabelRates(
                rows=counts["rows"],
                rates={label: mean_label(counts, label) for label in experiment.label_columns},
            )
            for domain in experiment.domains
            if (counts := domains[split].get(domain.name)) and counts["rows"]
        }
        for split in experiment.splits
        if split in domains
    }


class _View:
    """A feature in the rows of a split."""

    def __init__(self, split: SplitCounts, name: str) -> None:
        self._counts: FeatureCounts = split.features[name]
        self._missing = round(self._counts.missing / split.rows, DIGITS)
        columns = split.sample.rows
        column = columns[name].combine_chunks() if name in columns.column_names else None
        self._texts, self._numbers = column, None
        if column is not None and is_list(column):
            self._texts = column.flatten()
            self._numbers = self._sorted(columns[f"{LENGTH}{name}"])
        elif self._counts.numbers is not None:
            self._texts, self._numbers = None, self._sorted(column)

    def reference(self) -> Reference:
        """What others are compared with."""
        found = self.describe(None)
        numbers = texts = None
        if self._numbers is not None:
            numbers = bins_of_numbers(self._filled, self._missing)
        if self._texts is not None:
            texts = bins_of_texts(self._texts, self._missing)
        return Reference(
            missing=found.missing,
            out_of_vocabulary=found.out_of_vocabulary,
            constant=found.constant,
            mean=found.mean,
            numbers=numbers,
            texts=texts,
        )

    def describe(self, reference: Reference | None) -> Description:
        """What it is like."""
        sums = self._counts.numbers
        quantiles = top = None
        if self._numbers is not None and len(self._numbers):
            values = np.quantile(self._numbers, QUANTILES, method="inverted_cdf").tolist()
            quantiles = {
                f"{level:g}": value for level, value in zip(QUANTILES, values, strict=True)
            }
        if self._texts is not None:
            top = most_frequent(self._texts, TOP)
        return Description(
            missing=self._missing,
            out_of_vocabulary=self._unknown,
            constant=self._constant,
            mean=sums.mean if sums else None,
            deviation=sums.deviation if sums else None,
            minimum=sums.least if sums else None,
            maximum=sums.greatest if sums else None,
            quantiles=quantiles,
            top=top,
            distance=self._distance(reference) if reference else None,
        )

    @property
    def _filled(self) -> Floats:
        """Numbers, or the lengths of lists that are not missing."""
        numbers = np.empty(0) if self._numbers is None else self._numbers
        return numbers if self._texts is None else numbers[numbers > 0]

    @property
    def _unknown(self) -> float | None:
        if self._counts.unknown is None:
            return None
        return round(self._counts.unknown / max(self._counts.values, 1), DIGITS)

    @property
    def _constant(self) -> str | None:
        sums = self._counts.numbers
        if sums is None or self._texts is not None:
            return self._counts.only
        return f"{sums.least:g}" if sums.count and sums.least == sums.greatest else None

    def _distance(self, reference: Reference) -> float | None:
        """The larger one of numbers' and texts'."""
        distances = []
        if reference.numbers is not None and self._numbers is not None:
            boundaries = reference.numbers.boundaries or ()
            shares = shares_of_numbers(boundaries, self._filled, self._missing)
            distances.append(stability_index(reference.numbers.shares, shares))
        if reference.texts is not None and self._texts is not None:
            values = reference.texts.values or ()
            shares = shares_of_values(values, self._texts, self._missing)
            distances.append(stability_index(reference.texts.shares, shares))
        return max(distances, default=None)

    def _sorted(self, column: object) -> Floats:
        present = pc.drop_null(column).to_numpy(zero_copy_only=False).astype(np.float64)
        return np.sort(present[np.isfinite(present)])
