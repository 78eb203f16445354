"""Kernels of several domains as one file."""

import io
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from configs import InputError
from configs.files import write_unsynced
from trainer.kernels.shape import KernelWeights


def write_kernels(path: Path, kernels: Mapping[str, KernelWeights]) -> None:
    """Writes kernels, in order, as arrays ``NUMBER/NAME``."""
    arrays = {
        f"{number}/{name}": values
        for number, kernel in enumerate(kernels.values())
        for name, values in kernel.items()
    }
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write_unsynced(path, buffer.getvalue())


def read_kernels(path: Path, domains: Iterable[str]) -> dict[str, KernelWeights]:
    """The kernels that ``write_kernels`` wrote for these domains, in their order. Raises
    ``InputError`` where the file holds others.
    """
    domains = list(domains)
    found: dict[str, KernelWeights] = {name: {} for name in domains}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for entry in arrays.files:
                number, _, name = entry.partition("/")
                found[domains[int(number)]][name] = arrays[entry]
    except (OSError, ValueError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not the kernels of {len(domains)} domains: {error}") from None
    return found
