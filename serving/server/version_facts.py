"""What a version's files say of it beside its graph, for who watches a server."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import InputError
from serving.wire.training_logs import TrainingLogs
from serving.wire.version_files import RECORD, SAVED_MODEL


@dataclass(frozen=True)
class VersionFacts:
    """Facts of a version.

    Attributes:
      domains: names of the domains that its graph knows; None where they are not known.
      written: when it was exported, seconds since 1970: the time of ``export.json``, which every
        export writes anew, or of the graph where there is none; None where there is neither.
      learned_until: the end of the days that its backbone learned from, seconds since 1970; None
        where that is not known.
    """

    domains: frozenset[str] | None = None
    written: float | None = None
    learned_until: float | None = None

    @classmethod
    def of(cls, version: Path) -> "VersionFacts":
        """Reads them. Nothing is known where a file is missing, or damaged: whether a damaged
        version is served is decided elsewhere (``servable_loader.check_files``).
        """
        written, logs = None, TrainingLogs()
        for name in (SAVED_MODEL, RECORD):
            with suppress(OSError):
                written = (version / name).stat().st_mtime
        with suppress(InputError):
            logs = TrainingLogs.of_version(version)
        return cls(
            None if logs.domains is None else frozenset(logs.domains),
            written,
            logs.learned_until.timestamp() if logs.learned_until else None,
        )


def facts_of(models: Iterable[Any]) -> dict[str, dict[int, VersionFacts]]:
    """Model -> version -> facts of what is served now (``model_manager.Models``)."""
    return {
        model.name: {servable.version: servable.facts for servable in model.loaded}
        for model in models
    }
