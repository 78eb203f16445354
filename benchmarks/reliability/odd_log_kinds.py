"""What may be odd about logs, drawn from a seed, and how the command must end. See
``benchmarks.reliability.odd_logs``.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Row = dict[str, Any]
FORMATS = ("csv", "jsonl", "parquet")
_START = datetime(2025, 3, 3, 3, tzinfo=UTC)
"""The small job's first moment."""


@dataclass
class Case:
    """Logs that are odd.

    Attributes:
      rows: of the log, which a kind changes.
      ends: how the command may end: ``read`` or ``refused``.
      says: what the line of a refusal holds.
      settings: of the experiment, as ``--set`` has them.
      name: of the log's file, without its extension.
      before: what stands before the header of a CSV file.
      formats: in which the log is written.
      rejected: rows that are to be rejected; None where nobody has counted them.
    """

    rows: list[Row]
    ends: str = "read"
    says: str = ""
    settings: list[str] = field(default_factory=list)
    name: str = "log"
    before: str = ""
    formats: tuple[str, ...] = FORMATS
    rejected: int | None = 0

    def refuse(self, says: str) -> None:
        """The logs must be refused, in words that hold these."""
        self.ends, self.says, self.rejected = "refused", says, None


Kind = Callable[[random.Random, Case], None]


def _some(draw: random.Random, rows: list[Row], share: float = 0.02) -> list[Row]:
    return draw.sample(rows, max(1, int(share * len(rows))))


def _blanks_first(draw: random.Random, case: Case) -> None:
    """A line of blanks before the header is none; empty lines do not count."""
    case.formats = ("csv",)
    case.before = draw.choice(["\n", "\r\n\n", " \n", "\t\n", "  \t \r\n", "\ufeff", "\ufeff \n"])
    if case.before.strip("\r\n\ufeff"):
        case.refuse("received a line of blanks")


def _signs_of_globs(draw: random.Random, case: Case) -> None:
    case.name = draw.choice(
        ["day[1]", "[a-c]", "what?", "all*", "[", "a]b[", "{x}", "ä ö", "a%20b"]
    )


def _a_copy_of_a_label(draw: random.Random, case: Case) -> None:
    label = draw.choice(["click", "conversion"])
    one, zero = draw.choice(
        [(1, 0), (0, 1), (True, False), (1.0, 0.0), ("Y", "N"), ("N", "Y"), ("yes", None),
         (None, "seen"), ("TRUE", "false"), (7, 8), ("a", "b")]
    )  # fmt: skip
    for row in case.rows:
        row["hint"] = one if row[label] else zero
    kind = draw.choice(["{kind: categorical, side: item, vocabulary: {}}"])
    case.settings = [f"features.hint={kind}"]
    case.refuse("hint")


def _labels_of_other_values(draw: random.Random, case: Case) -> None:
    """Counts for labels: a few are rejected, with many the logs are refused."""
    value = draw.choice([2, 2.0, -1, 0.5, "2", "yes", 7])
    few = draw.random() < 0.5
    clicked = [row for row in case.rows if row["click"] and not row["conversion"]]
    changed = clicked[:3] if few else clicked
    for row in changed:
        row["click"] = value
    if isinstance(value, str):
        for row in case.rows:
            row["click"] = str(row["click"])
    if isinstance(value, float):
        for row in case.rows:
            row["click"] = float(row["click"])
    if few:
        case.rejected = len(changed)
    else:
        case.refuse("label 'click' is neither 0 nor 1")


def _null_labels(draw: random.Random, case: Case) -> None:
    """A conversion may be missing where there was no click; elsewhere its row is rejected."""
    inside = draw.random() < 0.5
    rows = [row for row in case.rows if bool(row["click"]) == inside and not row["conversion"]]
    changed = _some(draw, rows, 0.1)
    for row in changed:
        row["conversion"] = None
    case.rejected = len(changed) if inside else 0


def _one_class(draw: random.Random, case: Case) -> None:
    split, label = draw.choice(["pretrain", "finetune", "validation", "test"]), "conversion"
    first = {"pretrain": 3, "finetune": 6, "validation": 7, "test": 8}[split]
    for row in case.rows:
        day = (row["timestamp"].timestamp() - _START.timestamp()) // 86_400 + 3
        if (day < 6 and first == 3) or day == first:
            row[label] = 0
    case.refuse(f"label '{label}' is 0 on all")


