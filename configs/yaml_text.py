"""Reads YAML as people expect it: the scalars of YAML 1.2's core schema, and no key twice.

PyYAML reads YAML 1.1, in which ``010`` is 8, ``12:30`` is 750, ``NO`` is false and ``1e-4`` is
text. Here a number is written as JSON writes it (a plus and a bare point are allowed, too),
``true`` and ``false`` are the only truth values, and everything else is the text that stands there:
``010``, ``12:30``, ``2024-01-02`` and ``NO`` alike (https://yaml.org/spec/1.2.2/#103-core-schema;
unlike it, digits after a leading zero, octal and hexadecimal numbers are text: they are codes more
often).
"""

import re
from typing import Any

import yaml

from configs.errors import ConfigError

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
