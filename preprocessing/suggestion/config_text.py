"""Writes a proposed config as YAML, with what was seen and what could not be decided as
comments.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime

from configs.consistency import can_be_served
from preprocessing.suggestion.columns import Columns, SampledColumn
from preprocessing.suggestion.feature_lines import features, scalar, topics
from preprocessing.suggestion.roles import NOT_SERVED, Label, Roles
from preprocessing.suggestion.windows import Windows

_FEW_ROWS = 1_000_000
_HOURS = "{night: 22-05, morning: 06-10, noon: 11-14, afternoon: 15-17, evening: 18-21}"


def config_text(name: str, pattern: str, columns: Columns, roles: Roles, windows: Windows) -> str:
    """The config.

    Args:
      name: of the experiment.
      pattern: of the logs.
      columns: of the sample.
      roles: of the columns.
      windows: of the splits.
    """
    sampled = len(columns[roles.timestamp].codes)
    lines = [
        f"# Proposed by preprocessing.suggest from {sampled:,} of {sum(windows.rows):,} rows. Read",
        "# it: names are hints, a sample is no log, and nobody knows better than you what is known",
        "# before a click.",
        f"name: {name}",
        "seed: 17",
        "",
        "data:",
        f"  input: {scalar(pattern)}",
        f"  timestamp: {scalar(roles.timestamp)}",
        f"  request: {scalar(roles.request)}{_request_note(roles)}",
        f"  user: {scalar(roles.user)}",
        *([f"  weight: {scalar(roles.weight)}"] if roles.weight else []),
        *_row_key(roles),
        *_outside(roles.labels, sampled),
        "",
        *_tasks(roles, sampled),
        "",
        *_splits(windows),
        "",
        *_features(columns, roles),
        "",
        *_topics(columns, roles),
        "",
        *_training(roles, sum(windows.rows)),
    ]
    return "\n".join(lines) + "\n"


def _request_note(roles: Roles) -> str:
    if roles.request != roles.user:
        return "  # whose rows are ranked against each other"
    return "  # no column names requests: all rows of a user are ranked against each other"


def _row_key(roles: Roles) -> list[str]:
    if roles.row_key:
        return [f"  row_key: {scalar(list(roles.row_key))}"]
    return ["  # row_key: [...]  # no columns were found that identify a row; duplicates stay"]


def _outside(labels: Sequence[Label], sampled: int) -> list[str]:
    outside = sum(label.outside for label in labels)
    if not outside:
        return []
    share = max(0.001, round(3.0 * outside / sampled, 4))
    return [f"  max_conversion_without_click: {share}  # {outside:,} rows here; they are rejected"]


def _tasks(roles: Roles, sampled: int) -> Iterator[str]:
    names = task_names(roles.labels)
    yield "tasks:"
    for label in roles.labels:
        name = names[label.name]
        text = f"  {name}: {{label: {scalar(label.name)}"
        if label.typical is not None:
            text += f", kind: regression, typical: {scalar(label.typical)}"
        if label.after is not None:
            text += f", after: {names[label.after]}"
        if label.after is not None and label.typical is None:
            text += f", loss_weight: 0.0, entire: {{name: {name}_all}}"
        yield f"{text}}}  # {label.positives / sampled:.2%} of the sample"
    for other in roles.others:
        yield f"  # {scalar(other)}: 0 and 1, differs within requests; a task? It is no feature."
    yield "  # A label that is known late, such as an order's, needs matured_after, and data.as_of."
    yield ""
    yield f"score: {scalar(_score(roles.labels, names))}  # how a page is ranked"


def _score(labels: Sequence[Label], names: dict[str, str]) -> str:
    """The last label of the first task's funnel, over all rows."""
    last = labels[0]
    while following := next(
        (of for of in labels if of.after == last.name and of.typical is None), None
    ):
        last = following
    return names[last.name] if last.after is None else f"{names[last.name]}_all"


def task_names(labels: Sequence[Label]) -> dict[str, str]:
    """Label -> name of its task: an identifier that means nothing else, ``does_...``."""
    found: dict[str, str] = {}
    for label in labels:
        name = re.sub(r"\W+", "_", label.name.lower(), flags=re.ASCII).strip("_")
        if not name or name[0].isdigit():
            name = f"task_{name}".rstrip("_")
        while not _free(name) or name in found.values():
            name = f"{name}_task"
        found[label.name] = name
    return found


def _free(name: str) -> bool:
    from configs.prediction.tasks import Tasks

    try:
        Tasks.model_validate({name: {"label": "x"}})
    except ValueError:
        return False
    return True


def _splits(windows: Windows) -> Iterator[str]:
    yield "splits:  # read nothing off test rows before the end"
    ends = (*windows.begins[1:], windows.end)
    names = ("pretrain", "finetune", "validation", "test")
    for name, start, end, rows in zip(names, windows.begins, ends, windows.rows, strict=True):
        yield f"  {name}: {{start: {_moment(start)}, end: {_moment(end)}}}  # {rows:,} rows"


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _features(columns: Columns, roles: Roles) -> Iterator[str]:
    yield "features:"
    used = {"time"}
    for column, settings in features(columns, roles):
        name = _safe(column, used)
        if name != column:
            settings = settings.replace("{", f"{{column: {scalar(column)}, ", 1)
        yield f"  {name}: {settings}{_note(columns[column])}"
    if can_be_served(roles.timestamp):
        parts = f"column: {scalar(roles.timestamp)}, parts: [hour, weekday], time_zone: UTC"
        yield f"  time: {{kind: timestamp, side: context, {parts}}}  # give your own time zone"
    else:
        yield f"  # {scalar(roles.timestamp)}: {NOT_SERVED}"
    for column, reason in roles.left_out.items():
        if column != roles.timestamp:
            yield f"  # {scalar(column)}: {reason}"


def _safe(column: str, used: set[str]) -> str:
    name = column.rstrip("_")  # what is a feature can name an input
    while name in used:
        name = f"f_{name}"
    used.add(name)
    return name


def _note(column: SampledColumn) -> str:
    missing = f", {column.missing:.0%} missing" if column.missing >= 0.005 else ""
    several = column.form == "list"
    return f"  # {len(column.members) if several else column.distinct:,} values{missing}"


def _topics(columns: Columns, roles: Roles) -> Iterator[str]:
    lines = []
    for name, settings in topics(columns, roles).items():
        cut = f"column: {scalar(settings['column'])}, values: {scalar(settings['values'])}"
        lines.append(f"  {_safe(name, {'period'})}: {{{cut}}}")
    if can_be_served(roles.timestamp):
        period = f"column: {scalar(roles.timestamp)}, time_zone: UTC, hours: {_HOURS}"
        lines.append(f"  period: {{{period}}}")
    empty = "" if lines else " {}"
    yield f"topics:{empty}  # each value is a domain, which may have a kernel of its own"
    yield from lines


def _training(roles: Roles, rows: int) -> Iterator[str]:
    few = rows < _FEW_ROWS
    if roles.position:
        feature = _safe(roles.position, {"time"})
        yield f"backbone: {{debias: {{feature: {feature}}}}}  # known in training alone"
        yield ""
    yield (
        f"pretrain: {{epochs: {16 if few else 4}, batch_size: {1024 if few else 4096}}}"
        "  # stops where validation stops rising"
    )
