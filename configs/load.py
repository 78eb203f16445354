"""Reads an experiment from YAML, with ``--set`` overrides, and says every mistake in one clear
line.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from configs.errors import ConfigError
from configs.features import FEATURE_KINDS
from configs.schema import Experiment
from configs.yaml_text import parse_yaml

_MAX_BYTES = 1_000_000


def load_experiment(path: str | Path, overrides: Iterable[str] = ()) -> Experiment:
    """Reads, overrides and validates an experiment.

    Args:
      path: YAML file.
      overrides: ``key.path=value`` texts; the value is read as YAML.

    Raises:
      ConfigError: the file cannot be read, is no YAML mapping, or does not describe a valid
        experiment.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(
                f"{path}: expected a config of at most {_MAX_BYTES} bytes, received"
                f" {path.stat().st_size}"
            )
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: expected UTF-8 text") from None
    return parse_experiment(text, overrides, source=str(path))


def parse_experiment(
    text: str, overrides: Iterable[str] = (), source: str = "config"
) -> Experiment:
    """Validates an experiment given as YAML text; ``source`` names it in errors. Raises
    ``ConfigError``.
    """
    values = parse_yaml(text, source)
    if not isinstance(values, dict):
        raise ConfigError(f"{source}: expected a YAML mapping, received {type(values).__name__}")
    for override in overrides:
        _apply(values, override)
    try:
        return Experiment.model_validate(values)
    except ValidationError as error:
        raise ConfigError(
            f"{source}: " + "; ".join(_describe(item) for item in error.errors())
        ) from None


def _apply(values: dict[str, Any], override: str) -> None:
    path, separator, text = override.partition("=")
    keys = path.split(".")
    if not separator or not all(keys):
        raise ConfigError(f"--set {override}: expected key.path=value")
    section = values
    for depth, key in enumerate(keys[:-1]):
        below = section.get(key)
        if not isinstance(below, dict | None):
            raise ConfigError(
                f"--set {override}: '{'.'.join(keys[: depth + 1])}' holds a value, not a section"
            )
        section[key] = dict(below or {})  # a copy: YAML aliases share one mapping
        section = section[key]
    section[keys[-1]] = parse_yaml(text, f"--set {override}")


def _describe(item: Any) -> str:
    """One pydantic error as ``where: what``; tags of the feature union are left out of the path."""
    keys = [
        str(key)
        for index, key in enumerate(item["loc"])
        if not (index == 2 and item["loc"][0] == "features" and key in FEATURE_KINDS)
    ]
    message = item["msg"].removeprefix("Value error, ")
    if not message[:2].isupper():  # YAML stays YAML
        message = message[:1].lower() + message[1:]
    received = item["input"]
    if item["type"] not in ("value_error", "missing") and isinstance(
        received, str | int | float | bool | None
    ):
        message += f", received {received!r}"
    return f"{'.'.join(keys)}: {message}" if keys else message
