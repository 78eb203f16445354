"""Defines ``manifest.json``: what a dataset is, and every file with its rows and sha256. It is
written last and sealed, so a dataset without one is not finished, and a damaged one is noticed.
"""

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

from pydantic import Field, PositiveInt, ValidationError

from configs.digests.listed_files import Listed, check_files, read_listed
from configs.digests.sealed_json import digest_of, sealed, unsealed
from configs.errors import InputError
from configs.files import read_object
from configs.section import Section, UtcDatetime

MANIFEST = "manifest.json"
GOLDEN_FILE = "golden_requests.jsonl"
PROFILE_FILE = "profile.json"
FORMAT = 1

_AGAIN = "run preprocessing.task again"


class FileEntry(Section):
    """A file of the dataset: path relative to the dataset's folder."""

    path: str
    rows: int
    sha256: str


class DomainCounts(Section):
    """Rows of a domain in a split, and how many of them carry each label."""

    rows: int
    labels: dict[str, int]


class SplitSummary(Section):
    """A split: its rows, its domains, its files."""

    rows: int
    domains: dict[str, DomainCounts]
    files: tuple[FileEntry, ...]


class ColumnFormat(Section):
    """One column of a record block: NumPy dtype name, and the length of each row where it is a
    list.
    """

    dtype: str = Field(pattern=r"^(u?int(8|16|32|64)|float(16|32|64)|bool)$")
    length: PositiveInt | None = None


class GrownFeature(Section):
    """What became of a feature's vocabulary.

    Attributes:
      values: how many it has now.
      entered: values that got an id.
      unseen: values without one of the new rows.
      left: values whose id a new one has taken.
      no_place: values that are frequent enough, beyond ``vocabulary.max_size``.
    """

    values: int
    entered: int
    unseen: int
    left: int
    no_place: int

    @property
    def words(self) -> str:
        """For people."""
        full = f", {self.no_place:,} found no place (vocabulary.max_size)" if self.no_place else ""
        return (
            f"{self.entered:,} entered, {self.left:,} left, {self.unseen:,} unseen, {self.values:,}"
            f" now{full}"
        )


class Growing(Section):
    """How a transform was grown.

    Attributes:
      source: the job or dataset whose transform it was grown from, as ``--grow`` had it.
      transform_digest: of that transform.
      features: what became of every vocabulary.
    """

    source: str
    transform_digest: str
    features: dict[str, GrownFeature]


