"""Defines ``score.json``: what was scored, by what, and every file. It is written last, so an
output without one is not finished.
"""

import json

from configs.digests.sealed_json import sealed
from configs.section import Section
from preprocessing.dataset.manifest import FileEntry

RESULT = "score.json"


class ScoreResult(Section):
    """A scored archive.

    Attributes:
      input: glob, folder or file of the archive.
      models: base path of the model.
      version: that has scored.
      fingerprint: the seal of that version's ``export.json``; None where it has none.
      domain: that rows were scored under; None where the model takes none.
      domain_column: the column that named a row's own; None where there was none.
      batch_rows: rows that the graph was run on at once.
      columns: of the files of scores, in their order.
      rows: read.
      scored: rows that have scores.
      rejected: rejected rows by reason.
      domains: rows by the domain that served them.
      files: of scores, in the order of the archive's files and rows.
      rejected_files: of rejected rows.
      seconds: that the job took.
    """

    input: str
    models: str
    version: int
    fingerprint: str | None
    domain: str | None
    domain_column: str | None
    batch_rows: int
    columns: tuple[str, ...]
    rows: int
    scored: int
    rejected: dict[str, int]
    domains: dict[str, int]
    files: tuple[FileEntry, ...]
    rejected_files: tuple[FileEntry, ...]
    seconds: float

    def to_json(self) -> bytes:
        """The file's content, sealed."""
        return (json.dumps(sealed(self.model_dump(mode="json")), indent=1) + "\n").encode()
