"""The expression by which a page is ranked from what is predicted for its rows."""

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from configs.prediction.expressions import names_in

SCORE = "score"
"""The output of a model that a page is ranked by."""


def check_score(text: str, names: Collection[str], where: str) -> None:
    """Checks an expression over these names.

    Args:
      text: the expression.
      names: of tasks.
      where: it stands; the message begins with it.

    Raises:
      ValueError: it is none; says what was expected.
    """
    try:
        for name in names_in(text, "task"):
            if name not in names:
                raise ValueError(f"'{name}' is no task; expected one of {', '.join(names)}")
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def largest_difference(received: npt.ArrayLike, expected: npt.ArrayLike) -> float:
    """By how much two sets of answers differ at most; of values beyond 1 as a share of them, since
    amounts may be large. 0 where there are none.
    """
    wanted = np.asarray(expected, np.float64)
    shares = np.abs(np.asarray(received, np.float64) - wanted) / np.maximum(1.0, np.abs(wanted))
    return float(shares.max(initial=0.0))
