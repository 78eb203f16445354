"""What parts of one's own are made of: the names that a package with a body or a kind of feature
imports, the same ones beside a checkout and beside a release, whose modules have other names.
"""

from typing import TYPE_CHECKING, Any

from domain_kernels.places import find

if TYPE_CHECKING:
    from configs.features.settings import FeatureSettings, OneColumn, ReadAs, Vocabulary
    from preprocessing.features.batch_columns import Array, BatchColumns
    from preprocessing.features.feature_kind import (
        Constants,
        FeatureKind,
        Lookup,
        Output,
        Statistic,
        Tensor,
    )
    from preprocessing.features.fitted import Fitted, FittedFeature
    from preprocessing.features.local_time import known
    from trainer.backbone.bodies.builder import Body, Build, TaskHead

__all__ = [
    "Array",
    "BatchColumns",
    "Body",
    "Build",
    "Constants",
    "FeatureKind",
    "FeatureSettings",
    "Fitted",
    "FittedFeature",
    "Lookup",
    "OneColumn",
    "Output",
    "ReadAs",
    "Statistic",
    "TaskHead",
    "Tensor",
    "Vocabulary",
    "known",
]

_PLACES = {
    **dict.fromkeys(
        ("FeatureSettings", "OneColumn", "ReadAs", "Vocabulary"), "configs.features.settings"
    ),
    **dict.fromkeys(("Array", "BatchColumns"), "preprocessing.features.batch_columns"),
    **dict.fromkeys(
        ("Constants", "FeatureKind", "Lookup", "Output", "Statistic", "Tensor"),
        "preprocessing.features.feature_kind",
    ),
    **dict.fromkeys(("Fitted", "FittedFeature"), "preprocessing.features.fitted"),
    "known": "preprocessing.features.local_time",
    **dict.fromkeys(("Body", "Build", "TaskHead"), "trainer.backbone.bodies.builder"),
}
"""Name -> the module that has it. Settings are read with every config, so that nothing heavy may
come with them.
"""


def __getattr__(name: str) -> Any:
    return find(__name__, name, _PLACES)


def __dir__() -> list[str]:
    return sorted(__all__)
