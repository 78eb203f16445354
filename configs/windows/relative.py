"""Moments that a config counts from ``as_of``, so that one config serves every day:
``start: "as_of - 6d"``.

Days are those of ``data.time_zone``: six days before a midnight is a midnight, also where clocks
were set forward between them. Hours are hours.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from pydantic import TypeAdapter

from configs.section import UtcDatetime, parse_time_zone

_FORM = re.compile(r"as_of(?:\s*([+-])\s*(\d{1,5})\s*([dh]))?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOMENT: TypeAdapter[datetime] = TypeAdapter(UtcDatetime)
_EXPECTED = "as_of, or as_of - 6d, as_of + 12h and the like"


def relative_moments(values: Mapping[str, Any]) -> dict[tuple[str, ...], str]:
    """The moments of a config that begin with ``as_of``: keys on the way to each -> its text.

    Args:
      values: an experiment as YAML gives it; what is no mapping in it is left to the checks.
    """
    return {path: text for path, text in _moments(values) if text.startswith("as_of")}


def with_moments(values: Mapping[str, Any]) -> dict[str, Any]:
    """An experiment as YAML gives it, with moments in the place of what is counted from its
    ``as_of``. Where there are any, and ``data.as_of`` is not given, that is ``as_of``, too: logs
    are written when the day is over.

    Raises:
      ValueError: a moment cannot be read, or nothing says what ``as_of`` is.
    """
    found = relative_moments(values)
    given = values.get("as_of")
    if not found and given is None:
        return dict(values)
    data = values.get("data")
    days = Days.of(data if isinstance(data, Mapping) else {})
    if given is None:
        path, text = next(iter(found.items()))
        raise ValueError(
            f"{'.'.join(path)}: '{text}' counts from as_of, and nothing says which moment that is;"
            " give --as-of, or a dataset that was made by this config (--data)"
        )
    as_of = days.moment(given)
    changed = {**values, "as_of": as_of.isoformat()}
    for path, text in found.items():
        _put(changed, path, days.counted(as_of, ".".join(path), text))
    if found and isinstance(data, Mapping) and data.get("as_of") is None:
        _put(changed, ("data", "as_of"), as_of)
    return changed


class Days:
    """The days of some logs.

    Args:
      time_zone: whose days they are (``data.time_zone``).
      starts: local hour at which each begins (``data.day_starts``).
    """

    def __init__(self, time_zone: str = "UTC", starts: int = 0) -> None:
        self._zone, self._starts = parse_time_zone(time_zone), starts

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Days":
        """Those of a config's section ``data``; of UTC where it says something that the section's
        own checks refuse.
        """
        zone, starts = data.get("time_zone", "UTC"), data.get("day_starts", 0)
        try:
            return cls(str(zone), starts if type(starts) is int and 0 <= starts < 24 else 0)
        except ValueError:
            return cls()

    def start(self, moment: datetime, days: int = 0) -> datetime:
        """When the day began that a moment is in, or one so many days later; UTC."""
        local = moment.astimezone(self._zone) - timedelta(hours=self._starts)
        return self._begin(local.date() + timedelta(days=days))

    def name(self, moment: datetime) -> str:
        """The date of the day that a moment is in, ``2024-01-31``."""
        local = moment.astimezone(self._zone) - timedelta(hours=self._starts)
        return local.date().isoformat()

    def moment(self, given: Any) -> datetime:
        """What ``as_of`` says, in UTC; a date alone is the beginning of that day. Raises
        ``ValueError``.
        """
        try:
            if isinstance(given, str) and _DATE.fullmatch(given.strip()):
                return self._begin(date.fromisoformat(given.strip()))
            return _MOMENT.validate_python(given)
        except ValueError:  # pydantic's is one
            raise ValueError(
                f"as_of: expected a date, or a moment such as 2024-01-02T03:00:00Z, received"
                f" {str(given)!r}"
            ) from None

    def counted(self, as_of: datetime, where: str, text: str) -> datetime:
        """The moment that a text counts from another. Raises ``ValueError``, which says where."""
        match = _FORM.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{where}: expected {_EXPECTED}, received '{text}'")
        if match[1] is None:
            return as_of
        count = int(match[2]) * (-1 if match[1] == "-" else 1)
        try:
            if match[3] == "h":
                return as_of + timedelta(hours=count)
            local = as_of.astimezone(self._zone).replace(tzinfo=None) + timedelta(days=count)
            return local.replace(tzinfo=self._zone).astimezone(UTC)
        except OverflowError:
            raise ValueError(f"{where}: there is no such moment: '{text}'") from None

    def _begin(self, day: date) -> datetime:
        local = datetime.combine(day, time(self._starts), self._zone)
        return local.astimezone(UTC)


def _moments(values: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every place of a config that may count from ``as_of`` and holds text."""
    splits, data = values.get("splits"), values.get("data")
    for name, split in splits.items() if isinstance(splits, Mapping) else ():
        for end in ("start", "end") if isinstance(split, Mapping) else ():
            if isinstance(split.get(end), str):
                yield ("splits", str(name), end), split[end].strip()
    if isinstance(data, Mapping) and isinstance(data.get("as_of"), str):
        yield ("data", "as_of"), data["as_of"].strip()


def _put(values: dict[str, Any], path: tuple[str, ...], moment: datetime) -> None:
    """Sets a value in copies of the mappings on the way to it: YAML's aliases share one."""
    for key in path[:-1]:
        values[key] = dict(values[key])
        values = values[key]
    values[path[-1]] = moment.isoformat()
