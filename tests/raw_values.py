"""Raw values as logs and requests hold them, sound and otherwise: what the tests share that hold
every reader to ``configs.values``.
"""

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from configs.values import READERS, UnreadableValueError

KINDS = ("string", "strings", "number", "numbers", "label", "weight", "timestamp")

_BLANKS = st.sampled_from(["", "", " ", "\t", "\u00a0", "\n"])
_NUMBERS = """
0 1 -0 +3 007 1.5 .5 5. 1e3 1E+5 -2.5e-3 1e39 1e400 1e-400 1_000 0x10 1,5 ١٢ ½ nan -NaN inf
+Infinity true FALSE True yes 1|2 --1 e5 1d 20240101 1704067200 1704067200.9 4102444800 4102444801
631151999.5 1704067200000 9007199254740993
"""
_NUMBERS_IN_TEXT = st.sampled_from(_NUMBERS.split()) | st.just("9" * 400)
MOMENTS = st.datetimes(datetime(1989, 12, 30), datetime(2100, 1, 3)) | st.datetimes()
ZONES = st.sampled_from([None, UTC, timezone(timedelta(hours=5, minutes=30))])
_DATES_IN_TEXT = (
    st.tuples(MOMENTS, ZONES, st.sampled_from("T "), st.sampled_from(["auto", "seconds", "hours"]))
    .map(lambda drawn: drawn[0].replace(tzinfo=drawn[1]).isoformat(drawn[2], drawn[3]))
    .map(lambda text: text.replace("+00:00", "Z"))
    | MOMENTS.map(lambda moment: moment.date().isoformat())
    | st.sampled_from(["2024-01-01T00:00:00.123456789", "2024-02-30", "2024-01-01T24:00:00"])
    | st.sampled_from(["2024-W01-1", "2024-01-01T00:00:00+0530", "2024-01", "soon", "12:30"])
)
TEXTS = (
    st.builds(
        lambda before, text, after: before + text + after,
        _BLANKS,
        _NUMBERS_IN_TEXT | _DATES_IN_TEXT,
        _BLANKS,
    )
    | st.floats().map(repr)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
    | st.sampled_from(["", "é" * 2048, "é" * 2049, "x" * 4096, "x" * 4097, "a|b||c", "[a", "|"])
    | st.sampled_from(["[]", '["a", "b|c", null, ""]', "[1, 2.5]", '["a", 1]', "[true, 1.5]"])
    | st.sampled_from(["[[]]", "[{}]", f"[{2**70}, 1.5]", "[NaN]", "[1.5]", ' ["a"]', "[true]"])
)
WHOLE = (
    st.integers(-3, 3)
    | st.integers(631_151_990, 4_102_444_810)
    | st.sampled_from([2**53 - 1, 2**53, -(2**53), 2**53 + 1, 2**53 + 2, 2**63 - 1, -(2**63)])
)
HUGE = st.sampled_from([2**63, 2**64, -(2**70), 10**39, 10**400, -(10**400), 10**4095])
FRACTIONS = (
    st.floats()
    | st.floats(631_151_999, 4_102_444_802)
    | st.floats(-1e-4, 1e12)
    | st.sampled_from([0.0, -0.0, 1.0, 3.0, 0.1, 2.0**53, 1e15, 1e20, 1e300, 3.4028235e38, 3.41e38])
    | st.sampled_from([math.nan, math.inf, -math.inf, 1e-45, 1e-7, 1e10 + 0.5, 1_700_000_000.9])
)


def outcome(kind: str, value: object) -> Any:
    """What ``configs.values`` makes of a value, or the rule it breaks."""
    try:
        return READERS[kind](value)
    except UnreadableValueError as error:
        return error.rule
