"""Shows progress on stderr: rows, rows/s and time left."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager

from configs.progress import Bar, progress_bar
from trainer.data.dataset import Columns


def row_bar(title: str, rows: int, done: int = 0) -> AbstractContextManager[Bar]:
    """A bar that counts rows; ``done`` of them were counted in an earlier run."""
    return progress_bar(title, rows, "rows", done)


def with_progress(title: str, rows: int, batches: Iterable[Columns]) -> Iterator[Columns]:
    """Passes batches on and shows how many rows went by."""
    with row_bar(title, rows) as bar:
        for batch in batches:
            yield batch
            bar.update(len(batch["row/weight"]))
