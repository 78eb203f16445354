"""Who trains what: the plan of a fleet's shards, which they all have in common."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from configs import Experiment, InputError
from configs.digests.sealed_json import digest_of
from configs.domains import ALL, Domain
from configs.section import Section
from preprocessing.dataset.manifest import Manifest
from trainer.evaluation.provenance import config_digest
from trainer.registry.kernel_manifest import Shape


@dataclass(frozen=True)
class Shard:
    """A shard as it is asked for.

    Attributes:
      number: from 1 on.
      of: how many there are.
    """

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


class Asked(Section):
    """What every shard of a fleet has to be run with.

    Attributes:
      backbone: fingerprint of the job's backbone.
      config: sha256 of the experiment.
      rows: split -> digest of its rows in the dataset.
      domains: that are to be tuned, in order; those that were pinned are among them.
      start: domain -> version of the stored kernels that these may start from and that are not
        trained anew.
      shards: how many there are.
    """

    backbone: str
    config: str
    rows: dict[str, str]
    domains: tuple[str, ...]
    start: dict[str, int]
    shards: int

    @classmethod
    def of(
        cls,
        backbone: str,
        experiment: Experiment,
        manifest: Manifest,
        domains: Iterable[Domain],
        start: Mapping[str, int],
        shards: int,
    ) -> "Asked":
        """What a command asks for."""
        return cls(
            backbone=backbone,
            config=config_digest(experiment),
            rows={name: manifest.rows_digest(name) for name in manifest.splits},
            domains=tuple(domain.name for domain in domains),
            start=dict(start),
            shards=shards,
        )


_WHAT = {
    "backbone": "backbone",
    "config": "config",
    "rows": "dataset",
    "domains": "list of --domains",
    "start": "choice of stored kernels to start from",
    "shards": "number of shards",
}
"""What differs, in words."""


class TrainedRecord(Section):
    """What training left of a domain (``trainer.training.release.Trained``), less its arrays.

    Attributes:
      domain: its name.
      rows: that it learned from.
      start: name of what it started from.
      moved: whether its kernel is another one than that; then its arrays are stored.
    """

    domain: str
    rows: int
    start: str
    moved: bool


class Plan(Section):
    """A fleet's plan; written with what all shards read, once, by the first that comes.

    Attributes:
      asked: what it was made for.
      pinned: domains among those that are left alone.
      shape: of the kernels.
      shares: the domains that each shard trains.
      trained: of the kernel of all traffic, where it is trained for the others' sake.
      starts: domains whose kernels others start from.
      files: the files beside it, and their sha256.
    """

    asked: Asked
    pinned: tuple[str, ...]
    shape: Shape
    shares: tuple[tuple[str, ...], ...]
    trained: tuple[TrainedRecord, ...]
    starts: tuple[str, ...]
    files: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """As it stands on disk, less the seal."""
        return self.model_dump(mode="json")

    @property
    def digest(self) -> str:
        """By which shards say that they are of this plan."""
        return digest_of(self.to_json())

    @property
    def tuned(self) -> tuple[str, ...]:
        """The domains that are tuned, in order."""
        return tuple(name for name in self.asked.domains if name not in self.pinned)

    def difference(self, asked: Asked, *, ignoring: Iterable[str] = ()) -> str:
        """What is asked for otherwise than this was planned for, in words; empty where nothing
        is.
        """
        for name, words in _WHAT.items():
            if name not in ignoring and getattr(self.asked, name) != getattr(asked, name):
                return words
        return ""


def parse_shard(text: str) -> Shard:
    """Reads ``3/16``. Raises ``InputError``."""
    number, slash, of = text.partition("/")
    digits = all(part.isascii() and part.isdigit() and len(part) < 7 for part in (number, of))
    if not slash or not digits or not 1 <= int(number) <= int(of):
        most = int(of) if digits and slash and int(of) else "N"
        raise InputError(f"--shard: expected 1/{most} to {most}/{most}, received '{text}'")
    return Shard(int(number), int(of))


def shares(
    names: Sequence[str], rows: Mapping[str, int], start: Callable[[str], str], shards: int
) -> tuple[tuple[str, ...], ...]:
    """Gives every domain to a shard: those that start from each other to the same one, the largest
    first, to the shard that has the fewest rows by then (Graham 1969; of equal ones the first).

    Args:
      names: domains that have rows, in the config's order.
      rows: of each.
      start: domain -> the one that it starts from.
      shards: how many.

    Returns:
      For each shard its domains, in the order of ``names``.
    """
    families: dict[str, list[str]] = {}
    for name in names:
        head = start(name)
        families.setdefault(head if head in names and head != ALL else name, []).append(name)
    size = {head: sum(rows[name] for name in family) for head, family in families.items()}
    given: list[set[str]] = [set() for _ in range(shards)]
    load = [0] * shards
    for head in sorted(families, key=lambda head: -size[head]):
        least = load.index(min(load))
        given[least] |= set(families[head])
        load[least] += size[head]
    return tuple(tuple(name for name in names if name in some) for some in given)
