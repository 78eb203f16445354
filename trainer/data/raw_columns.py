"""The raw columns that a dataset holds beside its features, and the dictionaries of those of
text.
"""

import json
from pathlib import Path

from preprocessing.dataset.manifest import ColumnFormat, Manifest, read_entry

RAW = "raw/"
"""What their names in a record begin with."""


class RawColumns:
    """What a dataset holds of its rows' raw columns (``preprocessing.features.kept_columns``).

    Args:
      folder: of the dataset.
      manifest: of the dataset.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self._manifest = folder, manifest
        self._dictionaries: dict[str, list[str]] = {}

    def form(self, column: str) -> str | None:
        """``string``, ``strings`` or ``number``; None where the dataset does not hold it."""
        held = self._held(column)
        if held is None:
            return None
        if column not in (self._manifest.dictionaries or {}):
            return "number"
        return "string" if held.length is None else "strings"

    def dictionary(self, column: str) -> list[str]:
        """The text of every code of a column from 1 on; code 0 is missing. Raises ``InputError``
        where its file is damaged.
        """
        if column not in self._dictionaries:
            listed = (self._manifest.dictionaries or {})[column]
            self._dictionaries[column] = json.loads(read_entry(self.folder, listed))
        return self._dictionaries[column]

    def loaded(self, column: str) -> list[str] | None:
        """A column's dictionary where it has been read."""
        return self._dictionaries.get(column)

    def missing(self, reader: str, column: str, what: str) -> str:
        """Says that a column is not held, and what to do.

        Args:
          reader: who reads it.
          column: that is not held.
          what: the config must have.
        """
        if self._manifest.dictionaries is None:
            held = "it was written before datasets held raw columns"
        else:
            names = [name[4:] for name in self._manifest.columns if name.startswith(RAW)]
            held = f"it holds: {', '.join(names) or 'none'}"
        return (
            f"{self.folder}: {reader} reads column '{column}', which this dataset does not hold"
            f" ({held}); run python -m preprocessing.task with a config that has this {what},"
            f" --transform {self.folder} and another --output, and go on with that config"
        )

    def _held(self, column: str) -> ColumnFormat | None:
        return self._manifest.columns.get(f"{RAW}{column}")
