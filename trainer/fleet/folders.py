"""The folders of a fleet: ``<job>/fleet/base/``, which all shards read, and one for each shard.

Each appears whole or not at all, and holds the sha256 of its files; a shard's names the plan that
it is of.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from configs import Experiment, InputError
from configs.digests.listed_files import Listed, check_files, sha256_of
from configs.digests.sealed_json import read_sealed, write_sealed
from configs.domain_definitions import definition_of
from configs.domains import Domain
from configs.files import atomic_directory, delete, discard
from configs.section import Section, read_section
from trainer.fleet.plan import Plan, Shard, TrainedRecord
from trainer.job import Job
from trainer.kernels.kernel_files import read_kernels, write_kernels
from trainer.kernels.shape import KernelWeights
from trainer.training.release import Trained

_PLAN, _SHARD, _KERNELS, _STARTS = "plan.json", "shard.json", "kernels.npz", "starts.npz"
_GATHERED = "gathered.json"
_AGAIN = "delete it, and run the shard again"


class ShardRecord(Section):
    """What a shard has left.

    Attributes:
      plan: digest of the plan that it is of.
      shard: its number.
      trained: its domains.
      files: the files beside it, and their sha256.
    """

    plan: str
    shard: int
    trained: tuple[TrainedRecord, ...]
    files: dict[str, str]


class Fleet:
    """The folders of a job's fleet.

    Args:
      job: the job.
    """

    def __init__(self, job: Job) -> None:
        self.folder = job.fleet
        self.base = self.folder / "base"
        self._gathered = self.folder / _GATHERED

    def shard(self, shard: Shard) -> Path:
        """Folder of a shard."""
        return self.folder / f"shard-{shard.number}-of-{shard.of}"

    def plan(self) -> Plan | None:
        """The plan; None where there is none. Raises ``InputError`` where it is damaged."""
        path = self.base / _PLAN
        if not self.base.exists():
            return None
        try:
            return read_section(path, Plan)
        except InputError as error:
            raise InputError(f"{error}; {self._anew}") from None

    @property
    def _anew(self) -> str:
        return f"delete {self.folder}, and run all shards again"

    def check_base(self, plan: Plan) -> None:
        """Raises ``InputError`` where a file that all shards read is not as it was written."""
        listed = [Listed(self.base / name, sha256) for name, sha256 in plan.files.items()]
        check_files(listed, _PLAN, self._anew)

    def gathered(self, plan: Plan) -> bool:
        """Whether a plan's shards have been gathered, so that another one may follow."""
        if not self._gathered.exists():
            return False
        found = read_sealed(self._gathered, f"delete {self.folder}", "plan")
        return bool(found["plan"] == plan.digest)

    def mark_gathered(self, plan: Plan) -> None:
        """Says that a plan's shards have been gathered."""
        if not self.gathered(plan):
            write_sealed(self._gathered, {"plan": plan.digest})

    def forget_gathered(self) -> None:
        """Takes away what was said of a plan that is gone."""
        delete(self._gathered)

    def clear(self) -> None:
        """Takes away a plan that was gathered, its shards first: who is killed in between finds the
        plan, and goes on.
        """
        for folder in sorted(self.folder.glob("shard-*")):
            discard(folder)
        discard(self.base)
        self.forget_gathered()

    def record(self, plan: Plan, shard: Shard) -> ShardRecord | None:
        """What a shard has left; None where it has left nothing yet.

        Raises:
          InputError: it is damaged, or of another plan.
        """
        folder = self.shard(shard)
        if not folder.exists():
            return None
        try:
            record = read_section(folder / _SHARD, ShardRecord)
        except InputError as error:
            raise InputError(f"{error}; {_AGAIN}") from None
        if record.plan != plan.digest or record.shard != shard.number:
            raise InputError(
                f"{folder}: expected shard {shard} of plan {plan.digest[:12]}, received shard"
                f" {record.shard} of plan {record.plan[:12]}, which had another config, dataset or"
                f" backbone; {_AGAIN}"
            )
        names = set(plan.shares[shard.number - 1])
        if {one.domain for one in record.trained} != names:
            raise InputError(f"{folder}: damaged: expected the domains of its plan; {_AGAIN}")
        listed = [Listed(folder / name, sha256) for name, sha256 in record.files.items()]
        check_files(listed, _SHARD, _AGAIN)
        return record

    def write_shard(self, plan: Plan, shard: Shard, trained: Iterable[Trained]) -> None:
        """Writes what a shard has trained, in place of something damaged."""
        found = list(trained)
        with atomic_directory(self.shard(shard), replace=True) as new:
            write_kernels(new / _KERNELS, {t.domain.name: t.kernel for t in found if t.kernel})
            record = ShardRecord(
                plan=plan.digest,
                shard=shard.number,
                trained=tuple(map(record_of, found)),
                files={_KERNELS: sha256_of(new / _KERNELS)},
            )
            write_sealed(new / _SHARD, record.model_dump(mode="json"))

    def trained(
        self, experiment: Experiment, folder: Path, records: Iterable[TrainedRecord]
    ) -> dict[str, Trained]:
        """What training left of a folder's domains, by name."""
        records = tuple(records)
        kernels = read_kernels(folder / _KERNELS, [r.domain for r in records if r.moved])
        found = {}
        for record in records:
            domain = Domain.parse(record.domain, experiment.topics)
            definition = definition_of(domain, experiment.topics)
            kernel = kernels.get(record.domain)
            found[record.domain] = Trained(domain, definition, record.rows, kernel, record.start)
        return found

    def write_base(
        self, folder: Path, trained: Iterable[Trained], starts: Mapping[str, KernelWeights]
    ) -> dict[str, str]:
        """Writes the kernels that all shards read into a base that is being built; gives the sha256
        of its files.
        """
        moved = {one.domain.name: one.kernel for one in trained if one.kernel}
        write_kernels(folder / _KERNELS, moved)
        write_kernels(folder / _STARTS, starts)
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        return {str(path.relative_to(folder)): sha256_of(path) for path in files}

    def write_plan(self, folder: Path, plan: Plan) -> None:
        """Writes the plan into a base that is being built."""
        write_sealed(folder / _PLAN, plan.to_json())

    def starts(self, plan: Plan) -> dict[str, KernelWeights]:
        """Kernels that a plan's domains may start from, by domain, less their gates."""
        return read_kernels(self.base / _STARTS, plan.starts)


def record_of(trained: Trained) -> TrainedRecord:
    """What is written of a domain beside its arrays."""
    return TrainedRecord(
        domain=trained.domain.name,
        rows=trained.rows,
        start=trained.start,
        moved=trained.kernel is not None,
    )
