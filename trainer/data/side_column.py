"""A column of a dataset's rows that is stored beside it: files like the dataset's own, block by
block, so that it is shuffled and streamed with them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from preprocessing.dataset.manifest import ColumnFormat


@dataclass(frozen=True)
class SideColumn:
    """Where a column is that the dataset itself does not hold.

    Attributes:
      name: of the column.
      format: of its values.
      files: split -> a file for each of the split's own, in the same order. Other splits lack the
        column.
    """

    name: str
    format: ColumnFormat
    files: Mapping[str, tuple[Path, ...]]
