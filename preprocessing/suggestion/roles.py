"""Decides what the columns of a sample are for: who, what, when, and what happened.

Names are hints and the sample is the evidence. What varies among the candidates of one request,
and is no property of the candidate, may be known only after the request; such a column is never
made a feature unasked.
"""

import re
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from configs import InputError
from configs.consistency import can_be_served
from configs.errors import did_you_mean, first_names
from preprocessing.auc import roc_auc
from preprocessing.suggestion.columns import Columns, Form, SampledColumn

VARIES = 0.05
"""``SampledColumn.varies_within`` up to which a column is a property of the group (our choice)."""

_TELLS = 0.9
"""AUC from which a column tells a label: nothing that is known before does (our choice)."""

_TOLERATED = 0.005
"""Share of a later label's positives that may lie outside the earlier label's."""

NOT_SERVED = "its name cannot be that of a model's input; rename it in the logs"
"""Why a column is no feature."""

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
_IDS = rf"id$|key|code|number|{_USER[1]}|{_REQUEST[1]}|{_ITEM[1]}"
"""What is called so may be a number of any size."""
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
      typical: of amounts, the median of those that are not 0; None of 0 and 1.
    """

    name: str
    after: str | None
    positives: int
    outside: int = 0
    typical: float | None = None


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
    named = [*given.labels, given.timestamp, given.user, given.request, given.item]
    if unknown := [name for name in dict.fromkeys(named) if name and name not in columns]:
        several = f"; there are: {first_names([*columns], 10)}"
        raise InputError(
            f"--input: no file has a column {' or '.join(repr(name) for name in unknown)}"
            + (did_you_mean(unknown[0], columns) if len(unknown) == 1 else several)
        )
    _check_given(columns, given)
    rows = len(next(iter(columns.values())).codes)
    taken = _known(*named)

    def free(fits: Callable[[SampledColumn], bool]) -> Callable[[SampledColumn], bool]:
        """Of columns that play no part yet: one that did two would be read in two ways."""
        return lambda column: column.name not in taken and fits(column)

    timestamp = given.timestamp or _moment(columns, taken)
    taken |= _known(timestamp)
    user = given.user or _named(
        columns, _USER, free(lambda column: _has_values(column) and column.distinct > 1)
    )
    taken |= _known(user)
    request = given.request or _named(columns, _REQUEST, free(_has_values)) or user
    taken |= _known(request)
    position = _named(columns, (_POSITION,), free(_has_values))
    weight = _named(columns, (_WEIGHT,), free(_may_be_weight))
    within = columns[request] if request else None
    item = given.item or _item(columns, taken, within)
    taken |= _known(item, position, weight)
    happened = _happened(columns, taken, within, item)
    has_label = bool(given.labels or _named_as_happened(happened))
    if timestamp is None or user is None or request is None or not has_label:
        raise InputError(_not_found(timestamp, user, columns, has_label=has_label))
    labels, others, tell = _labels(columns, given.labels, taken, happened)
    left_out: dict[str, str] = {}
    for name, column in columns.items():
        if reason := _useless(column, rows):
            left_out[name] = reason
    left_out |= tell
    if position in {*left_out, *others}:
        position = None
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


def _known(*names: str | None) -> set[str]:
    return {name for name in names if name}


def _check_given(columns: Columns, given: Given) -> None:
    """Raises ``InputError`` where a column is named for two parts, or cannot play its part."""
    parts = {
        "--timestamp": given.timestamp,
        "--user": given.user,
        "--request": given.request,
        "--item": given.item,
    }
    named = [*given.labels, *parts.values()]
    for name in given.labels:
        if named.count(name) > 1:
            raise InputError(f"--label {name}: is named twice; a label is nothing else")
    flags: dict[str, str] = {}
    for flag, column in ((flag, columns[name]) for flag, name in parts.items() if name):
        # The rows of a user may be those that are ranked against each other.
        other = flags.setdefault(column.name, flag)
        if other != flag and (other, flag) != ("--user", "--request"):
            raise InputError(f"{flag} {column.name}: is named for {other} too; expected another")
        is_moment = flag == "--timestamp"
        if not (_may_be_moment(column) if is_moment else _has_values(column)):
            missing = f", and is missing in {column.missing:.1%}" if column.missing else ""
            raise InputError(
                f"{flag} {column.name}: expected a column of"
                f" {'moments' if is_moment else 'texts or numbers'}, and a value in every row; it"
                f" holds {', '.join(column.texts[:3]) or 'nothing'}{missing}"
            )


def _moment(columns: Columns, taken: Container[str | None]) -> str | None:
    """The row's moment: by a name that says so, then by one that hints at it, where values are
    moments, which a type or their text says, before seconds since 1970, which only numbers of that
    size are; then by values alone.
    """

    def of(form: Form) -> Callable[[SampledColumn], bool]:
        return lambda column: (
            column.form == form and column.name not in taken and _may_be_moment(column)
        )

    exact, hint = _MOMENT
    for pattern in (exact, hint):
        if found := _named(columns, (pattern,), of("moment")) or _named(
            columns, (pattern,), of("number")
        ):
            return found
    no_id = rf"^(?!.*(?:{_IDS})).*$"
    return _named(columns, ("",), of("moment")) or _named(columns, (no_id,), of("number"))


def _not_found(
    timestamp: str | None, user: str | None, columns: Iterable[str], *, has_label: bool
) -> str:
    """All that is missing, in one line, and the flags that name it."""
    missing = {}
    if timestamp is None:
        missing["--timestamp"] = "the moment"
    if user is None:
        missing["--user"] = "the user"
    if not has_label:
        missing["--label"] = "the label (0 and 1, and not the same in all of a request)"
    it = "it" if len(missing) == 1 else "them"
    return (
        f"--input: no column looks like {' or '.join(missing.values())}; name {it} with"
        f" {' and '.join(missing)}: {', '.join(columns)}"
    )


def _has_values(column: SampledColumn) -> bool:
    return column.form in ("text", "number") and column.missing < _TOLERATED


def _may_be_moment(column: SampledColumn) -> bool:
    if column.missing > _TOLERATED:
        return False
    if column.form == "number":  # seconds since 1970
        low, high = np.nanmin(column.numbers), np.nanmax(column.numbers)
        return bool(6.4e8 <= low <= high < 4.2e9 and column.distinct > 1)
    return column.form == "moment"


def _may_be_weight(column: SampledColumn) -> bool:
    numbers = column.filled
    return (
        column.form == "number" and not column.missing and bool(0 <= numbers.min() < numbers.max())
    )


def _item(columns: Columns, taken: set[str], request: SampledColumn | None) -> str | None:
    if request is None:
        return None

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


def _happened(
    columns: Columns, taken: set[str], request: SampledColumn | None, item: str | None
) -> list[str]:
    """Columns of 0 and 1 that may be labels; where no request is known, also those that are the
    same in all of one.
    """
    return [
        name
        for name, column in columns.items()
        if name not in taken
        and column.binary
        and (request is None or column.varies_within(request) > VARIES)
        and (item is None or column.varies_within(columns[item]) > VARIES)
    ]


def _named_as_happened(happened: list[str]) -> list[str]:
    return [name for name in happened if re.search(_HAPPENED, name.lower())]


def _labels(
    columns: Columns, given: tuple[str, ...], taken: set[str], happened: list[str]
) -> tuple[tuple[Label, ...], tuple[str, ...], dict[str, str]]:
    """The labels in the order of their funnels, what else may be one, and why columns are left out
    for what happened.
    """
    for name in given:
        numbers = columns[name].filled
        if not numbers.size or numbers.min() < 0 or len(np.unique(numbers)) < 2:
            raise InputError(
                f"--label {name}: expected a column of 0 and 1, or of amounts from 0 on, and"
                f" different ones; it holds {', '.join(columns[name].texts[:3]) or 'nothing'}"
            )
    wanted = list(given) or _tasks(_named_as_happened(happened), columns)
    ordered = _in_order([_after(name, wanted, columns) for name in wanted], columns)
    if not ordered and not given:
        raise InputError(_not_found("", "", columns, has_label=False))
    if not ordered:
        raise InputError(
            f"--label {wanted[0]}: it is missing in {columns[wanted[0]].missing:.1%} of the rows;"
            " expected a label that every row has, or one that waits on another of them"
        )
    tasks = {label.name for label in ordered}
    others = tuple(name for name in dict.fromkeys((*happened, *wanted)) if name not in tasks)
    tell = {
        name: f"tells '{label.name}': is it known before it?"
        for name, column in columns.items()
        if name not in (*taken, *tasks, *others)
        for label in reversed(ordered)  # the first of them is the one that is named
        if _tells(column, columns[label.name])
    }
    return ordered, others, tell


def _tasks(named: list[str], columns: Columns) -> list[str]:
    """The click, then what happens most often."""
    often = {name: int(columns[name].filled.sum()) for name in named}
    clicks = [name for name in named if re.search(_CLICK, name.lower())]
    others = sorted(named, key=lambda name: -often[name])
    enough = [name for name in others if often[name] >= _FEWEST_POSITIVES]
    return list(dict.fromkeys([*clicks[:1], *enough]))[:_MOST_TASKS] or named[:1]


def _in_order(labels: list[Label], columns: Columns) -> tuple[Label, ...]:
    """Each after the one that it waits on; without those that have neither that nor a value in
    every row.
    """
    left = [of for of in labels if of.after is not None or not columns[of.name].missing]
    ordered: list[Label] = []
    while ready := [of for of in left if of.after in {None, *(before.name for before in ordered)}]:
        ordered.append(ready[0])
        left.remove(ready[0])
    return tuple(ordered)


def _after(name: str, wanted: list[str], columns: Columns) -> Label:
    """A label with the rarest other one that holds it; of two that are the same, the later waits on
    the earlier.
    """
    column, best = columns[name], None
    happened = column.filled > 0
    positives = int(happened.sum())
    typical = None if column.binary else float(np.median(column.filled[happened]))
    fewest = len(happened) + 1
    for other in wanted:
        if other == name or not columns[other].binary:
            continue
        of_other = int(columns[other].filled.sum())
        outside = int((happened & (columns[other].filled == 0)).sum())
        first = typical is not None or wanted.index(other) < wanted.index(name)
        holds = of_other > positives or (of_other == positives and first)
        if holds and outside <= _TOLERATED * positives and of_other < fewest:
            best, fewest = Label(name, other, positives, outside, typical), of_other
    return best or Label(name, None, positives, 0, typical)


def _tells(column: SampledColumn, label: SampledColumn) -> bool:
    """Whether a column ranks a label's rows nearly without a fault: by its numbers, by where it is
    missing, or by what other rows of its value had.
    """
    happened = label.filled > 0
    scores = [column.codes >= 0, *([column.filled] if column.numbers.size else [])]
    aucs = [roc_auc(happened, score) for score in scores]
    learned, judged = slice(0, None, 2), slice(1, None, 2)  # every other row says, the rest judge
    values, labels = column.codes + 1, happened[learned]
    rows = np.bincount(values[learned], minlength=column.distinct + 1)
    positives = np.bincount(values[learned], labels, minlength=column.distinct + 1)
    rates = (positives + labels.mean()) / (rows + 1.0)
    aucs.append(roc_auc(happened[judged], rates[values[judged]]))
    return any(auc is not None and max(auc, 1.0 - auc) >= _TELLS for auc in aucs)


def _useless(column: SampledColumn, rows: int) -> str:
    if not can_be_served(column.name):
        return NOT_SERVED
    if not column.everywhere:
        return "not every file has it"
    if column.form == "nothing":
        return "holds nothing"
    if column.distinct == 1 and not column.missing:
        return f"is {column.texts[0]!r} in every row of the sample"
    if column.form == "moment":
        return "a moment beside that of the row: features of its age have to be made in the logs"
    if column.fractions and not column.alike:
        return "lists of numbers of many lengths: a number_list along a list of as many values?"
    if column.form == "text" and column.distinct > 0.9 * rows:
        return "has another value in nearly every row"
    return ""
