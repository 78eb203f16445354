"""The kinds of features: one line each."""

from collections.abc import Callable
from typing import Any

from configs import Experiment
from configs.features.ids import CategoricalFeature, CrossFeature, ListFeature
from configs.features.numbers import (
    NumberListFeature,
    NumericFeature,
    TimestampFeature,
    VectorFeature,
)
from configs.features.settings import FeatureSettings
from preprocessing.features.feature_kind import FeatureKind
from preprocessing.features.kinds.categorical import Categorical
from preprocessing.features.kinds.cross import Cross
from preprocessing.features.kinds.foreign import foreign_kind
from preprocessing.features.kinds.list import List
from preprocessing.features.kinds.number_list import NumberList
from preprocessing.features.kinds.numeric import Numeric
from preprocessing.features.kinds.timestamp import Timestamp

KINDS: dict[type[FeatureSettings], Callable[[str, Any, Experiment], FeatureKind]] = {
    CategoricalFeature: Categorical,
    ListFeature: List,
    NumericFeature: Numeric,
    NumberListFeature: NumberList,
    VectorFeature: NumberList,
    TimestampFeature: Timestamp,
    CrossFeature: Cross,
}
"""Class of the settings -> class that computes."""


def features_of(experiment: Experiment) -> dict[str, FeatureKind]:
    """Every feature of an experiment by name, in the config's order. Raises ``InputError`` where
    another package fails to give what computes a kind of its own.
    """
    return {
        name: KINDS[type(settings)](name, settings, experiment)
        if type(settings) in KINDS
        else foreign_kind(name, settings, experiment)
        for name, settings in experiment.features.items()
    }
