"""The history of a job's kernels, ``<job>/history.jsonl``: who had which version served, when, and
from which run and data. Lines are added, and never changed.

A line is written right after what it tells of, by whoever holds the registry's lock. Where a writer
was killed between the two, or ``active.json`` was restored by hand, the next writer notes what it
finds (``found``). A line that cannot be read, such as one that a killed writer left half, is left
out.
"""

import getpass
import os
import socket
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from configs.errors import InputError
from configs.files import append_lines
from configs.section import Section, UtcDatetime

Action = Literal["activate", "deactivate", "rollback", "remove", "pin", "unpin", "found"]


class Event(Section):
    """What became of a domain.

    Attributes:
      moment: when, UTC.
      domain: exact name.
      action: ``activate``, ``deactivate``, ``rollback``, ``remove``, ``pin``, ``unpin``, or
        ``found``: somebody else has changed what is served, and has not written it down.
      version: that is served from then on; None where none is.
      before: that was served until then; None where none was.
      by: user and machine.
      reason: why, where fine-tuning decided; empty where a person did.
      run: of the version, or of the run that deactivated it, what tells runs of fine-tuning apart
        (``trainer.training.judging_users.run_key``); None where no run is known.
      windows: part -> first moment and end of the rows that the version learned from and was judged
        on; None where they are not known.
      data: folder of the dataset, where fine-tuning decided; None where a person did.
    """

    moment: UtcDatetime
    domain: str
    action: Action
    version: int | None = None
    before: int | None = None
    by: str
    reason: str = ""
    run: str | None = None
    windows: dict[str, tuple[str, str]] | None = None
    data: str | None = None


@dataclass(frozen=True)
class Origin:
    """The run that decides.

    Attributes:
      run: what tells it apart.
      data: folder of its dataset.
    """

    run: str
    data: str


class History:
    """The events of a job, oldest first."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def events(self, domain: str | None = None) -> list[Event]:
        """All events that can be read, or those of a domain. Raises ``InputError`` where the file
        cannot be opened.
        """
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise InputError(f"{self._path}: cannot be read: {error.strerror}") from None
        found = [event for line in lines if (event := _event(line))]
        return [event for event in found if domain in (None, event.domain)]

    def served(self) -> dict[str, int]:
        """Domain -> version that is served, as the events tell it."""
        found: dict[str, int] = {}
        for event in self.events():
            found.pop(event.domain, None)
            if event.version is not None:
                found[event.domain] = event.version
        return found

    def before(self, domain: str, version: int | None) -> list[int | None]:
        """What a domain was served by before what serves it now (None: nothing of its own), the
        last first. What was rolled back from is left out, since it is no way back.
        """
        stack: list[int | None] = []
        for event in self.events(domain):
            if event.action == "remove":
                stack = []
            elif stack and stack[-1] == event.version:
                continue
            elif event.action == "rollback":
                known = event.version in stack
                stack = stack[: len(stack) - stack[::-1].index(event.version)] if known else []
                stack += [] if known else [event.version]
            else:
                stack.append(event.version)
        if stack and stack[-1] == version:
            stack.pop()
        return [older for older in reversed(stack) if older != version]

    def add(self, events: Iterable[Event]) -> None:
        """Writes events down. What they tell of has happened: where the disk is full, that is said
        and nothing is raised.
        """
        lines = [event.model_dump_json(exclude_defaults=True) for event in events]
        try:
            if lines:
                append_lines(self._path, lines)
        except OSError as error:
            print(
                f"warning: {self._path}: what was changed could not be written down:"
                f" {error.strerror}",
                file=sys.stderr,
            )

    def note_found(self, active: Mapping[str, int]) -> None:
        """Notes where what is served is not what the events tell."""
        told = self.served()
        self.add(
            happened(domain, "found", active.get(domain), told.get(domain))
            for domain in sorted({*told, *active})
            if told.get(domain) != active.get(domain)
        )


def happened(
    domain: str,
    action: Action,
    version: int | None,
    before: int | None,
    *,
    reason: str = "",
    run: str | None = None,
    windows: dict[str, tuple[str, str]] | None = None,
    data: str | None = None,
) -> Event:
    """An event of this moment, by who runs this. Arguments are those of ``Event``."""
    return Event(
        moment=datetime.now(UTC).replace(microsecond=0),
        domain=domain,
        action=action,
        version=version,
        before=before,
        by=_who(),
        reason=reason,
        run=run,
        windows=windows,
        data=data,
    )


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container whose user has no name
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def _event(line: bytes) -> Event | None:
    try:
        return Event.model_validate_json(line)
    except ValidationError:
        return None


def render_history(events: Iterable[Event]) -> list[list[str]]:
    """Cells of a table: moment, domain, what happened, who, from which rows, why."""
    rows = [["moment", "domain", "event", "by", "learned from", "reason"]]
    for event in events:
        served = "nothing of its own" if event.version is None else f"version {event.version}"
        before = "nothing" if event.before is None else f"version {event.before}"
        said: str = event.action
        if event.version != event.before:
            said = f"{event.action}: {served}, before {before}"
        train = (event.windows or {}).get("train")
        rows.append(
            [
                f"{event.moment:%Y-%m-%d %H:%M:%S}Z",
                event.domain,
                said,
                event.by,
                " to ".join(moment[:16] for moment in train) if train else "",
                event.reason,
            ]
        )
    return rows
