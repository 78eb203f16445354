"""Finds rows whose key an earlier row has. Fingerprints of the keys travel in files, and each
partition of them is searched by itself.
"""

import io
import uuid
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
from apache_beam.transforms.window import GlobalWindows

from configs import Experiment
from preprocessing import filesystem
from preprocessing.beam.pass_summary import Tally
from preprocessing.logs.readers import place_name
from preprocessing.validation.row_checks import CheckedBatch
from preprocessing.validation.row_keys import row_keys

# groups that duplicates are looked for in; one must fit in a worker's memory, a few times 20 bytes
# a row
KEY_PARTITIONS = 64


KEYS = np.dtype(
    [("key", "<i8"), ("file", "<i4"), ("batch", "<i4"), ("row", "<i4")]
)  # fingerprint, and the place of its row


_KEYS_IN_MEMORY = 1 << 18  # rows of a file of them; writing takes some hundred bytes each


Rows = npt.NDArray[np.intp]
Keys = npt.NDArray[np.void]


PartOfKeys = tuple[str, int, int]
"""A file of ``KEYS``, and the range in it that one partition has."""


class KeysOfRows(beam.DoFn):
    """``CheckedBatch`` -> (partition, where fingerprints of ``data.row_key`` are).

    They travel in files: a local runner would keep all it is given in memory.
    """

    def __init__(self, experiment: Experiment, folder: str) -> None:
        self._experiment = experiment
        self._folder = folder

    def start_bundle(self) -> None:
        """Begins a part."""
        self._waiting: list[Keys] = []

    def process(self, checked: CheckedBatch) -> Iterator[tuple[int, PartOfKeys]]:
        """Fingerprints one batch."""
        keys = np.empty(len(checked.index), KEYS)
        keys["key"] = row_keys(checked, self._experiment)
        keys["file"], keys["batch"], keys["row"] = (
            checked.raw.source.order,
            checked.raw.number,
            checked.index,
        )
        self._waiting.append(keys)
        if sum(map(len, self._waiting)) >= _KEYS_IN_MEMORY:
            yield from self._write()

    def finish_bundle(self) -> Iterator[Any]:
        """Writes what is left."""
        yield from map(GlobalWindows.windowed_value_at_end_of_window, self._write())

    def _write(self) -> Iterator[tuple[int, PartOfKeys]]:
        if not self._waiting:
            return
        keys = np.concatenate(self._waiting)
        self._waiting = []
        partitions = keys["key"].view(np.uint64) % np.uint64(KEY_PARTITIONS)
        order = np.argsort(partitions, kind="stable")
        bounds = np.searchsorted(partitions[order], np.arange(KEY_PARTITIONS + 1)).tolist()
        path = filesystem.join(
            self._folder, f"{uuid.uuid4().hex}.keys"
        )  # another name in another try
        filesystem.write(path, keys[order].tobytes())
        for partition, (start, stop) in enumerate(pairwise(bounds)):
            if start < stop:
                yield partition, (path, start, stop)


def later_duplicates(element: tuple[int, Iterable[PartOfKeys]]) -> Iterator[tuple[str, Rows]]:
    """One partition -> for every batch (``RawBatch.place``), the positions of rows whose key an
    earlier row has, by file, then row.
    """
    keys = np.concatenate([_read_keys(*part) for part in element[1]])
    in_order = np.sort(keys["key"])
    repeated = in_order[1:][in_order[1:] == in_order[:-1]]
    if not len(repeated):
        return
    keys = keys[np.isin(keys["key"], repeated)]
    keys = keys[np.lexsort((keys["row"], keys["batch"], keys["file"], keys["key"]))]
    later = keys[1:][keys["key"][1:] == keys["key"][:-1]]
    for file, batch in np.unique(later[["file", "batch"]]).tolist():
        yield (
            place_name(file, batch),
            later["row"][(later["file"] == file) & (later["batch"] == batch)].astype(np.intp),
        )


def _read_keys(path: str, start: int, stop: int) -> Keys:
    with filesystem.open_raw(path) as file:
        file.seek(start * KEYS.itemsize)
        return np.frombuffer(file.read((stop - start) * KEYS.itemsize), KEYS)


class WriteDuplicates(beam.DoFn):
    """(batch, positions) -> a file that the next pass reads, and a ``Tally`` that names the
    batch.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def process(self, element: tuple[str, Iterable[Rows]]) -> Iterator[Tally]:
        """Writes one batch's positions."""
        batch, positions = element
        buffer = io.BytesIO()
        np.save(buffer, np.sort(np.concatenate(list(positions))), allow_pickle=False)
        filesystem.write(duplicates_path(self._folder, batch), buffer.getvalue())
        yield Tally(duplicated={batch})


def duplicates_path(folder: str, batch: str) -> str:
    """Where the positions of a batch's duplicates are."""
    return filesystem.join(folder, f"{batch}.npy")
