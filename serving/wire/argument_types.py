"""How the commands of this package read their flags."""

import argparse
import math
from collections.abc import Callable


def whole_number(least: int, most: int = 2**31 - 1) -> Callable[[str], int]:
    """An argparse type: a whole number from ``least`` to ``most``."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(
                f"must be a whole number from {least} to {most}, received {text}"
            )
        return number

    return parse


def seconds(text: str) -> float:
    """An argparse type: a number of seconds, at least 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds, 0 or more, received {text}")
    return number


def with_dashes(word: str) -> str:
    """``--model_name=a_b`` -> ``--model-name=a_b``: TensorFlow Serving's spelling of a flag to
    ours; other words stay.
    """
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value if flag.startswith("--") else word
