"""The windows of a replay: what each arm learns from once a day is over, and the day after it, on
which all are judged.

Rows of a day that judges choose nothing: the last hours of the newest day say when a backbone
stops, and are learned one day later.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

DAY = timedelta(days=1)
HELD_OUT = timedelta(hours=3)
"""The end of the newest day, which no backbone learns that day (our choice): it validates on all
but the first hour, which is a fine-tuning window that nothing is tuned on.
"""
_HOUR = timedelta(hours=1)
WINDOW = 4
"""Days that kernels learn from at most, as ``configs/globo.yaml`` has it."""
NEXT = "test"
"""Split with the day after, of every dataset."""

Windows = dict[str, tuple[datetime, datetime]]


@dataclass(frozen=True)
class Replay:
    """The days of a replay.

    Attributes:
      start: when the log begins.
      first: days that the first backbone learns from.
      days: later days, each of which is learned once it is over.
    """

    start: datetime
    first: int
    days: int

    def learned(self) -> Iterator[int]:
        """Days of the log, from 1, after each of which all arms learn."""
        yield from range(self.first + 1, self.first + self.days + 1)

    def begins(self, day: int) -> datetime:
        """When a day of the log begins."""
        return self.start + (day - 1) * DAY

    def ends(self, day: int) -> datetime:
        """When it ends."""
        return self.start + day * DAY

    def scratch(self, day: int) -> Windows:
        """A backbone of all days until the end of one."""
        return self._backbone(self.start, day)

    def onward(self, day: int) -> Windows:
        """A backbone that goes on from the one of the day before."""
        return self._backbone(self.ends(day - 1) - HELD_OUT, day)

    def kernels(self, day: int) -> Windows | None:
        """Kernels on the first backbone, judged by the newest day; None on the first day, when
        there is no other that the backbone has not learned from.
        """
        learned = max(self.first, day - 1 - WINDOW)
        if learned == day - 1:
            return None
        return {
            "pretrain": (self.start, self.ends(self.first) - HELD_OUT),
            "finetune": (self.ends(learned), self.ends(day - 1)),
            "validation": (self.ends(day - 1), self.ends(day)),
            NEXT: (self.ends(day), self.ends(day + 1)),
        }

    def frozen(self, day: int) -> Windows:
        """The first backbone alone, once a day is over."""
        held = self.ends(self.first) - HELD_OUT
        return {
            "pretrain": (self.start, held),
            "finetune": (held, held + _HOUR),
            "validation": (self.ends(day - 1), self.ends(day)),
            NEXT: (self.ends(day), self.ends(day + 1)),
        }

    def _backbone(self, start: datetime, day: int) -> Windows:
        end = self.ends(day)
        held = end - HELD_OUT
        return {
            "pretrain": (start, held),
            "finetune": (held, held + _HOUR),
            "validation": (held + _HOUR, end),
            NEXT: (end, end + DAY),
        }

    def read(self, windows: Windows, *names: str) -> range:
        """The days of the log, from 1, that these of the windows reach into."""
        first = min(windows[name][0] for name in names) - self.start
        end = max(windows[name][1] for name in names) - self.start
        return range(1 + first // DAY, 1 - (-end // DAY))


def settings(windows: Windows) -> str:
    """Windows as an override of a config."""
    shown = (
        f"{name}: {{start: '{start.isoformat()}', end: '{end.isoformat()}'}}"
        for name, (start, end) in windows.items()
    )
    return f"splits={{{', '.join(shown)}}}"
