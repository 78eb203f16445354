"""Gives the window that kernels train on: the frozen backbone's pass over it, or the out-of-sample
taps that its own training left behind.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from configs import Experiment, InputError
from configs.digests.listed_files import Listed, check_files, sha256_of
from configs.digests.sealed_json import read_sealed, write_sealed
from trainer.backbone.frozen_pass import BackboneOutputs, Chosen, run_frozen
from trainer.backbone.model import read_tap
from trainer.data.dataset import Columns, Dataset
from trainer.job import Job

STORED = ("logits", "tower", "representation", "input")
"""The heads that are stored: a kernel's tap is one of them, or several joined by ``+``."""

_BATCH = 16_384
_ABOUT = "window.json"
_ANEW = "restore the job, or train it anew in another --job-dir"

Files = dict[str, "np.memmap[Any, np.dtype[np.float32]]"]
"""Head -> memory-mapped float32 ``[rows, ...]``, in the order of the split's files."""


def taps_folder(job: Job) -> Path:
    """Where a backbone trained with ``pretrain.progressive`` keeps its taps."""
    return job.backbone / "taps"


def create_taps(folder: Path, model: keras.Model, rows: int) -> Files:
    """Makes the files of every stored head, to be filled in place. Their place on the disk is taken
    at once: where that is full, writing into the mapped memory would end the process.

    Raises:
      OSError: it is full.
    """
    files: Files = {}
    for name in STORED:
        path, shape = folder / f"{name}.npy", (rows, *model.output[name].shape[1:])
        files[name] = np.lib.format.open_memmap(path, "w+", np.float32, shape)
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return files


def describe_taps(
    folder: Path, backbone: str, dataset: Dataset, split: str, parts: list[dict[str, int]]
) -> None:
    """Writes down which rows the taps are of, which backbone left them, and what they are.

    Args:
      folder: of the files.
      backbone: fingerprint of the backbone at the end of its training.
      dataset: the rows' dataset.
      split: their split.
      parts: of every part ``first`` and ``last``, seconds since 1970 of its first and last row, and
        its number of ``rows``.
    """
    write_sealed(
        folder / _ABOUT,
        {
            "backbone": backbone,
            "split": split,
            "files": _files(dataset, split),
            "parts": parts,
            "taps": {name: sha256_of(folder / f"{name}.npy") for name in STORED},
        },
    )


def window_rows(
    job: Job,
    experiment: Experiment,
    backbone: keras.Model,
    dataset: Dataset,
    tap: str | None,
    title: str,
    keep: tuple[str, ...] = (),
    chosen: Chosen | None = None,
) -> BackboneOutputs:
    """The rows of ``finetune.split`` as kernels train on them, in the order of the dataset's files.

    Of a backbone trained with ``pretrain.progressive`` these are the logits and taps that were
    stored before it learned each row; of any other backbone, those of a forward pass
    (``trainer.backbone.frozen_pass.run_frozen``).

    Args:
      job: of the backbone.
      experiment: names the split.
      backbone: from ``trainer.backbone.saving.load_frozen``.
      dataset: where the split is.
      tap: what kernels read (``trainer.backbone.model.read_tap``), or None.
      title: of the forward pass's progress bar.
      keep: feature columns to keep (``feature/NAME``).
      chosen: the rows that a forward pass computes; stored ones are all read.

    Raises:
      InputError: the stored taps are missing, damaged, of another backbone or of other rows.
    """
    split = experiment.finetune.split
    if not job.experiment().pretrain.progressive:
        return run_frozen(backbone, dataset, split, tap, title, keep, chosen)
    folder = taps_folder(job)
    about = read_sealed(
        folder / _ABOUT, _ANEW, "backbone", "split", "files", "parts", optional=["taps"]
    )
    if about["backbone"] != job.fingerprint()["fingerprint"]:
        raise InputError(f"{folder}: taps of another backbone than this job's")
    if about["split"] != split:
        raise InputError(
            f"finetune.split: the backbone of {job.folder} left taps of split '{about['split']}'"
            f" alone, received '{split}'"
        )
    if about["files"] != _files(dataset, split):
        raise InputError(
            f"{folder}: taps of other rows than split '{split}' of {dataset.folder} holds; choose"
            " another --job-dir"
        )
    stored = about.get("taps", {}).items()  # older taps have no digests
    check_files((Listed(folder / f"{name}.npy", sha256) for name, sha256 in stored), _ABOUT, _ANEW)
    names = tap.split("+") if tap else []
    columns = split_columns(
        dataset, split, lambda name: name in keep or not name.startswith("feature/")
    )
    heads = _open(folder, backbone, len(columns["row/weight"]))
    logits = np.array(heads["logits"])
    if not tap:
        return BackboneOutputs(logits, np.empty((len(logits), 2, 0), np.float32), columns)
    taps = np.empty((len(logits), *read_tap(backbone.output, tap).shape[1:]), np.float32)
    for start in range(0, len(logits), _BATCH):
        taps[start : start + _BATCH] = read_tap(
            {name: np.array(heads[name][start : start + _BATCH]) for name in names}, tap
        )
    return BackboneOutputs(logits, taps, columns)


def split_columns(dataset: Dataset, split: str, wanted: Callable[[str], bool]) -> Columns:
    """Columns of a split, in the order of its files.

    Args:
      dataset: where the split is.
      split: its name.
      wanted: which columns, by name.
    """
    pieces: dict[str, list[npt.NDArray[Any]]] = {}
    rows = 0
    for columns in dataset.batches(split, _BATCH, wanted=wanted):
        rows += len(next(iter(columns.values())))
        for name, values in columns.items():
            pieces.setdefault(name, []).append(values)
    if rows != dataset.rows(split):
        raise InputError(
            f"{dataset.folder}: split '{split}' holds {rows} rows, its manifest lists"
            f" {dataset.rows(split)}"
        )
    return {name: np.concatenate(arrays) for name, arrays in pieces.items()}


def _files(dataset: Dataset, split: str) -> dict[str, str]:
    """File -> sha256: what says that rows are the same, in the same order."""
    return {file.path: file.sha256 for file in dataset.manifest.splits[split].files}


def _open(folder: Path, model: keras.Model, rows: int) -> Files:
    heads: Files = {}
    for name in STORED:
        path, shape = folder / f"{name}.npy", (rows, *model.output[name].shape[1:])
        try:
            heads[name] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(
                f"{path}: not a stored tap:"
                f" {next(iter(str(error).splitlines()), type(error).__name__)}"
            ) from None
        if heads[name].shape != shape or heads[name].dtype != np.float32:
            raise InputError(
                f"{path}: expected float32 {shape}, received {heads[name].dtype}"
                f" {heads[name].shape}"
            )
    return heads
