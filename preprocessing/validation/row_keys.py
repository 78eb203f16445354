"""Computes fingerprints of validated columns, whatever their kind."""

import pyarrow as pa

from preprocessing.hashing import Int64s, fingerprint64
from preprocessing.validation.scalar_coercion import read_texts


def fingerprint_of(column: pa.Array) -> Int64s:
    """Fingerprints ``[N]`` of a canonical column of any scalar kind, through its text."""
    return fingerprint64(read_texts(column).values)
