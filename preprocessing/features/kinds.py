"""The kinds of features: one line each."""

from collections.abc import Callable
from typing import Any

from configs import Experiment
from configs.features import (
    CategoricalFeature,
    CrossFeature,
    FeatureSettings,
    ListFeature,
    NumericFeature,
    TimestampFeature,
)
from preprocessing.features.categorical import Categorical
from preprocessing.features.cross import Cross
from preprocessing.features.feature_kind import FeatureKind
from preprocessing.features.list import List
from preprocessing.features.numeric import Numeric
from preprocessing.features.timestamp import Timestamp

KINDS: dict[type[FeatureSettings], Callable[[str, Any, Experiment], FeatureKind]] = {
    CategoricalFeature: Categorical,
    ListFeature: List,
    NumericFeature: Numeric,
    TimestampFeature: Timestamp,
    CrossFeature: Cross,
}
"""Class of the settings -> class that computes."""


def features_of(experiment: Experiment) -> dict[str, FeatureKind]:
    """Every feature of an experiment by name, in the config's order."""
    return {
        name: KINDS[type(settings)](name, settings, experiment)
        for name, settings in experiment.features.items()
    }
