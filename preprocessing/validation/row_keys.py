"""Computes fingerprints of what rows are told apart by."""

import pyarrow as pa

from configs import Experiment
from preprocessing.hashing import Int64s, combine_fingerprints, fingerprint64
from preprocessing.logs.readers import RawColumn
from preprocessing.logs.schema import Kind, raw_columns
from preprocessing.validation.coercion import coerce
from preprocessing.validation.row_checks import CheckedBatch, Rows
from preprocessing.validation.scalar_coercion import read_texts

_EXACTLY: dict[Kind, Kind] = {"number": "double", "timestamp": "microseconds"}
"""How a key is read that training reads rounded: float32, whole seconds."""


def fingerprint_of(column: pa.Array) -> Int64s:
    """Fingerprints ``[N]`` of a canonical column of any scalar kind, through its text."""
    return fingerprint64(read_texts(column).values)


def row_keys(checked: CheckedBatch, experiment: Experiment) -> Int64s:
    """Fingerprints ``[N]`` of ``data.row_key`` of the sound rows, at full precision: rows that are
    400 ms apart have different moments, and so have large numbers that float32 makes one.
    """
    columns = raw_columns(experiment)
    keys = []
    for name in experiment.data.row_key:
        column = checked.rows.column(name)
        if exact := _EXACTLY.get(columns[name].kind):
            column = coerce(_at(checked.raw.columns[name], checked.index), exact).values
        keys.append(fingerprint_of(column))
    return combine_fingerprints(keys)


def _at(column: RawColumn, rows: Rows) -> RawColumn:
    if isinstance(column, list):
        return [column[row] for row in rows.tolist()]
    return column.take(pa.array(rows))
