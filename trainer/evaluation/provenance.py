"""Says what is known of a kernel's past (what fine-tuning decided about it, and whether rows that
are judged were used before), and which config judges.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime

from configs import Experiment
from configs.domains import BACKBONE
from configs.schema import Split
from trainer.metrics.results import DomainDecision, Seen
from trainer.registry.decision import Decision
from trainer.registry.kernel_manifest import KernelManifest


def config_digest(experiment: Experiment) -> str:
    """Sha256 of an experiment, in whose sections order has a meaning."""
    return hashlib.sha256(experiment.model_dump_json().encode()).hexdigest()


def last_decision(newest: Decision | None, judged: KernelManifest | None) -> DomainDecision | None:
    """What fine-tuning decided last about a domain.

    Args:
      newest: decision that the registry has of it.
      judged: manifest of its kernel. One that is older than decisions says whether the kernel
        passed the rule of its day, which compared with the backbone.
    """
    if decision := newest or (judged.decision if judged else None):
        shown = decision.model_dump(include=set(DomainDecision.model_fields))
        return DomainDecision.model_validate(shown)
    if judged is None:
        return None
    return DomainDecision(
        outcome="activate" if judged.activated else "keep",
        reason=judged.reason,
        against=BACKBONE,
        version=judged.version,
        active=judged.version if judged.activated else None,
    )


def seen_by_backbone(trained_with: Experiment, split: Split, before: Iterable[Split] = ()) -> Seen:
    """How the backbone used moments of a split.

    Args:
      trained_with: the backbone's experiment.
      split: that is judged.
      before: what its ancestors learned from (``trainer.job.Job.learned_before``).
    """
    settings, splits = trained_with.pretrain, trained_with.splits
    learned = [settings.split]
    if settings.progressive:
        learned.append(trained_with.finetune.split)
    windows = [*before, *(splits[name] for name in learned)]
    return _seen(windows, [splits[settings.validation]], split)


def seen_by_kernel(manifest: KernelManifest, trained_with: Experiment, split: Split) -> Seen:
    """How a kernel used moments of a split.

    Args:
      manifest: of the kernel; where it is older than windows, the splits that it names are taken
        for those of the backbone's experiment.
      trained_with: the backbone's experiment.
      split: that is judged.
    """
    if manifest.windows is None:
        names = (manifest.finetune.get("split"), manifest.finetune.get("validation"))
        train, validation = (trained_with.splits.get(str(name)) for name in names)
    else:
        train, validation = (_window(manifest.windows, part) for part in ("train", "validation"))
    return _seen([train], [validation], split)


def _window(windows: Mapping[str, tuple[str, str]], part: str) -> Split | None:
    if part not in windows:
        return None
    start, end = map(datetime.fromisoformat, windows[part])
    return Split(start=start, end=end)


def _seen(train: Iterable[Split | None], validation: Iterable[Split | None], judged: Split) -> Seen:
    def overlaps(windows: Iterable[Split | None]) -> bool:
        return any(w and w.start < judged.end and judged.start < w.end for w in windows)

    return (
        *(("train",) if overlaps(train) else ()),
        *(("validation",) if overlaps(validation) else ()),
    )