class Manifest(Section):
    """Everything a reader needs to know about a dataset.

    Attributes:
      data_digest: sha256 of the config sections the dataset was built from.
      transform_digest: sha256 over the fitted transform's files; a backbone refuses a dataset with
        another one.
      input: the glob (or folder) of the logs.
      columns: format of every column of a record block.
      vocabulary_sizes: number of ids of every categorical output, padding and out-of-vocabulary
        included.
      rejected: rejected rows by reason.
      outside_splits: sound rows whose timestamp is in no split.
      golden_requests: ``GOLDEN_FILE``; None in datasets that are older than it, and where the
        fine-tuning split has no row.
      dictionaries: of every raw column of text (``raw/COLUMN``, a list's included), the file that
        lists its values: a JSON list; code ``i + 1`` is value ``i``, 0 is missing. ``rows`` is the
        number of values. None in datasets that are older than raw columns; they hold
        ``topic/NAME`` instead.
      profile: ``PROFILE_FILE`` (``preprocessing.profile``), its ``rows`` 0; None in datasets that
        are older than it.
      transform_from: the job or dataset whose transform was applied, as ``--transform`` had it;
        None where it was fitted on the rows of this dataset.
      grown: how the transform was grown from another; None where it was not.
      as_of: the moment that the config's windows were counted from, ISO 8601; None where they were
        not, and in older datasets.
      windows: split -> its first moment and its end, ISO 8601; None in older datasets.
    """

    format: int = FORMAT
    data_digest: str
    transform_digest: str
    input: str
    columns: dict[str, ColumnFormat]
    vocabulary_sizes: dict[str, int]
    splits: dict[str, SplitSummary]
    rejected: dict[str, int]
    rejected_files: tuple[FileEntry, ...]
    transform_files: tuple[FileEntry, ...]
    outside_splits: int
    golden_requests: FileEntry | None = None
    dictionaries: dict[str, FileEntry] | None = None
    profile: FileEntry | None = None
    transform_from: str | None = None
    grown: Growing | None = None
    as_of: UtcDatetime | None = None
    windows: dict[str, tuple[UtcDatetime, UtcDatetime]] | None = None

    def files(self) -> list[FileEntry]:
        """Every file of the dataset but the manifest."""
        golden = [self.golden_requests] if self.golden_requests else []
        profile = [self.profile] if self.profile else []
        return [
            *self.transform_files,
            *self.rejected_files,
            *golden,
            *profile,
            *(self.dictionaries or {}).values(),
            *(file for split in self.splits.values() for file in split.files),
        ]

    def rows_digest(self, name: str) -> str:
        """Sha256 of what says that a split's rows are the same, in the same order: the files'
        sha256, and how they are read.
        """
        files = [file.sha256 for file in self.splits[name].files]
        columns = {key: column.model_dump() for key, column in self.columns.items()}
        return digest_of([files, columns])

    def check_split_files(self, folder: Path, name: str) -> None:
        """Raises ``InputError``, which names the file, where a file of a split is missing or is not
        the one that was written; ``folder`` is the dataset's.
        """
        _check(folder, self.splits[name].files)

    def check_transform_files(self, folder: Path) -> None:
        """The same for the fitted transform."""
        _check(folder, self.transform_files)

    def to_json(self) -> bytes:
        """The file's content."""
        return (json.dumps(sealed(self.model_dump(mode="json")), indent=1) + "\n").encode()

    def check_splits(self, folder: Path, names: Iterable[str]) -> None:
        """Raises ``InputError`` where one of these splits has no row; ``folder`` is the dataset's.

        So it may be where ``preprocessing.task --transform`` has read a part of the logs.
        """
        empty = [name for name in dict.fromkeys(names) if not self.splits[name].rows]
        if empty:
            there = [name for name, split in self.splits.items() if split.rows]
            raise InputError(
                f"{folder}: no rows in {'splits' if len(empty) > 1 else 'split'}"
                f" {', '.join(empty)}; rows are in {', '.join(there)}; run preprocessing.task"
                " --transform on logs of those days, too"
            )


def _check(folder: Path, files: Iterable[FileEntry]) -> None:
    check_files((Listed(folder / file.path, file.sha256) for file in files), MANIFEST, _AGAIN)


def read_entry(folder: Path, entry: FileEntry) -> bytes:
    """Content of a small file of a dataset. Raises ``InputError`` where it is missing or is not
    the one that the manifest lists.
    """
    return read_listed(Listed(folder / entry.path, entry.sha256), MANIFEST, _AGAIN)


def as_of_dataset(data: Path) -> Callable[[object], datetime | None]:
    """What a step asks where a config's windows count from ``as_of`` and it is not given
    (``configs.load.FindAsOf``): what the dataset's were counted from. Errors are those of
    ``load_manifest``.
    """
    return lambda _: load_manifest(data).as_of


def load_manifest(data: Path) -> Manifest:
    """Reads a dataset's manifest. Raises ``InputError`` where there is no finished dataset, or the
    manifest is damaged.
    """
    path = data / MANIFEST
    if not path.exists():
        raise InputError(f"{path}: not found; expected a dataset written by preprocessing.task")
    try:
        manifest = Manifest.model_validate(unsealed(read_object(path), path, _AGAIN))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: not a manifest: {where}: {first['msg']}; {_AGAIN}") from None
    if manifest.format != FORMAT:
        raise InputError(
            f"{path}: dataset format {manifest.format}, expected {FORMAT}; run preprocessing.task"
            " again"
        )
    for name, split in manifest.splits.items():  # the seal of older ones is this alone
        if split.rows != sum(file.rows for file in split.files):
            raise InputError(
                f"{path}: damaged: split '{name}' has {split.rows} rows, its files together"
                f" {sum(file.rows for file in split.files)}; {_AGAIN}"
            )
    return manifest
