"""Reads an experiment from YAML, with ``--set`` overrides, and says every mistake in one clear
line.

YAML is read as people expect it: the scalars of YAML 1.2's core schema, and no key twice. PyYAML
reads YAML 1.1, in which ``010`` is 8, ``12:30`` is 750, ``NO`` is false and ``1e-4`` is text. Here
a number is written as JSON writes it (a plus and a bare point are allowed, too), ``true`` and
``false`` are the only truth values, and everything else is the text that stands there: ``010``,
``12:30``, ``2024-01-02`` and ``NO`` alike (https://yaml.org/spec/1.2.2/#103-core-schema; unlike it,
digits after a leading zero, octal and hexadecimal numbers are text: they are codes more often).
"""

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from configs.errors import ConfigError
from configs.features import BROKEN, FEATURE_KINDS
from configs.plugins import FEATURES, not_installed
from configs.schema import Data, Experiment
from configs.windows.relative import relative_moments

_MAX_BYTES = 1_000_000
_SCALARS = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    "float": (
        r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    "merge": ("<<", ["<"]),
}
"""Tag -> which plain scalars it has, and the letters they begin with; the first that fits counts.
"""


class _CoreSchema(yaml.SafeLoader):
    """Safe loading that refuses a key that stands twice; YAML itself would take the last one
    without a word.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's, filled below

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """See the class."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key '{key.value}' stands twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


for _tag, (_pattern, _letters) in _SCALARS.items():
    _CoreSchema.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _letters
    )


def parse_yaml(text: str, source: str) -> Any:
    """What a YAML text holds: mappings, lists, texts, numbers, truth values and None.

    Args:
      text: the YAML.
      source: names it in errors.

    Raises:
      ConfigError: it is no YAML, or a key stands twice; says in which line.
    """
    try:
        return _CoreSchema(text).get_single_data()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError(
            f"{source}{where}: not valid YAML: {getattr(error, 'problem', None) or 'unreadable'}"
        ) from None
    except (ValueError, TypeError) as error:  # a number of thousands of digits
        raise ConfigError(f"{source}: not valid YAML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{source}: not valid YAML: nested too deeply") from None


FindAsOf = Callable[[Data], datetime | None]
"""What else knows ``as_of`` (a dataset, or logs): the config's ``data`` section -> the moment; None
where it does not.
"""


def load_experiment(
    path: str | PathLike[str], overrides: Iterable[str] = (), find_as_of: FindAsOf | None = None
) -> Experiment:
    """Reads, overrides and validates an experiment.

    Args:
      path: YAML file.
      overrides: ``key.path=value`` texts; the value is read as YAML.
      find_as_of: asked where windows count from ``as_of`` and the config does not say what that
        is.

    Raises:
      ConfigError: the file cannot be read, is no YAML mapping, or does not describe a valid
        experiment.
    """
    return parse_experiment(read_config_text(path), overrides, str(path), find_as_of)


def read_config_text(path: str | PathLike[str]) -> str:
    """The text of a config file. Raises ``ConfigError`` where it cannot be read."""
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(
                f"{path}: expected a config of at most {_MAX_BYTES} bytes, received"
                f" {path.stat().st_size}"
            )
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: expected UTF-8 text") from None


def parse_experiment(
    text: str,
    overrides: Iterable[str] = (),
    source: str = "config",
    find_as_of: FindAsOf | None = None,
) -> Experiment:
    """Validates an experiment given as YAML text; ``source`` names it in errors, the rest is as
    there. Raises ``ConfigError``.
    """
    values = parse_yaml(text, source)
    if not isinstance(values, dict):
        raise ConfigError(f"{source}: expected a YAML mapping, received {type(values).__name__}")
    for override in overrides:
        _apply(values, override)
    try:
        if find_as_of and values.get("as_of") is None and relative_moments(values):
            values["as_of"] = find_as_of(_data_of(values))
        return Experiment.model_validate(values)
    except ValidationError as error:
        raise ConfigError(
            f"{source}: " + "; ".join(_describe(item) for item in error.errors())
        ) from None


def _data_of(values: dict[str, Any]) -> Data:
    """How an experiment that is not whole yet reads its logs."""
    data = values.get("data")
    if isinstance(data, dict):
        data = {key: value for key, value in data.items() if key != "as_of"}
    return Data.model_validate(data)


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
    if item["type"] == "union_tag_not_found":
        return f"{'.'.join(keys)}: no 'kind'; expected one of {', '.join(FEATURE_KINDS)}"
    if item["type"] == "union_tag_invalid":
        message += f" ({'; '.join(BROKEN)})" if BROKEN else f" {not_installed(FEATURES)}"
    if not message[:2].isupper():  # YAML stays YAML
        message = message[:1].lower() + message[1:]
    received = item["input"]
    if item["type"] not in ("value_error", "missing") and isinstance(
        received, str | int | float | bool | None
    ):
        message += f", received {received!r}"
    return f"{'.'.join(keys)}: {message}" if keys else message
