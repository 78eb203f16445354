"""Vectors of another model as rows of a backbone's tables."""

from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from configs import Experiment, InputError
from configs.features.ids import Pretrained
from configs.tensorflow_import import tf
from preprocessing import filesystem
from preprocessing.features.fitted import Fitted
from preprocessing.validation.coercion import coerce
from preprocessing.validation.scalar_coercion import Coerced
from trainer.backbone.feature_vectors import table_name

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Filled:
    """What became of one feature's vectors.

    Attributes:
      feature: its name.
      used: vectors that are of an id.
      ids: of the vocabulary.
      unused: vectors of values outside the vocabulary.
    """

    feature: str
    used: int
    ids: int
    unused: int

    @property
    def words(self) -> str:
        """A line for people."""
        without = self.ids - self.used
        return (
            f"pretrained vectors of {self.feature}: {self.used:,} of {self.ids:,} ids have one;"
            f" {without:,} start from their mean, as what is outside the vocabulary does;"
            f" {self.unused:,} vectors are of no id"
        )


def fill_tables(model: keras.Model, experiment: Experiment, fitted: Fitted) -> list[Filled]:
    """Writes the vectors that the config names into a backbone's tables.

    Args:
      model: of ``build_backbone``; changed in place.
      experiment: names the files.
      fitted: says which id each value has.

    Raises:
      InputError: no such file or column, a vector of another width or with what is no number, an id
        twice, or no vector of any id.
    """
    found = []
    for name, settings in experiment.features.items():
        wanted: Pretrained | None = getattr(settings, "pretrained", None)
        if wanted is None:
            continue
        where = f"features.{name}.pretrained"
        layer = model.get_layer(table_name(name))
        first = settings.shared_ids
        row_of = {value: row for row, value in enumerate(fitted.vocabularies[name], first)}
        rows, vectors, unused = _read(wanted, row_of, layer.dimension, where)
        if not len(rows):
            raise InputError(f"{where}.path: none of its ids is in the vocabulary of '{name}'")
        table = np.repeat(vectors.mean(axis=0, keepdims=True), layer.rows, axis=0)
        table[rows] = vectors
        layer.table.value.assign(tf.constant(table, tf.float32))
        found.append(Filled(name, len(rows), len(row_of), unused))
    return found


def _read(
    wanted: Pretrained, row_of: dict[str, int], width: int, where: str
) -> tuple[npt.NDArray[np.int64], Floats, int]:
    """The rows that have a vector, their vectors ``[K, width]``, and how many others there are."""
    rows: list[int] = []
    vectors: list[Floats] = []
    seen: set[str] = set()
    unused = 0
    for path, ids, lists in _tables(wanted, where):
        for value, vector in zip(ids, lists, strict=True):
            problem = _problem(value, vector, width, seen)
            if problem:
                raise InputError(f"{where}: {path}: id {value!r}: {problem}")
            seen.add(str(value))
            row = row_of.get(str(value))
            unused += row is None
            if row is not None:
                rows.append(row)
                vectors.append(np.array(vector, np.float32))
    stacked = np.stack(vectors) if vectors else np.empty((0, width), np.float32)
    return np.array(rows, np.int64), stacked, unused


def _problem(
    value: str | None, vector: list[float | None], width: int, seen: set[str]
) -> str | None:
    if value is None:
        return "missing"
    if value in seen:
        return "stands twice; expected one vector an id"
    if not vector:
        return "has no vector"
    if len(vector) != width:
        return f"expected {width} numbers ('dimension'), received {len(vector)}"
    return "a number is missing" if None in vector else None


def _tables(
    wanted: Pretrained, where: str
) -> Iterator[tuple[str, list[str | None], list[list[float | None]]]]:
    try:
        paths = filesystem.find(wanted.path)
    except OSError as error:
        raise InputError(f"{where}.path: {error}") from None
    if not paths:
        raise InputError(f"{where}.path: no file matches '{wanted.path}'")
    for path in paths:
        try:
            with filesystem.open_raw(path) as raw, pq.ParquetFile(raw) as file:
                missing = {wanted.id, wanted.vector} - set(file.schema_arrow.names)
                if missing:
                    raise InputError(f"{where}: {path}: has no column '{min(missing)}'")
                first = 0
                for batch in file.iter_batches(columns=[wanted.id, wanted.vector]):
                    ids = coerce(batch.column(wanted.id), "string")
                    lists = coerce(batch.column(wanted.vector), "numbers")
                    for column, read in ((wanted.id, ids), (wanted.vector, lists)):
                        _check(read, f"{where}: {path}: column '{column}'", first)
                    first += batch.num_rows
                    yield path, ids.values.to_pylist(), lists.values.to_pylist()
        except (pa.ArrowException, OSError) as error:
            said = str(error).splitlines()[0]
            raise InputError(f"{where}: {path}: not a Parquet file, or damaged: {said}") from None


def _check(read: Coerced, where: str, first: int) -> None:
    """Raises ``InputError`` for the first value that is none; its batch begins at row ``first``."""
    for rule, rows in read.problems:
        if rows.any():
            raise InputError(f"{where}: row {first + int(rows.argmax())}: {rule}")
