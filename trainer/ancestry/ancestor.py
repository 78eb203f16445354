"""The backbone that another one goes on from: what of it is checked, and what is written down."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from configs import Experiment, InputError
from configs.digests.sealed_json import digest_of
from configs.errors import first_names
from configs.files import atomic_file, delete
from configs.section import differing_settings
from preprocessing.remote.folder import name_of
from trainer.data.dataset import Dataset
from trainer.job import ANCESTOR_KERNELS, Job
from trainer.kernels.kernel import KernelShape, KernelWeights
from trainer.kernels.kernel_files import read_kernels, write_kernels
from trainer.memory.memory_store import MemoryStore
from trainer.registry.kernel_manifest import manifest_json
from trainer.registry.kernel_registry import KernelStore, StoredKernel


@dataclass(frozen=True)
class Ancestor:
    """A finished job whose backbone is gone on from.

    Attributes:
      job: where it is.
      experiment: that its backbone was trained with.
      kernels: active domain -> its kernel.
    """

    job: Job
    experiment: Experiment
    kernels: Mapping[str, StoredKernel]

    @classmethod
    def open(cls, job: Job) -> "Ancestor":
        """Reads what a job serves; a damaged kernel is told and is no start. Raises ``InputError``
        where it has no finished backbone, or what is remembered is damaged.
        """
        job.check_finished()
        store, kernels = KernelStore(job), {}
        for name, version in store.active().items():
            try:
                kernels[name] = store.load(name, version)
            except InputError as error:
                print(f"warning: no kernel starts from that of '{name}': {error}", file=sys.stderr)
        MemoryStore(job).served_chains()
        return cls(job, job.experiment(), kernels)

    @property
    def record(self) -> dict[str, Any]:
        """What is gone on from, JSON-ready: ``job``, where it is; ``backbone``, its fingerprint;
        ``transform``, the digest of its transform; ``ancestors``, the fingerprints of all backbones
        before, the nearest first; ``learned``, the windows that these learned from, the earliest
        first; the ``shape`` of its active kernels, and of each of these in ``kernels`` the
        ``version`` and the ``sha256`` of its manifest.
        """
        fingerprint, before = self.job.fingerprint(), self.job.ancestor()
        learned = before["learned"] if before else []
        for name in self.experiment.fitted_on:
            split = self.experiment.splits[name]
            learned = [*learned, [split.start.isoformat(), split.end.isoformat()]]
        shapes = [kernel.shape.to_json() for kernel in self.kernels.values()]
        return {
            "job": name_of(self.job.folder),
            "backbone": fingerprint["fingerprint"],
            "transform": fingerprint["transform"],
            "ancestors": [fingerprint["fingerprint"], *(before["ancestors"] if before else [])],
            "learned": learned,
            "shape": shapes[0] if shapes else None,
            "kernels": {
                name: {
                    "version": kernel.version,
                    "sha256": digest_of(manifest_json(kernel.manifest)),
                }
                for name, kernel in sorted(self.kernels.items())
            },
        }

    def check_carries(self, experiment: Experiment, dataset: Dataset) -> None:
        """Checks that the new backbone is the old one with more values; warns where it learns days
        that the old one has learned from, or is judged by them.

        Args:
          experiment: of the new backbone.
          dataset: that it learns from.

        Raises:
          InputError: something cannot be carried over.
        """
        theirs, where = self.experiment, f"--from: {self.job.folder}"
        differing = [
            said
            for section in ("features", "backbone")
            for said in differing_settings(
                theirs.model_dump(mode="json")[section],
                experiment.model_dump(mode="json")[section],
                section,
            )
        ]
        differing += ["tasks"] if not theirs.tasks.same_as(experiment.tasks) else []
        differing += [
            f"topics.{name}"
            for name in experiment.backbone.topics
            if not experiment.topics[name].same_as(theirs.topics.get(name))
        ]
        differing += (
            ["data.timestamp"] if theirs.data.timestamp != experiment.data.timestamp else []
        )
        if differing:
            raise InputError(
                f"{where}: its backbone was trained with other settings: {first_names(differing)};"
                " it goes on with its own alone; leave them as they are, or train without --from"
            )
        old = self.job.fitted()
        if dataset.fitted.grown_from != old.digest and not dataset.fitted.same_outputs_as(old):
            raise InputError(
                f"{dataset.folder}: its transform was not grown from that of {self.job.folder}; run"
                f" python -m preprocessing.task with --grow {self.job.folder}"
            )
        self._warn_of_seen(experiment)

    def _warn_of_seen(self, experiment: Experiment) -> None:
        record = self.record
        names = dict.fromkeys((*experiment.fitted_on, experiment.pretrain.validation))
        for name in names:
            split = experiment.splits[name]
            start, end = split.start.isoformat(), split.end.isoformat()
            if any(begin < end and start < stop for begin, stop in record["learned"]):
                judges = name == experiment.pretrain.validation
                said = "judges the new one: figures are flattered" if judges else "is learned again"
                print(
                    f"warning: the backbone of {record['job']} has learned from days of split"
                    f" '{name}', which {said}",
                    file=sys.stderr,
                )

    def say_left(self) -> None:
        """Names what people have decided of the older job, which stays there."""
        pinned = sorted(KernelStore(self.job).pinned())
        left = [f"pins of {first_names(pinned)}"] if pinned else []
        left += ["the chosen score"] if self.job.score.exists() else []
        left += ["the chosen routing"] if self.job.routing.exists() else []
        if left:
            print(
                f"note: not carried over from {self.job.folder}: {', '.join(left)}; say them again"
                " for the new job (trainer.task kernels pin, score, routing)",
                file=sys.stderr,
            )

    def keep_kernels(self, job: Job) -> None:
        """Leaves the active kernels, less their gates, in the job of the new backbone."""
        path = job.backbone / ANCESTOR_KERNELS
        if not self.kernels:
            delete(path)
            return
        weights = {
            name: {array: one.weights[array] for array in one.shape.variables()}
            for name, one in sorted(self.kernels.items())
        }
        with atomic_file(path) as new:
            write_kernels(new, weights)

    def hand_memory(self, job: Job) -> None:
        """Leaves what is remembered in the job of the new backbone: rates of raw keys, which are no
        matter of a backbone.
        """
        MemoryStore(job).take_over(MemoryStore(self.job))


def inherited_kernels(job: Job, shape: KernelShape) -> dict[str, KernelWeights]:
    """The kernels of a shape that domains without one of their own start from: those that were
    active on the backbone that this one went on from, less their gates. Says where they are of
    another shape.

    Args:
      job: with a finished backbone.
      shape: of the kernels that are trained.

    Returns:
      Domain -> kernel; empty where the backbone began anew.

    Raises:
      InputError: the file is damaged.
    """
    record = job.ancestor()
    if not record or not record["kernels"]:
        return {}
    theirs = KernelShape.from_json(record["shape"])
    if replace(theirs, support=shape.support) != shape:  # a gate's table grows with the users
        print(
            f"note: no kernel starts from those of {record['job']}, which have another shape",
            file=sys.stderr,
        )
        return {}
    store = KernelStore(job)
    held = read_kernels(job.ancestor_kernels, sorted(record["kernels"]))
    return {
        name: kernel
        for name, kernel in held.items()
        if store.active_or_newest_version(name) is None
    }
