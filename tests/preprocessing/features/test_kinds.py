"""The kinds of features: each is bound, says of itself what it does, and starts without
TensorFlow.
"""

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from configs import parse_experiment
from configs.features import FEATURE_KINDS, Feature
from preprocessing.features.kinds.registry import KINDS, features_of
from tests.preprocessing.features.test_transform import CONFIG, EXPERIMENT, FITTED

LIGHT = (
    "preprocessing.filesystem",
    "preprocessing.logs.schema",
    "preprocessing.features.fitted",
    "preprocessing.features.kinds",
    "preprocessing.features.output_spec",
    "preprocessing.features.statistics",
    "preprocessing.features.topic",
    "preprocessing.profile.counts",
    "preprocessing.profile.describe",
)
"""What plans or counts."""

HEAVY_ONES_LOADED = """
import sys
print(*{"tensorflow", "keras", "apache_beam"} & sys.modules.keys())
"""


def heavy_ones_loaded_by(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code + HEAVY_ONES_LOADED],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    ).stdout.strip()


def test_every_kind_of_the_config_is_bound_to_its_class() -> None:
    assert KINDS.keys() == set(get_args(get_args(Feature)[0]))
    numbers = {"numeric", "number_list", "vector", "timestamp"}
    assert numbers | {"categorical", "list", "cross"} == FEATURE_KINDS


def test_what_plans_starts_without_tensorflow_and_beam() -> None:
    assert heavy_ones_loaded_by(f"import {', '.join(LIGHT)}") == ""
    assert heavy_ones_loaded_by("import preprocessing.features.transform") != ""


def test_outputs_are_known_from_a_local_folder_without_tensorflow_and_beam(
    tmp_path: Path,
) -> None:
    FITTED.save(str(tmp_path / "transform"))
    (tmp_path / "config.yaml").write_text(CONFIG)
    code = f"""
from configs import load_experiment
from preprocessing.features.fitted import Fitted
from preprocessing.features.output_spec import transform_outputs
fitted = Fitted.load({str(tmp_path / "transform")!r})
assert len(transform_outputs(load_experiment({str(tmp_path / "config.yaml")!r}), fitted)) == 14
"""
    assert heavy_ones_loaded_by(code) == ""


@pytest.mark.parametrize("name", EXPERIMENT.features)
def test_a_feature_gives_the_outputs_that_its_settings_name(name: str) -> None:
    settings, feature = EXPERIMENT.features[name], features_of(EXPERIMENT)[name]
    outputs = feature.outputs(FITTED)
    assert tuple(output.name for output in outputs) == settings.output_names(name)
    owner = settings.shares_ids_of
    for output in outputs:
        assert output.feature == name
        assert output.table == (owner or output.name)


@pytest.mark.parametrize(
    ("settings", "oov", "shared", "hashed", "dropped"),
    [
        ("{kind: categorical, side: item, oov_buckets: 3, id_dropout: 0.25}", 3, 4, 0, 0.25),
        ("{kind: categorical, side: item, hash_buckets: 9}", 0, 1, 9, 0.0),
        ("{kind: list, side: item}", 1, 2, 0, 0.0),
        ("{kind: numeric, side: item, quantile_buckets: 4}", 0, 1, 0, 0.0),
        ("{kind: cross, side: item, columns: [user, item], hash_buckets: 7}", 0, 1, 7, 0.0),
    ],
)
def test_settings_say_what_their_ids_stand_for(
    settings: str, oov: int, shared: int, hashed: int, dropped: float
) -> None:
    spec = parse_experiment(CONFIG, [f"features.new={settings}"]).features["new"]
    facts = (spec.oov_ids, spec.shared_ids, spec.hashed_ids, spec.dropped_ids)
    assert facts == (oov, shared, hashed, dropped)


def test_only_one_value_of_one_column_is_an_id_to_share_or_a_bias_to_remove() -> None:
    crossed = parse_experiment(
        CONFIG,
        ["features.new={kind: cross, side: item, columns: [user, item], hash_buckets: 7}"],
    )
    kinds = {settings.kind: settings for settings in crossed.features.values()}
    assert {kind for kind, settings in kinds.items() if settings.gives_value_ids} == {"categorical"}
    assert {kind for kind, settings in kinds.items() if settings.can_debias} == {
        "categorical",
        "numeric",
    }
