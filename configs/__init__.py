"""What an experiment is: typed, validated YAML. The ground floor: imports nothing of ours."""

from configs.errors import ConfigError, InputError
from configs.load import load_experiment, parse_experiment
from configs.schema import Experiment

__all__ = ["ConfigError", "Experiment", "InputError", "load_experiment", "parse_experiment"]
