"""What an experiment is: typed, validated YAML. The ground floor: imports nothing of ours.

What needs pydantic is imported when it is first asked for: a client of a server needs none of it.
"""

from typing import TYPE_CHECKING, Any

from configs.errors import ConfigError, InputError

if TYPE_CHECKING:
    from configs.load import load_experiment, parse_experiment
    from configs.schema import Experiment

__all__ = ["ConfigError", "Experiment", "InputError", "load_experiment", "parse_experiment"]

_LATER = {
    "Experiment": "configs.schema",
    "load_experiment": "configs.load",
    "parse_experiment": "configs.load",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LATER[name]), name)
