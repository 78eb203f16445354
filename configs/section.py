"""Holds the strict base of every section of an experiment, and the small value types they share."""

import difflib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from configs.digests.sealed_json import unsealed
from configs.errors import InputError
from configs.files import read_json

_FIXED_OFFSET = re.compile(r"UTC([+-])([01]\d|2[0-3]):([0-5]\d)")
_LONGEST_SAID = 40
_ABSENT = object()
_DIGITS = re.compile(r"\s*[-+]?[\d.]+\s*")
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


class Section(BaseModel):
    """A frozen section that refuses unknown keys and names the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, values: Any) -> Any:
        if isinstance(values, dict):
            for key in values:
                if key not in cls.model_fields:
                    close = difflib.get_close_matches(str(key), cls.model_fields, n=1)
                    hint = (
                        f"; did you mean '{close[0]}'?"
                        if close
                        else f"; known keys: {', '.join(cls.model_fields)}"
                    )
                    raise ValueError(f"unknown key '{key}'{hint}")
        return values


S = TypeVar("S", bound=Section)


def read_section(path: Path, kind: type[S]) -> S:
    """Reads a section that a step has written as JSON, sealed or not.

    Raises:
      InputError: the file is missing, no JSON, damaged, or no such section; names the first key
        that is wrong.
    """
    content = read_json(path)
    if isinstance(content, dict):
        content = unsealed(content, path, "run the step that writes it again")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = f"{'.'.join(map(str, first['loc']))}: " if first["loc"] else ""
        raise InputError(
            f"{path}: {where}{first['msg'].removeprefix('Value error, ')}; run the step that writes"
            " it again"
        ) from None


def differing_settings(theirs: Any, ours: Any, path: str) -> list[str]:
    """The settings in which two sections differ, as JSON has them: each by its path, with what the
    one has and what was received, ready for a message.

    Args:
      theirs: the section that is expected, such as a job's.
      ours: the one that is received.
      path: of the section.
    """
    if theirs == ours:
        return []
    if not isinstance(theirs, Mapping) or not isinstance(ours, Mapping):
        return [f"{path} ({_said(theirs)}, received {_said(ours)})"]
    found: list[str] = []
    for name in dict.fromkeys((*theirs, *ours)):
        found += differing_settings(
            theirs.get(name, _ABSENT), ours.get(name, _ABSENT), f"{path}.{name}"
        )
    return found


def _said(value: Any) -> str:
    """A setting in a message: short, so that the message stays a line."""
    if value is None or value is _ABSENT:
        return "nothing" if value is None else "not there"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_SAID else f"{text[:_LONGEST_SAID]}..."


def _check_safe_name(name: str) -> str:
    if not _SAFE_NAME.fullmatch(name):
        raise ValueError(
            f"'{name}' cannot be used as a name; expected 1 to 64 letters, digits, '_', '.' or '-',"
            " not beginning with '.' or '-'"
        )
    return name


SafeName = Annotated[str, AfterValidator(_check_safe_name)]
"""A name that may become part of a path, a tensor name or a request field."""


Identifier = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]
"""A name that is part of a variable's, or names an output of a model."""


def parse_time_zone(name: str) -> tzinfo:
    """Turns ``UTC``, ``UTC-03:00`` or an IANA name such as ``America/Sao_Paulo`` into a time zone.

    Raises:
      ValueError: the name is none of these.
    """
    if name == "UTC":
        return UTC
    if match := _FIXED_OFFSET.fullmatch(name):
        offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
        return timezone(-offset if match[1] == "-" else offset)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"unknown time zone '{name}'; expected UTC, UTC-03:00 or an IANA name such as"
            " America/Sao_Paulo"
        ) from None


def _check_time_zone(name: str) -> str:
    parse_time_zone(name)
    return name


TimeZoneName = Annotated[str, AfterValidator(_check_time_zone)]


def _assume_utc(moment: datetime) -> datetime:
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{moment.isoformat()} has no UTC time") from None


def _refuse_digits(value: Any) -> Any:
    if isinstance(value, int | float) or (isinstance(value, str) and _DIGITS.fullmatch(value)):
        raise ValueError(
            f"{value} could be a date or seconds since 1970; expected ISO 8601, such as 2024-01-02"
            " or 2024-01-02T03:00:00Z"
        )
    return value


UtcDatetime = Annotated[datetime, BeforeValidator(_refuse_digits), AfterValidator(_assume_utc)]
"""A moment, written as ISO 8601; read as UTC where it names no time zone."""


# The bounds of numbers: no setting is so large that a program which takes it fails in the middle of
# its work.

LARGEST_INDEX = 2**31 - 2
"""The largest int32 that still has a successor: ids, rows and steps are counted in int32."""

Count = Annotated[int, Field(ge=1, le=LARGEST_INDEX)]
"""How many: rows, steps, epochs, ids."""

CountOrNone = Annotated[int, Field(ge=0, le=LARGEST_INDEX)]
"""The same, or none."""

Width = Annotated[int, Field(ge=1, le=65_536)]
"""Units of a layer, or layers and parts of a model."""

Depth = Annotated[int, Field(ge=0, le=1_000)]
"""Layers that a model may also do without."""

Rate = Annotated[float, Field(ge=1e-30, le=1e6)]
"""A learning rate, a standard deviation: float32 holds it and its square."""

Weight = Annotated[float, Field(ge=0.0, le=1e6)]
"""How much something counts; 0 is not at all."""

Seed = Annotated[int, Field(ge=0, lt=2**63)]
