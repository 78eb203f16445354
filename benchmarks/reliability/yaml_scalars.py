"""Random YAML scalars in a config: a text stands as it was written, YAML 1.1's own readings
(``010``, ``12:30``, ``20240102``, ``yes``) included, or it is refused in one line.
"""

import json
import math
import re
from collections import Counter

from hypothesis import strategies as st

from benchmarks.reliability.read_values import draws
from benchmarks.reliability.small_job import CONFIG
from configs import ConfigError, load_experiment
from configs.values import text_of
from preprocessing.beam.progress import say
from tests.raw_values import TEXTS

_WORDS = """
010 12:30 20240102 2024-01-02 2024-01-02T03:04:05Z 190:20:30 0o17 0x1F 0b1 1_000 = <<
yes no YES No on off Off y n Y N true True TRUE false null Null ~ .inf -.Inf .nan
1e3 1e-4 1E5 .5 5. +7 -0 -0.0 7 7.0 007 1.10 9007199254740993 18446744073709551616 1e400
"""
_NAMED = st.sampled_from(_WORDS.split())
_PLAIN = st.from_regex(r"[A-Za-z0-9_.+:-]{1,12}", fullmatch=True)
_ONE_CASE = ("true", "false", "TRUE", "FALSE")
_QUOTED = TEXTS.map(json.dumps)


def measure(count: int, seed: int) -> Counter[str]:
    """Puts so many scalars where a config takes a topic's value."""
    found: Counter[str] = Counter()
    for scalar in draws(st.one_of(_NAMED, _PLAIN, _QUOTED), count, seed):
        found["yaml_scalars"] += 1
        expected = _expected(scalar)
        try:
            received = _received(scalar)
        except ConfigError as error:
            received = None
            found["yaml_scalars_refused"] += 1
            if "\n" in str(error):
                found["other_readings"] += 1
                say(f"a scalar is refused in several lines: {scalar!r}: {error}")
        except Exception as error:  # what no config may end with
            found["tracebacks"] += 1
            say(f"tracebacks: {scalar!r}: {type(error).__name__}: {error}"[:400])
            continue
        if received is not None and received != expected:
            found["other_readings"] += 1
            say(f"a scalar is read otherwise: {scalar!r}: {received!r}, expected {expected!r}")
    return found


def _received(scalar: str) -> str:
    """As a topic of an experiment has it."""
    topic = f"topics.scene={{column: scene, values: [{scalar}, home]}}"
    value = load_experiment(CONFIG, [topic, "cross_topics=[]"]).topics["scene"].values[0]
    return str(value)


def _expected(scalar: str) -> str | None:
    """As a log has the same value: whole numbers are their digits, and text is itself. None for
    what is no value.
    """
    if scalar.startswith('"'):
        return str(json.loads(scalar))
    if re.fullmatch(r"[-+]?(0|[1-9]\d*)", scalar):
        return str(int(scalar))
    if re.fullmatch(r"[-+]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][-+]?\d+)?", scalar):
        return text_of(float(scalar)) if math.isfinite(float(scalar)) else None
    if scalar.lower() in ("true", "false") and (scalar.istitle() or scalar in _ONE_CASE):
        return scalar.lower()
    return scalar
