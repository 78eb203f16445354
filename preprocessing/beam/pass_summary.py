"""Sums up what a pass over the logs found, in a form that is small, can be merged, and is written
as JSON for the command to read.
"""

import json
from collections import Counter
from dataclasses import dataclass, field

from preprocessing.dataset.golden_requests import Drawn, smallest
from preprocessing.dataset.manifest import ColumnFormat, DomainCounts, FileEntry

_KEPT_ERRORS = 20


@dataclass
class Tally:
    """Counts of rows, and files written. ``merge`` may be called in any order; ``sorted`` lists
    come out the same.

    Attributes:
      rows: rows read, broken ones included.
      rejected: rows by the rule they broke.
      examples: by rule, the first row of the logs that broke it: place (``RawBatch.place``), row in
        its file, and where it is and what was received, in words.
      outside: sound rows in no split.
      splits: rows by split; with overlapping windows a row counts in each.
      positives: split -> label -> rows that carry it.
      first, last: range of the timestamps of sound rows, seconds.
      json_names: every name that rows of JSON lines had; None where no JSON was read.
      duplicated: keys of the batches that hold rows to drop.
      domains: split -> domain -> rows and labels.
      formats: of the columns of record blocks.
      files: split -> files, by path below the dataset's folder; rejected rows are under
        ``rejected``.
      dictionaries: column -> the file with its values, as in ``files``.
      longest: of the same columns, the most different values that a row's list holds.
      cut: of the same columns, rows whose lists hold more than a dataset keeps.
      golden: the golden requests of the rows written so far.
      errors: files that could not be read.
      fit_errors: why the transform could not be fitted.
      grown: feature -> what became of its vocabulary, where a transform was grown.
    """

    rows: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    examples: dict[str, tuple[str, int, str]] = field(default_factory=dict)
    outside: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    positives: dict[str, Counter[str]] = field(default_factory=dict)
    first: int | None = None
    last: int | None = None
    json_names: set[str] | None = None
    duplicated: set[str] = field(default_factory=set)
    domains: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)
    formats: dict[str, tuple[str, int | None]] = field(default_factory=dict)
    files: dict[str, list[tuple[str, int, str]]] = field(default_factory=dict)
    dictionaries: dict[str, tuple[str, int, str]] = field(default_factory=dict)
    longest: dict[str, int] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    golden: list[Drawn] = field(default_factory=list)
    errors: set[str] = field(default_factory=set)
    fit_errors: set[str] = field(default_factory=set)
    grown: dict[str, dict[str, int]] = field(default_factory=dict)

    def merge(self, other: "Tally") -> "Tally":
        """Adds another's counts, in place."""
        self.rows += other.rows
        self.outside += other.outside
        self.rejected.update(other.rejected)
        for rule, example in other.examples.items():
            self.examples[rule] = min(example, self.examples.get(rule, example))
        self.splits.update(other.splits)
        for split, counts in other.positives.items():
            self.positives.setdefault(split, Counter()).update(counts)
        self.first = min(
            (value for value in (self.first, other.first) if value is not None), default=None
        )
        self.last = max(
            (value for value in (self.last, other.last) if value is not None), default=None
        )
        if other.json_names is not None:
            self.json_names = (self.json_names or set()) | other.json_names
        self.duplicated |= other.duplicated
        for split, domains in other.domains.items():
            mine = self.domains.setdefault(split, {})
            for domain, counts in domains.items():
                mine.setdefault(domain, Counter()).update(counts)
        self.formats.update(other.formats)
        for split, files in other.files.items():
            self.files.setdefault(split, []).extend(files)
        self.dictionaries.update(other.dictionaries)
        self.longest.update(other.longest)
        self.cut.update(other.cut)
        self.golden = smallest([*self.golden, *other.golden])
        self.errors = set(sorted(self.errors | other.errors)[:_KEPT_ERRORS])
        self.fit_errors |= other.fit_errors
        self.grown.update(other.grown)
        return self

    def to_json(self) -> bytes:
        """The tally as JSON; the same bytes whatever the order of merging."""
        for files in self.files.values():
            files.sort()
        return json.dumps(vars(self), default=sorted, sort_keys=True).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "Tally":
        """Reads what ``to_json`` wrote."""
        values = json.loads(text)
        for name in ("duplicated", "errors", "fit_errors"):
            values[name] = set(values[name])
        if values["json_names"] is not None:
            values["json_names"] = set(values["json_names"])
        for name in ("rejected", "splits"):
            values[name] = Counter(values[name])
        values["examples"] = {rule: tuple(found) for rule, found in values["examples"].items()}
        values["positives"] = {split: Counter(n) for split, n in values["positives"].items()}
        values["domains"] = {
            split: {domain: Counter(counts) for domain, counts in domains.items()}
            for split, domains in values["domains"].items()
        }
        values["golden"] = [(number, line) for number, line in values["golden"]]
        return cls(**values)

    def file_entries(self, folder: str) -> tuple[FileEntry, ...]:
        """The files of a split (or of ``rejected``) by path."""
        return tuple(map(_entry, sorted(self.files.get(folder, []))))

    def dictionary_entries(self) -> dict[str, FileEntry]:
        """The file of every dictionary, by column."""
        return {column: _entry(file) for column, file in sorted(self.dictionaries.items())}

    def domain_counts(self, split: str, domain: str, labels: tuple[str, ...]) -> DomainCounts:
        """Rows of a domain in a split, and how many carry each label."""
        counts = self.domains.get(split, {}).get(domain, Counter())
        return DomainCounts(
            rows=counts["rows"], labels={label: counts[f"label/{label}"] for label in labels}
        )

    def column_formats(self) -> dict[str, ColumnFormat]:
        """The formats as the manifest lists them."""
        return {
            name: ColumnFormat(dtype=dtype, length=length)
            for name, (dtype, length) in sorted(self.formats.items())
        }


def _entry(file: tuple[str, int, str]) -> FileEntry:
    path, rows, sha256 = file
    return FileEntry(path=path, rows=rows, sha256=sha256)
