"""Proposes a feature for every column that can be one, and topics by which domains are cut."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from preprocessing.suggestion.columns import Columns, SampledColumn
from preprocessing.suggestion.roles import VARIES, Roles

_FEW = 200
"""Whole numbers of so many values or fewer are codes, unless their name says that they count or
measure something (our choice).
"""

_MANY = 1_000
"""Ids of more values than this are dropped to the out-of-vocabulary id in pre-training."""

_SHARED = 0.3
"""Share of a list's members that are items from which it is a history of items (our choice)."""

_SKEWED = 10.0
_LONGEST = 50
_MOST_VALUES = 8
_LEAST_SHARE = 0.01
_MOST_TOPICS = 3
_TOPIC = (
    "scene|tab$|tab_|page|channel|source|referr|device|platform|region|country|market|city|store"
)
_CODE = "(^|_)(id|code|zip|type|category|range)$"
_AMOUNT = (
    "(^|_)(num|number|count|cnt|age|day|hour|minute|second|price|amount|score|rating|length"
    "|duration|width|height|size|click|order|view|sum|avg|mean|rate|ratio|distance|position"
    "|discount)s?(_|$)"
)


def side_of(column: SampledColumn, columns: Columns, roles: Roles) -> str:
    """Whose property a column is: the user's, the item's, or the request's; a history of items is
    the user's, though it grows.
    """
    if column.name == roles.user or column.varies_within(columns[roles.user]) <= VARIES:
        return "user"
    if _is_history(column, columns, roles):
        return "user"
    if roles.item and (
        column.name == roles.item or column.varies_within(columns[roles.item]) <= VARIES
    ):
        return "item"
    if column.name == roles.position or column.varies_within(columns[roles.request]) <= VARIES:
        return "context"
    return "item"  # differs between the candidates of a request


def _is_history(column: SampledColumn, columns: Columns, roles: Roles) -> bool:
    """Whether a column lists items, and is no property of the one that is ranked."""
    if not (roles.item and column.members):
        return False
    shared = column.members.intersection(columns[roles.item].texts)
    of_item = column.varies_within(columns[roles.item]) <= VARIES
    return len(shared) > _SHARED * len(column.members) and not of_item


def features(columns: Columns, roles: Roles) -> Iterator[tuple[str, str]]:
    """Yields column and settings, as YAML, in the order of the logs."""
    labels = {label.name for label in roles.labels}
    skipped = {*labels, *roles.others, *roles.left_out, roles.timestamp, roles.weight}
    keys = {roles.request, *roles.row_key} - {roles.user, roles.item}
    for name, column in columns.items():
        if name in skipped or name in keys:
            continue
        side = side_of(column, columns, roles)
        yield (
            name,
            _flow(
                {"kind": _kind(column, roles), "side": side, **_settings(column, columns, roles)}
            ),
        )


def _kind(column: SampledColumn, roles: Roles) -> str:
    if column.form == "list":
        return "vector" if column.fractions else "list"
    return "numeric" if _is_amount(column, roles) else "categorical"


def _is_amount(column: SampledColumn, roles: Roles) -> bool:
    name = column.name.lower()
    if column.form != "number" or re.search(_CODE, name):
        return False
    if column.name in (roles.user, roles.item):
        return False
    if not column.whole or column.distinct > _FEW:
        return True
    return column.distinct > 2 and re.search(_AMOUNT, name) is not None


def _settings(column: SampledColumn, columns: Columns, roles: Roles) -> dict[str, Any]:
    if column.form == "list" and column.fractions:
        return {"size": column.longest}
    if column.form == "list":
        length = {"max_length": min(max(column.longest, 1), _LONGEST)}
        if _is_history(column, columns, roles):
            return {"shares": roles.item, **length, "attention": True, "id_dropout": 0.3}
        return {"vocabulary": {}, **length}
    if _is_amount(column, roles):
        known = column.numbers[~np.isnan(column.numbers)]
        low, middle, high = np.quantile(known, (0.0, 0.5, 0.99))
        return {"log1p": True} if low >= 0 and high > _SKEWED * max(middle, 1.0) else {}
    many = column.distinct > _MANY or column.name in (roles.user, roles.item)
    return {"vocabulary": {}, **({"id_dropout": 0.3} if many else {})}


def topics(columns: Columns, roles: Roles) -> dict[str, dict[str, Any]]:
    """Topic -> settings: up to three columns of a few frequent values that are no property of the
    item, those first whose names say where a request comes from.
    """
    found = {}
    for name, _ in features(columns, roles):
        column = columns[name]
        if _kind(column, roles) != "categorical" or name in (
            roles.user,
            roles.item,
            roles.position,
        ):
            continue
        if side_of(column, columns, roles) == "item" or not 2 <= column.distinct <= 200:
            continue
        order = np.argsort(-column.counts, kind="stable")[:_MOST_VALUES]
        frequent = order[column.counts[order] >= _LEAST_SHARE * len(column.codes)]
        if len(frequent) >= 2:
            found[name] = {"column": name, "values": [column.texts[value] for value in frequent]}
    by_name = sorted(found, key=lambda name: not re.search(_TOPIC, name.lower()))
    return {name: found[name] for name in by_name[:_MOST_TOPICS]}


def _flow(settings: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{key}: {scalar(value)}" for key, value in settings.items()) + "}"


def scalar(value: Any) -> str:
    """A value as YAML that reads back as the same one: text in quotes unless it is plain."""
    if isinstance(value, dict) and value:
        return _flow(value)
    if isinstance(value, list):
        return "[" + ", ".join(scalar(part) for part in value) + "]"
    if isinstance(value, str) and re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", value):
        words = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"}
        return json.dumps(value) if value.lower() in words else value
    return json.dumps(value, ensure_ascii=False)
