"""What the package itself offers."""

import pytest

import configs
from configs.load import load_experiment, parse_experiment
from configs.schema import Experiment


def test_what_is_imported_late_is_the_modules_own() -> None:
    assert configs.Experiment is Experiment
    assert (configs.load_experiment, configs.parse_experiment) == (
        load_experiment,
        parse_experiment,
    )
    with pytest.raises(AttributeError, match="module 'configs' has no attribute 'experiment'"):
        _ = configs.experiment
