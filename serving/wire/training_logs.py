"""What a version says of the logs that its model was trained on (``assets.extra/logs.json``), so
that an archive is read as they were. No part of ``export.json``, which older servers would refuse.
"""

from pathlib import Path
from typing import Any

from pydantic import model_validator

from configs.schema import Data
from configs.section import Section, UtcDatetime, read_section
from serving.wire.version_files import EXTRA

LOGS = Path(EXTRA) / "logs.json"

_DEFAULT = {name: Data.model_fields[name].default for name in ("null_values", "max_rejected")}


class TrainingLogs(Section):
    """How logs are read. What is not known, of a version that is older than this file or that
    ``serving.export`` has not written, has the defaults of a config.

    Attributes:
      request: column whose rows are ranked against each other; None where that is not known.
      row_key: columns that identify a row.
      null_values: text that means a missing value in CSV and JSON lines.
      max_rejected: tolerated share of rows that are rejected.
      domains: names of the domains that the graph knows; None where they are not known.
      learned_until: end of the days that the backbone learned from; None where that is not known.
    """

    request: str | None = None
    row_key: tuple[str, ...] = ()
    null_values: tuple[str, ...] = _DEFAULT["null_values"]
    max_rejected: float = _DEFAULT["max_rejected"]
    domains: tuple[str, ...] | None = None
    learned_until: UtcDatetime | None = None

    @model_validator(mode="before")
    @classmethod
    def _leave_out_lists_alike(cls, values: Any) -> Any:
        """Versions of one day in 2026 said here what the signature says."""
        return {name: value for name, value in values.items() if name != "lists_alike"}

    @classmethod
    def of_version(cls, version: Path) -> "TrainingLogs":
        """What a version says. Raises ``InputError`` where its file is damaged."""
        path = version / LOGS
        return read_section(path, cls) if path.exists() else cls()
