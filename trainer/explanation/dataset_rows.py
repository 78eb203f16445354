"""Takes rows of a split into memory with all that a model reads: whole users, or one request."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs import Experiment, InputError
from configs.random_streams import Purpose, random_stream
from configs.values import READERS, UnreadableValueError
from preprocessing.logs.schema import ARROW_TYPES, raw_columns
from preprocessing.validation.row_keys import fingerprint_of
from trainer.backbone.frozen_pass import BackboneOutputs
from trainer.backbone.stored_taps import split_columns
from trainer.data.dataset import Columns, Dataset
from trainer.data.progress_bar import with_progress
from trainer.evaluation.kernel_rows import KernelRows
from trainer.explanation.inputs import (
    FEATURE_PREFIX,
    InputRows,
    Parts,
    body_topics,
    memory_parts,
)
from trainer.registry.kernel_registry import common_memory
from trainer.target_rows import REQUEST

USER = "row/user"
_BATCH = 16_384

DrawnBy = Literal["users", "requests"] | None


class Sample(NamedTuple):
    """Which rows of a split are taken.

    Attributes:
      places: indices of the rows, ascending.
      drawn_by: what was drawn whole; None where all rows are taken.
    """

    places: npt.NDArray[np.intp]
    drawn_by: DrawnBy


def sample_rows(columns: Columns, most: int, seed: int) -> Sample:
    """Whole users, drawn by chance, of at most ``most`` rows together; whole requests where the
    first user that is drawn has more rows than that.

    Args:
      columns: ``row/user`` and ``row/request`` of all rows, ``[N]`` each.
      most: rows.
      seed: of the experiment.

    Raises:
      InputError: not even one request fits.
    """
    total = len(columns[USER])
    if total <= most:
        return Sample(np.arange(total), None)
    ways: tuple[tuple[DrawnBy, str], ...] = (("users", USER), ("requests", REQUEST))
    for drawn_by, column in ways:
        places = _whole(columns[column], most, random_stream(seed, Purpose.EXPLAINED_ROWS, column))
        if len(places):
            return Sample(places, drawn_by)
    raise InputError(f"--rows: {most} are fewer than a request has; give more")


def split_rows(
    source: KernelRows, split: str, choose: Callable[[Columns], npt.NDArray[np.intp]]
) -> InputRows:
    """Chosen rows of a split, in the order of its files.

    Args:
      source: the dataset behind the backbone, for the kernels that read the rows.
      split: its name.
      choose: gives their places, ascending, from the columns of all rows that are no features.
    """
    columns = split_columns(source.dataset, split, lambda name: not name.startswith(FEATURE_PREFIX))
    places = choose(columns)
    total = len(columns["row/weight"])
    nothing = np.empty((total, 0), np.float32)
    every = BackboneOutputs(nothing, nothing[:, :, np.newaxis], columns)
    remembered = source.remembering(split, every).memory
    parts = _features(source.dataset, split, places, total)
    kept = {name: values[places] for name, values in columns.items()}
    parts |= {name: kept[name] for name in body_topics(source.backbone)}
    memory = common_memory(source.kernels)
    if memory and remembered is not None:
        parts |= memory_parts(memory, remembered[places])
    return InputRows(parts, kept)


def request_places(experiment: Experiment, request: str, columns: Columns) -> npt.NDArray[np.intp]:
    """Indices of a request's rows; none where no row is of it.

    Args:
      experiment: names the column of requests.
      request: its id as the logs have it.
      columns: with ``row/request`` ``[N]``.

    Raises:
      InputError: it cannot be an id in these logs.
    """
    kind = raw_columns(experiment)[experiment.data.request].kind
    try:
        value = READERS[kind](request)
    except UnreadableValueError as error:
        raise InputError(f"--request {request}: {error}") from None
    wanted = fingerprint_of(pa.array([value], ARROW_TYPES[kind]))[0]
    return np.flatnonzero(columns[REQUEST] == wanted)


def _features(dataset: Dataset, split: str, places: npt.NDArray[np.intp], total: int) -> Parts:
    """Every feature of chosen rows."""
    names = ("row/weight",)

    def wanted(name: str) -> bool:
        return name.startswith(FEATURE_PREFIX) or name in names

    found: dict[str, list[npt.NDArray[Any]]] = {}
    start = 0
    batches = dataset.batches(split, _BATCH, wanted=wanted)
    for columns in with_progress(f"read {split}", total, batches):
        stop = start + len(columns["row/weight"])
        first, last = np.searchsorted(places, (start, stop))
        for name, values in columns.items():
            if name not in names:
                found.setdefault(name, []).append(values[places[first:last] - start])
        start = stop
    return {name: np.concatenate(pieces) for name, pieces in found.items()}


def _whole(
    groups: npt.NDArray[np.generic], most: int, generator: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Indices of the rows of groups that are drawn one by one until the next has too many."""
    _, group, counts = np.unique(groups, return_inverse=True, return_counts=True)
    order = generator.permutation(len(counts))
    fitting = int((np.cumsum(counts[order]) <= most).sum())
    return np.flatnonzero(np.isin(group, order[:fitting]))
