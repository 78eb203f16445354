"""Writes the page of every key of the config from the schema that configs are checked by."""

import re
from collections.abc import Iterator
from typing import Any

from configs.schema import Experiment

Schema = dict[str, Any]
"""A node of pydantic's JSON schema."""

_PLACES = {"tune": "KEY"}
"""Mapping -> what stands for the names in it, which are the user's own; ``NAME`` elsewhere."""

_HEAD = """# Every key of the config

One YAML file is one experiment. This page is made of the schema by which configs are checked,
so it lists what there is; [The config and the logs](../config.md) explains it. `--set
key.path=value` changes a key for one command. "Needed" says that there is no default, "its own"
that a section has the defaults of its own table, and `~` is null.

"""
_COLUMNS = "| key | type | default | bounds | meaning |\n|---|---|---|---|---|\n"


def anchor(title: str, separator: str = "-") -> str:
    """The anchor of a heading, as GitHub makes it: MkDocs's own rule takes ``<data>`` for a tag."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", separator)


def config_reference() -> str:
    """The page as Markdown: a heading and a table for each section, in the order of the config."""
    schema = Experiment.model_json_schema()
    parts = [_HEAD]
    for path, section in _sections(schema, schema, ""):
        title = f"`{path}`" if path else "Top level"
        said = " ".join(section.get("description", "").split()) if path else ""
        parts.append(f"## {title}\n\n{said}\n\n{_COLUMNS}")
        parts += [_row(key, node, section, schema, path) for key, node in _keys(section)]
        parts.append("\n")
    return "".join(parts)


def _keys(section: Schema) -> list[tuple[str, Schema]]:
    return list(section.get("properties", {}).items())


def _resolved(node: Schema, schema: Schema) -> Schema:
    """What a node stands for, where it names another part of the schema."""
    name = node.get("$ref", "").rpartition("/")[2]
    return schema["$defs"][name] if name else node


def _sections(section: Schema, schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """A section and those below it, each with its dotted path."""
    yield path, section
    for key, node in _keys(section):
        for below, kind in _held(key, node, schema):
            yield from _sections(kind, schema, f"{path}.{below}".lstrip("."))


def _held(key: str, node: Schema, schema: Schema) -> Iterator[tuple[str, Schema]]:
    """The sections that a key holds: itself, or one for each of the user's names."""
    for choice in node.get("anyOf", [node]):
        found = _resolved(choice, schema)
        if "properties" in found:
            yield key, found
        inner = _inner(found)
        place = _PLACES.get(key, "NAME")
        kinds = inner.get("discriminator", {}).get("mapping", {})
        for kind, name in kinds.items():
            yield f"{key}.{place}[{kind}]", _resolved({"$ref": name}, schema)
        if "$ref" in inner and "properties" in (one := _resolved(inner, schema)):
            yield f"{key}.{place}", one


def _inner(node: Schema) -> Schema:
    """What stands under each name of a mapping; empty where a node is none."""
    patterns = node.get("patternProperties", {}).values()
    found: Schema = node.get("additionalProperties") or next(iter(patterns), {})
    return found


def _row(key: str, node: Schema, section: Schema, schema: Schema, path: str) -> str:
    below = [f"{path}.{name}".lstrip(".") for name, _ in _held(key, node, schema)]
    cells = (
        f"`{key}`",
        _type(node, schema),
        _default(key, node, section, bool(below)),
        ", ".join(dict.fromkeys(_bounds(node, schema))),
        _description(node, below),
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def _description(node: Schema, below: list[str]) -> str:
    said = "says which kind it is" if "const" in node else node.get("description", "")
    said = " ".join(said.split())
    said = re.sub(r"(?<![\w`*])\*(?=\w)|(?<=\w)\*(?![\w`*])", r"\\*", said)
    links = ", ".join(f"[`{name}`](#{anchor(name)})" for name in below)
    if not links:
        return said
    return f"{said}{'; ' if said else ''}see {links}"


_PLAIN = {
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "null": "null",
    "string": "text",
}


def _type(node: Schema, schema: Schema) -> str:
    """A node's type in words."""
    if choices := node.get("anyOf"):
        return " or ".join(dict.fromkeys(_type(choice, schema) for choice in choices))
    node = _resolved(node, schema)
    if "enum" in node:
        return " or ".join(f"`{value}`" for value in node["enum"])
    if "const" in node:
        return f"`{node['const']}`"
    if "properties" in node:
        return "section"
    if node.get("type") == "array":
        items = node.get("prefixItems") or [node.get("items", {})]
        kinds = dict.fromkeys(_type(item, schema) for item in items)
        return f"list of {' and '.join(kinds)}"
    if node.get("type") == "object":
        return f"name -> {_type(_inner(node), schema)}"
    if "oneOf" in node:
        return "section"
    if node.get("format") == "date-time":
        return "moment"
    return _PLAIN.get(str(node.get("type")), "anything")


def _default(key: str, node: Schema, section: Schema, is_section: bool) -> str:
    if key in section.get("required", []) or "const" in node:
        return "needed"
    default = node.get("default")
    if isinstance(default, dict) or (is_section and default is not None):
        return "its own"
    if default is None:
        return "`~`" if "default" in node else "empty"
    return "empty" if default == [] else f"`{_yaml(default)}`"


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(_yaml(item) for item in value)}]"
    if isinstance(value, int) and value >= 10_000:
        return f"{value:_}"
    return '""' if value == "" else str(value)


_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "minItems": "at least {} of them",
    "maxItems": "at most {} of them",
    "minProperties": "at least {} of them",
    "maxProperties": "at most {} of them",
    "maxLength": "at most {} letters",
    "pattern": "as `{}`",
}


def _number(value: Any) -> str:
    """As a config has it; a power of two that nobody would write out as one."""
    if not isinstance(value, int | float) or value < 1_000:
        return str(value)
    whole = int(value)
    is_power = whole > 2**31 and whole & (whole - 1) == 0
    return f"2^{whole.bit_length() - 1}" if is_power else f"{whole:_}"


def _bounds(node: Schema, schema: Schema) -> Iterator[str]:
    """What a value has to keep, in words; of a list also what each of its items has."""
    for choice in node.get("anyOf", []):
        yield from _bounds(choice, schema)
    for key, words in _BOUNDS.items():
        if key in node:
            value = node[key]
            yield words.format(_number(value))
    items = node.get("items")
    if isinstance(items, dict) and "$ref" not in items:
        yield from (f"each {words}" for words in _bounds(items, schema))
