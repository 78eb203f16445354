"""Where a refresh stands: ``state.json`` in its folder, so that one that was killed goes on, and
one that is finished does nothing again.
"""

from pathlib import Path
from typing import Any

from pydantic import Field

from configs import Experiment
from configs.digests.sealed_json import digest_of, write_sealed
from configs.errors import InputError
from configs.section import S, Section, read_section
from operations.refresh.summary import Auc, Summary
from preprocessing import filesystem
from preprocessing.logs.files import find_sources

STATE, SUMMARY, DATA = "state.json", "summary.json", "data"


class State(Section):
    """What is done of a refresh.

    Attributes:
      key: digest of config, logs and backbone that this is of (``key_of``).
      rows_key: digest of what decides the dataset; None until it is finished.
      before: domain -> version that was served when it began.
      memory: version of memory that was served then; None where none was.
      reasons: domain -> why fine-tuning decided as it did; None until it has decided.
      auc: as fine-tuning found it.
      tuned: whether what was decided is served by the registry.
      seconds: step -> how long it took.
    """

    key: str
    rows_key: str | None = None
    before: dict[str, int] = Field(default_factory=dict)
    memory: int | None = None
    reasons: dict[str, str] | None = None
    auc: Auc | None = None
    tuned: bool = False
    seconds: dict[str, float] = Field(default_factory=dict)


def key_of(experiment: Experiment, files: list[Any], backbone: str) -> str:
    """Digest of what decides a refresh: the same once more is the same refresh."""
    return digest_of([experiment.model_dump(mode="json"), files, backbone])


def rows_key_of(experiment: Experiment, files: list[Any], backbone: str) -> str:
    """Digest of what decides its dataset."""
    kept = [*experiment.data.topic_columns, *(t.column for t in experiment.topics.values())]
    memory = experiment.memory.columns if experiment.memory else ()
    return digest_of([experiment.data_digest, sorted({*kept, *memory}), files, backbone])


def listed_files(logs: str, experiment: Experiment) -> list[Any]:
    """The files of logs: name, and size and time of change where the disk is a local one. Raises
    ``InputError`` where there are none.
    """
    found = []
    for source in find_sources(logs, experiment.evaluation.truth):
        about = Path(source.path).stat() if filesystem.is_local(source.path) else None
        found.append([source.name, *([about.st_size, about.st_mtime_ns] if about else [])])
    return found


class ProgressFile:
    """The state of one refresh on disk.

    Args:
      folder: of the refresh.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / DATA

    def state(self) -> State | None:
        """What is done; None where nothing is, or what was written cannot be read."""
        return _read(self.folder / STATE, State)

    def write(self, state: State) -> None:
        """Writes what is done."""
        write_sealed(self.folder / STATE, state.model_dump(mode="json"))

    def summary(self) -> Summary | None:
        """What came of it; None where it is not finished."""
        return _read(self.folder / SUMMARY, Summary)

    def finish(self, summary: Summary) -> None:
        """Writes what came of it."""
        write_sealed(self.folder / SUMMARY, summary.model_dump(mode="json"))


def summary_before(work: Path, folder: Path) -> Summary | None:
    """The newest summary of an earlier moment, of one that was not refused; None where there is
    none.
    """
    earlier = sorted(path for path in work.iterdir() if path.name < folder.name and path.is_dir())
    for path in reversed(earlier):
        summary = ProgressFile(path).summary()
        if summary and not summary.reasons and summary.auc:
            return summary
    return None


def registry_was_ahead(work: Path, folder: Path) -> bool:
    """Whether the newest summary of an earlier moment says that its export failed."""
    earlier = sorted(path for path in work.iterdir() if path.name < folder.name and path.is_dir())
    found = (ProgressFile(path).summary() for path in reversed(earlier))
    newest = next((summary for summary in found if summary), None)
    return newest is not None and newest.registry_ahead


def _read(path: Path, kind: type[S]) -> S | None:
    try:
        return read_section(path, kind)
    except InputError:
        return None
