"""The step that scores: a batch of raw rows -> a Parquet file of scores.

Not Beam's ``RunInference``: its handler for TensorFlow loads a model by Keras and
stacks elements, one a row, into one array without names, while a batch here is whole columns for
named inputs, and what runs it is the session that the server runs, so that scores are the server's.
"""

import io
from collections import Counter
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.utils.shared import Shared

from configs import InputError
from configs.tensorflow_import import tf
from preprocessing import filesystem
from preprocessing.beam.dofns import count_rejected, report, write_rejected
from preprocessing.beam.pass_summary import Tally
from preprocessing.logs.readers import RawBatch
from preprocessing.logs.schema import LogTable
from preprocessing.validation.coercion import carrier_of, coerce
from preprocessing.validation.row_checks import CheckedBatch, check_columns
from serving.score.archive_model import ArchiveModel
from serving.score.feeds import feed_of, repeated_text
from serving.score.request import Request
from serving.server.servable import Servable
from serving.wire.signatures import DEFAULT_SIGNATURE, DOMAIN, SERVED_DOMAIN
from serving.wire.tensor_protos import Array

SCORES = "scores"
"""The folder of the files of scores, and what ``Tally`` counts them under."""


class ScoreBatches(beam.DoFn):
    """``RawBatch`` -> a file of scores, one of rejected rows, and the ``Tally`` that lists them.

    Args:
      model: that scores; loaded once a process.
      request: what is asked.
      folder: to write into.
    """

    def __init__(self, model: ArchiveModel, request: Request, folder: str) -> None:
        self._model, self._request, self._folder = model, request, folder
        self._table: LogTable = request.table(model)
        self._shared = Shared()
        self._servable: Any = None

    def setup(self) -> None:
        """Loads the model, where no other step of this process has."""
        self._servable = self._shared.acquire(self._model.load, tag=self._model.path)

    def process(self, raw: RawBatch) -> Iterator[Tally]:
        """Scores one batch."""
        checked, kept = keep_columns(check_columns(raw, self._table), self._table)
        tally = count_rejected(checked)
        write_rejected(checked, self._folder, tally)
        if rows := checked.rows.num_rows:
            scores = score(self._servable, checked.rows, self._request)
            path = f"{SCORES}/{raw.key}.parquet"
            content = _parquet({**kept, **scores})
            sha256 = filesystem.write(filesystem.join(self._folder, path), content)
            tally.files[SCORES] = [(path, rows, sha256)]
            tally.splits[SCORES] = rows
            if SERVED_DOMAIN in scores:
                tally.domains[SCORES] = _rows_by_value(scores[SERVED_DOMAIN])
        report(tally)
        yield tally


def keep_columns(
    checked: CheckedBatch, table: LogTable
) -> tuple[CheckedBatch, dict[str, pa.Array]]:
    """The columns that are carried, of the sound rows. One of a Parquet file keeps its type; one of
    CSV or JSON lines is text, and a row whose value is none is rejected.
    """
    raw, texts = checked.raw, {}
    if raw.source.format != "parquet":
        carrier = carrier_of(raw.source.format, table.null_values)
        for name in table.carried:
            texts[name], problems = coerce(raw.columns[name], "string", carrier)
            for rule, mask in problems:
                checked = checked.without(np.flatnonzero(mask), f"{name}: {rule}")
    if len(checked.index) == len(raw.rows):
        return checked, {name: texts.get(name, raw.columns[name]) for name in table.carried}
    index = pa.array(checked.index)
    kept = {name: texts.get(name, raw.columns[name]).take(index) for name in table.carried}
    return checked, kept


def score(servable: Servable, rows: pa.RecordBatch, request: Request) -> dict[str, pa.Array]:
    """Every output of the model for checked rows, in the order of the names.

    Args:
      servable: of the model.
      rows: in canonical form.
      request: what is asked of them, and how many are run at once.

    Raises:
      InputError: the graph refuses the rows, or does not answer each.
    """
    signature = servable.signatures[DEFAULT_SIGNATURE]
    aliases, found = sorted(signature.outputs), []
    for start in range(0, rows.num_rows, request.batch_rows):
        part = rows.slice(start, request.batch_rows)
        feeds = [
            _domains(part, request, info) if name == DOMAIN else feed_of(part.column(name), info)
            for name, info in sorted(signature.inputs.items())
        ]
        try:
            answers = servable.run(DEFAULT_SIGNATURE, aliases, feeds)
        except tf.errors.OpError as error:
            line = str(error.message).partition("\n")[0]
            raise InputError(f"the model refuses {part.num_rows} rows: {line}") from None
        if {len(answer) for answer in answers} != {part.num_rows}:
            raise InputError(f"the model does not answer each of {part.num_rows} rows")
        found.append(answers)
    return {
        alias: _column(np.concatenate(parts))
        for alias, parts in zip(aliases, zip(*found, strict=True), strict=True)
    }


def _domains(rows: pa.RecordBatch, request: Request, info: Any) -> Array:
    """What rows ask for: their own domain, else that of all."""
    assert request.domain is not None  # noqa: S101 - the model takes one
    if request.domain_column is None:
        return repeated_text(request.domain, rows.num_rows)
    return feed_of(rows.column(request.domain_column).fill_null(request.domain), info)


def _column(values: Array) -> pa.Array:
    if values.dtype == np.object_:
        return pa.array(values, pa.binary()).cast(pa.string())
    return pa.array(values)


def _rows_by_value(texts: pa.Array) -> dict[str, Counter[str]]:
    counted = pc.value_counts(texts)
    values, counts = counted.field("values").to_pylist(), counted.field("counts").to_pylist()
    return {value: Counter(rows=count) for value, count in zip(values, counts, strict=True)}


def _parquet(columns: dict[str, pa.Array]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()
