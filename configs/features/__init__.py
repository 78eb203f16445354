"""What a feature is: its raw columns, its side, and how it becomes ids or numbers."""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import Field

from configs.errors import InputError
from configs.features.ids import CategoricalFeature, CrossFeature, ListFeature
from configs.features.numbers import (
    NumberListFeature,
    NumericFeature,
    TimestampFeature,
    VectorFeature,
)
from configs.features.settings import FeatureSettings
from configs.plugins import FEATURES, installed, load

BUILT_IN: tuple[type[FeatureSettings], ...] = (
    CategoricalFeature,
    ListFeature,
    NumericFeature,
    NumberListFeature,
    VectorFeature,
    TimestampFeature,
    CrossFeature,
)


def _kind(settings: type[FeatureSettings]) -> str:
    return str(get_args(settings.model_fields["kind"].annotation)[0])


def _of_packages() -> tuple[dict[str, type[FeatureSettings]], list[str]]:
    """The kinds of other packages, and what keeps some of them from being used."""
    found: dict[str, type[FeatureSettings]] = {}
    broken: list[str] = []
    taken = {_kind(settings) for settings in BUILT_IN}
    for point in installed(FEATURES).values():
        try:
            settings: Any = load(point)
            kind = _kind(settings) if issubclass(settings, FeatureSettings) else ""
        except InputError as error:
            broken.append(str(error))
            continue
        except (TypeError, KeyError, IndexError):
            kind = ""
        if not kind or kind in taken:
            said = f"kind '{kind}' is taken" if kind else "no settings of a kind of feature"
            broken.append(f"{FEATURES}: '{point.name}': {said}")
            continue
        taken.add(kind)
        found[kind] = settings
    return found, broken


OF_PACKAGES, BROKEN = _of_packages()
"""Kind -> settings, of other packages; and a line for each of theirs that cannot be used."""

if TYPE_CHECKING:
    Feature = FeatureSettings
else:
    Feature = Annotated[
        reduce(or_, (*BUILT_IN, *OF_PACKAGES.values())), Field(discriminator="kind")
    ]
"""The settings of one feature; ``kind`` decides the class. A new kind is one of these, and one line
of ``preprocessing.features.kinds.registry``; or it comes from another package.
"""

FEATURE_KINDS = frozenset({*map(_kind, BUILT_IN), *OF_PACKAGES})
"""Every value of ``kind``."""
