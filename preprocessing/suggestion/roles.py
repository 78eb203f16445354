"""Decides what the columns of a sample are for: who, what, when, and what happened.

Names are hints and the sample is the evidence. What varies among the candidates of one request,
and is no property of the candidate, may be known only after the request; such a column is never
made a feature unasked.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from configs import InputError
from configs.errors import did_you_mean
from preprocessing.auc import roc_auc
from preprocessing.suggestion.columns import SampledColumn

Columns = Mapping[str, SampledColumn]

VARIES = 0.05
"""``SampledColumn.varies_within`` up to which a column is a property of the group (our choice)."""

_TELLS = 0.9
"""AUC from which a column tells a label: nothing that is known before does (our choice)."""

_TOLERATED = 0.005
"""Share of a later label's positives that may lie outside the earlier label's."""

_MOST_TASKS = 4
_FEWEST_POSITIVES = 50

_MOMENT = ("^(event_?)?(timestamp|time|ts|moment|datetime)$", "time|date|stamp|moment|_ts$|_at$")
_USER = (
    "^(user|uid|member|customer|client|visitor|account|buyer|reader|viewer|passenger|person)(_?id)?$",
    "user|member|customer|visitor|buyer|reader|viewer|passenger",
)
_REQUEST = (
    "^(request|req|query|search|impression_group|slate|page_?view|session|visit)(_?id)?$",
    "request|slate|query|search|session|visit",
)
_ITEM = (
    (
        "^(item|video|article|product|ad|sku|shop|store|restaurant|movie|song|track|news|post|content"
        "|creative|offer|book|hotel|listing|poi|doc|note|live)(_?id)?$"
    ),
    "item|video|article|product|sku|shop|movie|song|content|listing",
)
_CLICK = "^(is_?)?(click|clicked|clk|open|opened|view|viewed|tap)(_label)?$"
_HAPPENED = (
    r"click|clk|conver|order|purchase|bought|buy|pay|like|follow|share|forward|comment|favou?r"
    r"|collect|label|target|outcome|watch|view|play|install|sign_?up|cart|hate|reward|enter|book"
    r"|subscri|install|rating|response"
)
_POSITION = "^(position|pos|rank|slot)(_?in_?page)?$"
_WEIGHT = "^(sample_?)?weight$"


@dataclass(frozen=True)
class Label:
    """A column of what happened.

    Attributes:
      name: of the column.
      after: the label that it waits on; None where it may be 1 anywhere.
      positives: rows of the sample where it is 1.
      outside: rows where it is 1 and the label it waits on is 0.
    """

    name: str
    after: str | None
    positives: int
    outside: int = 0


@dataclass(frozen=True)
class Roles:
    """What the columns are for.

    Attributes:
      timestamp: the row's moment.
      user: who.
      request: whose rows are ranked against each other.
      labels: what is predicted, the first task first.
      item: what is ranked; None where no column says.
      row_key: what identifies a row; empty where nothing does.
      weight: column of sample weights.
      position: where a row stood.
      left_out: column -> why it is no feature.
      others: columns that may be labels, and are neither tasks nor features.
    """

    timestamp: str
    user: str
    request: str
    labels: tuple[Label, ...]
    item: str | None
    row_key: tuple[str, ...]
    weight: str | None
    position: str | None
    left_out: dict[str, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Given:
    """What the user has said; None where it is to be found out."""

    labels: tuple[str, ...] = ()
    timestamp: str | None = None
    user: str | None = None
    request: str | None = None
    item: str | None = None


def decide(columns: Columns, given: Given) -> Roles:
    """What every column is for.

    Raises:
      InputError: a column that was named is not there, or is not what it is said to be; or no
        column is a moment, a user or a label.
    """
    for name in (*given.labels, given.timestamp, given.user, given.request, given.item):
        if name is not None and name not in columns:
            raise InputError(f"--input: no file has a column '{name}'{did_you_mean(name, columns)}")
    rows = len(next(iter(columns.values())).codes)
    timestamp = given.timestamp or _named(columns, _MOMENT, _may_be_moment)
    if timestamp is None:
        raise InputError(_not_found("moment", "--timestamp", columns))
    user = given.user or _named(
        columns, _USER, lambda column: _has_values(column) and column.distinct > 1
    )
    if user is None:
        raise InputError(_not_found("user", "--user", columns))
    request = given.request or _named(columns, _REQUEST, _has_values) or user
    taken = {timestamp, user, request}
    position = _named(columns, (_POSITION,), lambda column: column.name not in taken)
    weight = _named(columns, (_WEIGHT,), lambda column: column.form == "number")
    item = given.item or _item(columns, taken, columns[request])
    labels, others, tell = _labels(
        columns, given.labels, {*taken, item, position, weight}, columns[request], item
    )
    left_out: dict[str, str] = {}
    for name, column in columns.items():
        if reason := _useless(column, rows):
            left_out[name] = reason
    left_out |= tell
    return Roles(
        timestamp,
        user,
        request,
        labels,
        item,
        _row_key(columns, request, item, rows),
        weight,
        position,
        left_out,
        others,
    )


def _named(
    columns: Columns, patterns: Sequence[str], fits: Callable[[SampledColumn], bool]
) -> str | None:
    """The first column of the first pattern that any fitting column's name matches."""
    for pattern in patterns:
        for name, column in columns.items():
            if re.search(pattern, name.lower()) and fits(column):
                return name
    return None


