"""What lies at a path: known before anything heavy is loaded."""

from pathlib import Path

from configs.errors import InputError
from preprocessing.dataset.manifest import MANIFEST, Manifest, load_manifest
from serving.wire.request_log import is_request_log


def is_dataset(path: Path) -> bool:
    """Whether a path is a folder with a finished dataset."""
    return (path / MANIFEST).is_file()


def check_dataset(path: Path, split: str | None) -> None:
    """Raises ``InputError`` where a path is no dataset, or has no rows of the split."""
    if not path.exists():
        raise InputError(f"{path}: no such file or directory")
    if not is_dataset(path):
        raise InputError(f"{path}: expected a dataset, a folder with {MANIFEST}")
    splits_of(path, load_manifest(path), split)


def check_dataset_or_log(path: Path, split: str | None) -> None:
    """Raises ``InputError`` where a path is neither a dataset with rows nor a log of requests."""
    if path.exists() and not is_dataset(path):
        if split is not None:
            raise InputError(
                f"--other-split {split}: {path} is no dataset, and a log of requests has no splits"
            )
        if not is_request_log(path):
            raise InputError(
                f"{path}: expected a dataset (a folder with {MANIFEST}) or a log of requests"
                " (TFRecord files of PredictionLog)"
            )
    else:
        check_dataset(path, split)


def splits_of(path: Path, manifest: Manifest, split: str | None) -> tuple[str, ...]:
    """The splits of a dataset that are read.

    Args:
      path: of the dataset.
      manifest: of the dataset.
      split: the one that is asked for; all that have rows where None.

    Raises:
      InputError: there is no such split, or it has no rows.
    """
    if split is None:
        found = tuple(name for name, summary in manifest.splits.items() if summary.rows)
        if not found:
            raise InputError(f"{path}: no rows in any split")
        return found
    if split not in manifest.splits:
        raise InputError(
            f"{path}: no split '{split}'; the dataset has: {', '.join(manifest.splits)}"
        )
    manifest.check_splits(path, [split])
    return (split,)
