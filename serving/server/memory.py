"""Gives memory back to the system when a version has gone."""

import ctypes
import gc
from collections.abc import Callable

_Trim = Callable[[int], int]


def keep_out_of_collections() -> None:
    """Lets later collections pass over everything that is there now: TensorFlow's modules alone
    would make each a few hundred milliseconds long, during which no request is answered.
    """
    gc.collect()
    gc.freeze()


def free_memory() -> None:
    """Frees what only its own cycles keep (a graph and its operations know each other), and lets
    the C library return what is free to the system.

    Without it each change of versions would keep a few MiB.
    """
    gc.collect()
    trim: _Trim | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # glibc
        trim(0)