def _not_found(what: str, flag: str, columns: Iterable[str]) -> str:
    return f"--input: no column looks like the {what}; name it with {flag}: {', '.join(columns)}"


def _has_values(column: SampledColumn) -> bool:
    return column.form in ("text", "number") and column.missing < _TOLERATED


def _may_be_moment(column: SampledColumn) -> bool:
    if column.missing > _TOLERATED:
        return False
    if column.form == "number":  # seconds since 1970
        low, high = np.nanmin(column.numbers), np.nanmax(column.numbers)
        return bool(6.4e8 <= low <= high < 4.2e9 and column.distinct > 1)
    return column.form == "moment"


def _item(columns: Columns, taken: set[str], request: SampledColumn) -> str | None:
    def fits(column: SampledColumn) -> bool:
        return (
            column.name not in taken
            and _has_values(column)
            and column.distinct > 2
            and column.varies_within(request) > VARIES
        )

    return _named(columns, _ITEM, fits)


def _row_key(columns: Columns, request: str, item: str | None, rows: int) -> tuple[str, ...]:
    for name, column in columns.items():
        if column.distinct == rows and re.search("id$|key$|^id|uuid", name.lower()):
            return (name,)
    if item is None:
        return ()
    pairs = np.stack([columns[request].codes, columns[item].codes])
    return (request, item) if np.unique(pairs, axis=1).shape[1] == rows else ()


def _labels(
    columns: Columns,
    given: tuple[str, ...],
    taken: set[str | None],
    request: SampledColumn,
    item: str | None,
) -> tuple[tuple[Label, ...], tuple[str, ...], dict[str, str]]:
    """The labels in the order of their funnels, what else may be one, and why columns are left out
    for what happened.
    """
    for name in given:
        if not columns[name].binary:
            raise InputError(
                f"--label {name}: expected a column of 0 and 1 that holds both, without missing"
                f" values; the sample has {columns[name].distinct:,} values, of"
                f" {columns[name].missing:.1%} of the rows none"
            )
    happened = [
        name
        for name, column in columns.items()
        if name not in taken
        and column.binary
        and column.varies_within(request) > VARIES
        and (item is None or column.varies_within(columns[item]) > VARIES)
    ]
    named = [name for name in happened if re.search(_HAPPENED, name.lower())]
    if not (given or named):
        raise InputError(
            _not_found("label (0 and 1, not the same in a request)", "--label", columns)
        )
    positives = {
        name: int(columns[name].numbers.sum()) for name in dict.fromkeys((*happened, *given))
    }
    clicks = [name for name in named if re.search(_CLICK, name.lower())]
    often = sorted(named, key=lambda name: -positives[name])
    wanted = (
        list(given)
        or list(
            dict.fromkeys(
                [*clicks[:1], *(name for name in often if positives[name] >= _FEWEST_POSITIVES)]
            )
        )[:_MOST_TASKS]
    )
    labels = [_after(name, wanted, columns, positives) for name in wanted]
    ordered: list[Label] = []
    while labels:  # a label after the one that it waits on
        ready = [of for of in labels if of.after is None or of.after in {o.name for o in ordered}]
        ordered.append(ready[0])
        labels.remove(ready[0])
    others = tuple(name for name in happened if name not in wanted)
    tell = {
        name: f"tells '{label.name}': is it known before it?"
        for name, column in columns.items()
        if name not in (*taken, *wanted, *others) and column.form == "number"
        for label in reversed(ordered)  # the first of them is the one that is named
        if _tells(column, columns[label.name])
    }
    return tuple(ordered), others, tell


def _after(name: str, wanted: list[str], columns: Columns, positives: dict[str, int]) -> Label:
    """A label with the rarest other one that holds it; of two that are the same, the later waits on
    the earlier.
    """
    label = columns[name].numbers
    best: Label | None = None
    for other in wanted:
        outside = int((label * (1.0 - columns[other].numbers)).sum())
        larger = positives[other] > positives[name] or (
            positives[other] == positives[name] and wanted.index(other) < wanted.index(name)
        )
        if other == name or not larger or outside > _TOLERATED * positives[name]:
            continue
        if best is None or positives[other] < positives[str(best.after)]:
            best = Label(name, other, positives[name], outside)
    return best or Label(name, None, positives[name])


def _tells(column: SampledColumn, label: SampledColumn) -> bool:
    known = ~np.isnan(column.numbers)
    auc = roc_auc(label.numbers[known], column.numbers[known])
    return auc is not None and max(auc, 1.0 - auc) >= _TELLS


def _useless(column: SampledColumn, rows: int) -> str:
    if not column.everywhere:
        return "not every file has it"
    if column.form == "nothing":
        return "holds nothing"
    if column.distinct == 1 and not column.missing:
        return f"is {column.texts[0]!r} in every row of the sample"
    if column.form == "moment":
        return "a moment beside that of the row: features of its age have to be made in the logs"
    if column.form == "text" and column.distinct > 0.9 * rows:
        return "has another value in nearly every row"
    return ""
