"""Cuts the time that logs cover into the splits of an experiment."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from configs import InputError

_DAY = 86_400
_HOUR = 3_600
_FEWEST_DAYS = 5
_SHARES = (0.55, 0.8, 0.9)
"""Of the rows, where fine-tuning, validation and test begin in logs of few days (our choice)."""


class Windows(NamedTuple):
    """The splits, by the moment that each begins at, and where the last ends.

    Attributes:
      begins: of pretrain, finetune, validation and test.
      end: of test.
      rows: of each.
    """

    begins: tuple[datetime, datetime, datetime, datetime]
    end: datetime
    rows: tuple[int, ...]


def cut(moments: npt.NDArray[np.int64]) -> Windows:
    """Whole days, which begin at the hour of the first row, where there are five: one for
    validation, a seventh for the test, a quarter for fine-tuning, the rest for pre-training (our
    choice). In logs of fewer days, shares of the rows.

    Args:
      moments: of all rows, seconds since 1970.

    Raises:
      InputError: the rows do not cover enough time to be cut into four.
    """
    if not moments.size:
        raise InputError("--input: no row has a moment")
    start, last = int(moments.min()) // _HOUR * _HOUR, int(moments.max())
    days = -(-(last + 1 - start) // _DAY)
    if days >= _FEWEST_DAYS:
        tested = max(1, round(days / 7))
        tuned = max(1, round(days / 4))
        borders = [
            start + _DAY * part for part in (0, days - tested - 1 - tuned, days - tested - 1)
        ]
        borders += [start + _DAY * (days - tested), start + _DAY * days]
    else:
        inner = np.quantile(moments, _SHARES, method="inverted_cdf").tolist()
        borders = [start, *(int(moment) for moment in inner), last + 1]
    rows = np.histogram(moments, borders)[0] if len(set(borders)) == 5 else np.zeros(4, int)
    if not rows.all():
        raise InputError(
            "--input: the rows cannot be cut by time into pre-training, fine-tuning, validation and"
            f" test; they lie between {_at(start)} and {_at(last)}, and too many at one moment"
        )
    first, second, third, fourth, end = map(_at, borders)
    return Windows((first, second, third, fourth), end, tuple(rows.tolist()))


def _at(seconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
