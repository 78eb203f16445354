"""Stable 64-bit fingerprints of strings, whole columns at a time.

Datasets hold requests, users and keys as fingerprints, and evaluation joins the true probabilities
on them, so the function never changes. It is a murmur-style hash of the UTF-8 bytes: eight bytes at
a time, finished by splitmix64. Collisions of n distinct strings are expected n^2 / 2^65 times:
about once in 37 million jobs for a million, once in 37 for a billion.
"""

import hashlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_WORD = np.uint64(0x9E3779B97F4A7C15)
_LENGTH = np.uint64(0xD6E8FEB86659FD93)

Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]


def fingerprint64(strings: pa.Array | pa.ChunkedArray) -> Int64s:
    """Fingerprints of a string column ``[N]``; null is 0, and a null never equals the empty
    string.
    """
    if isinstance(strings, pa.ChunkedArray):
        strings = strings.combine_chunks()
    if not pa.types.is_large_string(strings.type):
        strings = strings.cast(pa.large_string())
    if not len(strings):
        return np.empty(0, np.int64)
    _, offset_buffer, data_buffer = strings.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64)[
        strings.offset : strings.offset + len(strings) + 1
    ]
    starts, lengths = offsets[:-1], np.diff(offsets)
    used = (
        np.frombuffer(data_buffer, np.uint8, count=int(offsets[-1]))
        if data_buffer is not None
        else np.empty(0, np.uint8)
    )
    text = np.concatenate([used, np.zeros(8, np.uint8)])
    words = np.ndarray(
        len(text) - 7, "<u8", text.data, strides=(1,)
    )  # the eight bytes that begin at every position

    state = (lengths.astype(np.uint64) + np.uint64(1)) * _LENGTH
    for position in range(0, int(lengths.max()), 8):
        rest = lengths - position
        rows = np.flatnonzero(rest > 0)
        word = words[starts[rows] + position]
        unused_bits = (8 * np.clip(8 - rest[rows], 0, 7)).astype(np.uint64)
        word = word & (np.uint64(0xFFFFFFFFFFFFFFFF) >> unused_bits)
        state[rows] = _mix((state[rows] ^ word) * _WORD + _WORD)
    fingerprints = _mix(state).view(np.int64)
    if strings.null_count:
        fingerprints[strings.is_null().to_numpy(zero_copy_only=False)] = 0
    return fingerprints


def combine_fingerprints(columns: list[Int64s]) -> Int64s:
    """One fingerprint for each row of several columns ``[N]``; their order matters."""
    state = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        state = _mix(state * _WORD + column.view(np.uint64) + _LENGTH)
    return state.view(np.int64)


def permutation(size: int, seed: str) -> npt.NDArray[np.intp]:
    """A pseudo-random order of ``range(size)``: a function of the seed alone, on every machine
    and NumPy version.
    """
    return np.argsort(draws(size, seed), kind="stable")


def draws(size: int, seed: str) -> UInt64s:
    """Pseudo-random numbers ``[size]``: a function of the seed alone, on every machine and NumPy
    version.
    """
    start = np.uint64(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "little"))
    return _mix(start + np.arange(1, size + 1, dtype=np.uint64) * _WORD)


def _mix(state: UInt64s) -> UInt64s:
    """The finish of splitmix64: every input bit reaches every output bit."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