def _negative_weights(draw: random.Random, case: Case) -> None:
    case.settings = ["data.weight=weight"]
    value = draw.choice([-1.0, -0.5, float("nan"), float("inf"), None, 0.0, 2.5])
    changed = _some(draw, case.rows)
    for row in changed:
        row["weight"] = value
    if value is not None and value < 0:
        case.refuse("rows have a negative weight")
    elif value is None or value != value or value == float("inf"):
        case.rejected = len(changed)


def _texts_for_null(draw: random.Random, case: Case) -> None:
    """They are missing in CSV and JSON, and themselves in Parquet, which has nulls."""
    text = draw.choice(["NULL", "\\N", "", "n/a", "-"])
    case.formats = ("csv", "jsonl")
    case.settings = [f"data.null_values={json.dumps(['', 'NULL', chr(92) + 'N', text])}"]
    for row in _some(draw, case.rows, 0.2):
        row[draw.choice(["device", "scene", "cuisine"])] = text


def _names_of_columns(draw: random.Random, case: Case) -> None:
    name = draw.choice(
        ["domain", "examples", "self", "class", "Domain", "1st", "a b", "_x", "ä", "Device",
         "SHOP_ID", "a-b", "lambda"]
    )  # fmt: skip
    for row in case.rows:
        row[name] = "x"
    kind = "kind: categorical, side: user, vocabulary: {}"
    case.settings = [f"features.other={{{kind}, column: {json.dumps(name)}}}"]
    case.refuse("input")


def _colliding_outputs(draw: random.Random, case: Case) -> None:
    """Features whose outputs would have one name, and labels among the features."""
    setting, says = draw.choice(
        [
            ("features.time_hour={kind: categorical, side: user, column: device, vocabulary: {}}",
             "gives an output of that name"),
            ("features.click={kind: categorical, side: user, vocabulary: {}}", "is a label"),
            ("features.x={kind: numeric, side: user, column: conversion}", "is a label"),
            ("features.x={kind: numeric, side: user, column: device}", "is read as"),
            ("topics.click={column: click, values: ['1']}", "is a label"),
            ("data.row_key=[history]", "a key is one value"),
        ]
    )  # fmt: skip
    case.settings = [setting]
    case.refuse(says)


def _numbers_for_ids(draw: random.Random, case: Case) -> None:
    """One spelling of a number in each format: ids are the same."""
    kind = draw.choice(["whole", "fraction", "truth", "64 bits"])
    for row in case.rows:
        number = draw.randrange(5)
        row["device"] = {
            "whole": number,
            "fraction": number + draw.choice([0.0, 0.5]),
            "truth": number > 2,
            "64 bits": (1 << 53) + number,
        }[kind]


def _large_ids_beside_others(draw: random.Random, case: Case) -> None:
    """64-bit ids beside fractions and NaN in JSON lines: every row keeps its own."""
    case.formats = ("jsonl",)
    changed = _some(draw, case.rows)
    for row in case.rows:
        row["device"] = (1 << 53) + draw.randrange(5)
    value = draw.choice([7.5, float("nan"), float("inf"), [1], {}, True, 1 << 70])
    for row in changed:
        row["device"] = value
    is_text = isinstance(value, int) or value == 7.5
    case.rejected = 0 if is_text else len(changed)


def _moments_out_of_range(draw: random.Random, case: Case) -> None:
    form = draw.choice([1_000, 1_000_000, 1e-3, 0.0])
    for row in case.rows:
        row["timestamp"] = row["timestamp"].timestamp()
    changed = _some(draw, case.rows)
    for row in changed:
        row["timestamp"] *= form
    case.rejected = len(changed)


KINDS: tuple[Kind, ...] = (
    _blanks_first,
    _signs_of_globs,
    _a_copy_of_a_label,
    _labels_of_other_values,
    _null_labels,
    _one_class,
    _negative_weights,
    _texts_for_null,
    _names_of_columns,
    _colliding_outputs,
    _numbers_for_ids,
    _large_ids_beside_others,
    _moments_out_of_range,
)
