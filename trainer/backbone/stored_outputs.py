"""What the frozen backbone made of a split, on disk: written once, read by any number of processes
that map its taps into memory.
"""

from pathlib import Path

import numpy as np

from configs import InputError
from trainer.backbone.frozen_pass import BackboneOutputs

_LOGITS, _TAPS, _MEMORY, _COLUMNS = "logits.npy", "taps.npy", "memory.npy", "columns.npz"


def write_outputs(folder: Path, outputs: BackboneOutputs) -> None:
    """Writes the rows of a split into a folder that is published afterwards, as they are before
    anything is standardised.
    """
    folder.mkdir()
    np.save(folder / _LOGITS, outputs.logits)
    np.save(folder / _TAPS, outputs.taps)
    if outputs.memory is not None:
        np.save(folder / _MEMORY, outputs.memory)
    np.savez(folder / _COLUMNS, **outputs.columns)  # type: ignore[arg-type]


def read_outputs(folder: Path) -> BackboneOutputs:
    """The rows that ``write_outputs`` wrote; taps, logits and memory are read from the disk as they
    are needed. Raises ``InputError`` where a file is missing or none of these.
    """
    memory = folder / _MEMORY
    try:
        with np.load(folder / _COLUMNS, allow_pickle=False) as columns:
            return BackboneOutputs(
                np.load(folder / _LOGITS, mmap_mode="r", allow_pickle=False),
                np.load(folder / _TAPS, mmap_mode="r", allow_pickle=False),
                {name: columns[name] for name in columns.files},
                np.load(memory, mmap_mode="r", allow_pickle=False) if memory.exists() else None,
            )
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{folder}: no stored rows: {error}") from None
