"""Local time inside the graph: the offsets of a time zone as a table of its changes."""

from datetime import UTC, datetime, timedelta
from functools import cache

from configs.section import parse_time_zone
from configs.tensorflow_import import tf
from configs.values import FIRST_SECOND, LAST_SECOND

_FIRST_YEAR, _LAST_YEAR = 1970, 2100
_DAY = 86_400


def known(seconds: tf.Tensor) -> tf.Tensor:
    """Whether moments are there: logs hold none outside 1990 to 2100, so milliseconds in a request
    are missing, and not another moment.
    """
    return tf.logical_and(seconds >= FIRST_SECOND, seconds <= LAST_SECOND)


def day_and_hour(seconds: tf.Tensor, time_zone: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Local day since 1970-01-01 and local hour 0..23 of moments given in seconds since 1970 UTC;
    int64, any shape.

    Moments outside 1970..2100 are read as the nearest end of that range.
    """
    changes, offsets = _offset_changes(time_zone)
    seconds = tf.clip_by_value(seconds, 0, int(datetime(_LAST_YEAR, 1, 1, tzinfo=UTC).timestamp()))
    if len(offsets) == 1:
        local = seconds + offsets[0]
    else:
        which = tf.searchsorted(
            tf.constant(changes, tf.int64), tf.reshape(seconds, [-1]), side="right"
        )
        local = seconds + tf.reshape(
            tf.gather(tf.constant(offsets, tf.int64), which), tf.shape(seconds)
        )
    return local // _DAY, local % _DAY // 3600


@cache
def _offset_changes(time_zone: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Moments at which the zone's offset changes, and the offsets in seconds: before the first
    change, after it, ...
    """
    zone = parse_time_zone(time_zone)

    def offset(second: int) -> int:
        local = datetime.fromtimestamp(second, UTC).astimezone(zone).utcoffset()
        return int((local or timedelta()).total_seconds())

    start = int(datetime(_FIRST_YEAR, 1, 1, tzinfo=UTC).timestamp())
    end = int(datetime(_LAST_YEAR, 1, 1, tzinfo=UTC).timestamp())
    changes: list[int] = []
    offsets = [offset(start)]
    for day in range(start, end, 7 * _DAY):  # no zone in use changes twice in a week
        low, high = day, min(day + 7 * _DAY, end)
        if offset(high) == offsets[-1]:
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if offset(middle) == offsets[-1] else (low, middle)
        changes.append(high)
        offsets.append(offset(high))
    return tuple(changes), tuple(offsets)
