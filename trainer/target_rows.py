"""Says by which columns of a dataset a target is learned and judged, and on which of its rows."""

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from configs.prediction.tasks import Target, Tasks

KNOWN = "known/"
"""What the names of the columns begin with that say whether a row carries a label yet."""

REQUEST = "row/request"


def defining_columns(target: Target) -> tuple[str, ...]:
    """Names of the columns that are all 1 on the rows where a target is defined, and of which one
    is 0 elsewhere; none where it is defined on all rows.
    """
    given = () if target.given is None else (f"label/{target.given}",)
    return (*given, *(f"{KNOWN}{label}" for label in target.awaited))


def loss_columns(tasks: Tasks) -> tuple[str, ...]:
    """Names of the columns that losses read."""
    requests = (REQUEST,) if tasks.learned_in_requests else ()
    return (
        *(f"label/{label}" for label in tasks.labels),
        *(f"{KNOWN}{label}" for label in tasks.matured_after),
        *requests,
        "row/weight",
    )


def is_known(
    target: Target, columns: Mapping[str, npt.NDArray[np.generic]], rows: int
) -> npt.NDArray[np.bool_]:
    """Of which of ``rows`` rows the label of a target, and of all that it waits on, is known."""
    return _all_set((f"{KNOWN}{label}" for label in target.awaited), columns, rows)


def is_defined(
    target: Target, columns: Mapping[str, npt.NDArray[np.generic]], rows: int
) -> npt.NDArray[np.bool_]:
    """Which of ``rows`` rows a target is defined on, by their columns."""
    return _all_set(defining_columns(target), columns, rows)


def _all_set(
    names: Iterable[str], columns: Mapping[str, npt.NDArray[np.generic]], rows: int
) -> npt.NDArray[np.bool_]:
    found = np.ones(rows, bool)
    for name in names:
        found &= columns[name].astype(bool)
    return found
