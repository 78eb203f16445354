"""A kernel version's ``manifest.json``, typed: what it is, what it learned from, how it was judged.

A key that is not known is refused, as in a dataset's manifest: it was written by a newer version of
this code, and what it says may change what the kernel is. Keys that came later are optional, so
every older manifest is read.
"""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, JsonValue, PlainSerializer, ValidationError

from configs import InputError
from configs.domain_definitions import Definition
from configs.memory import memory_definition
from configs.section import Section
from trainer.kernels.shape import KernelShape
from trainer.metrics.formatting import is_number
from trainer.metrics.results import TaskComparisons, ranked
from trainer.metrics.task_metrics import mean_defined
from trainer.registry.decision import Decision, interval_reason


class JudgedRows(Section):
    """Rows that a kernel learned from, and rows of the half of validation that judged it."""

    train: int
    validation: int


def _shape(content: Any) -> Any:
    """Pydantic would overlook a dataclass's unknown keys, and does not know what an object of
    ``memory`` means.
    """
    if isinstance(content, Mapping):
        for key in content.keys() - {field.name for field in fields(KernelShape)}:
            raise ValueError(f"unknown key '{key}'")
        if content.get("memory"):
            return {**content, "memory": memory_definition(content["memory"])}
    return content


Shape = Annotated[
    KernelShape, BeforeValidator(_shape), PlainSerializer(lambda shape: shape.to_json())
]


class KernelRecord(Section):
    """What fine-tuning says of a kernel that it hands to the registry.

    Attributes:
      shape: what it must share with the others of a bank.
      definition: which rows are the domain's; None in manifests that are older than it: the
        backbone's experiment defines theirs.
      seed: of the experiment; None in manifests that are older than it, or were not trained.
      kernel, finetune: sections of the experiment that trained it, as that version of the code
        wrote them: a record, of which the registry reads ``finetune``'s ``split``, ``validation``,
        ``regulariser`` and its weight.
      rows: how many it learned from and was judged on.
      windows: part -> first moment and end of these rows, ISO 8601; None in older manifests.
      validation: task -> metric -> comparison with the backbone on the judging rows.
      ranking: the tasks over all rows among these; None in manifests that are older than it.
      activated: whether it was found better than what would answer its domain otherwise.
      decision: what that was decided on; None in manifests that are older than it.
      judges: which users judged it (``trainer.training.judging_users.run_key``); None in manifests
        that are older than it: those whose fingerprint is odd.
      gate: of a gated kernel, alpha by task and bucket of users (``trainer.kernels.gate``).
    """

    shape: Shape
    definition: Definition | None = None
    seed: int | None = None
    kernel: dict[str, JsonValue] | None = None
    finetune: dict[str, JsonValue]
    rows: JudgedRows
    windows: dict[str, tuple[str, str]] | None = None
    validation: TaskComparisons
    ranking: tuple[str, ...] | None = None
    activated: bool = False
    decision: Decision | None = None
    judges: str | None = None
    gate: tuple[tuple[float, ...], ...] | None = None

    @property
    def ranked(self) -> tuple[str, ...]:
        """The tasks over all rows, on which it was judged."""
        return ranked(self.validation, self.ranking)

    @property
    def measured_gain(self) -> float:
        """The mean of the AUC differences from the backbone that it was judged with on validation,
        of the tasks over all impressions where they are defined; 0 where none is.
        """
        judged = self.validation
        deltas = (judged[task]["auc"].delta for task in self.ranked if task in judged)
        return mean_defined(float(d) if is_number(d) else None for d in deltas) or 0.0

    @property
    def reason(self) -> str:
        """Why it was activated or not, in words."""
        if self.decision:
            return self.decision.reason
        return interval_reason(
            {
                task: self.validation[task]["auc"]
                for task in self.ranked
                if "auc" in self.validation.get(task, {})
            }
        )


class KernelManifest(KernelRecord):
    """A version's manifest: the record, and what the registry knows itself.

    Attributes:
      domain: exact name.
      version: from 1 on.
      backbone: fingerprint of the backbone that it was trained on.
      files: the other files and their sha256; None in manifests that are older than it.
    """

    domain: str
    version: int
    backbone: str
    files: dict[str, str] | None = None


def manifest_of(
    record: KernelRecord, domain: str, version: int, backbone: str, files: dict[str, str]
) -> KernelManifest:
    """The manifest of a record's version. What the record says of these four, where it was read
    from another version, is dropped.
    """
    own = {"domain": domain, "version": version, "backbone": backbone, "files": files}
    return KernelManifest.model_validate(_given(record) | own)


def manifest_json(manifest: KernelManifest) -> dict[str, Any]:
    """As it stands on disk: the registry's keys, then those of the record that were given."""
    own = manifest.model_dump(mode="json", include={"domain", "version", "backbone", "files"})
    return own | _given(manifest)


def parse_manifest(content: Mapping[str, Any], path: Path) -> KernelManifest:
    """Checks a manifest that was read. Raises ``InputError`` naming the first key that is wrong."""
    try:
        return KernelManifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        raise InputError(
            f"{path}: not a kernel's manifest: {f'{where}: ' if where else ''}{message}"
        ) from None


def _given(record: KernelRecord) -> dict[str, Any]:
    """The record's keys in their order, less those that it was made without."""
    given = record.model_dump(mode="json", include=set(KernelRecord.model_fields))
    return {name: value for name, value in given.items() if name in record.model_fields_set}
