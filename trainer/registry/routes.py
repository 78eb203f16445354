"""Finds what rows are routed by: the topics and domains of a job's kernels, by the definitions that
the kernels themselves carry.

A kernel may be younger than its backbone's experiment: of another value, another topic, another
cross. Whoever serves or judges a job's kernels goes by the experiment that this gives.
"""

from collections.abc import Collection, Sequence

from configs import Experiment, InputError
from configs.domain_definitions import Definition, definition_of, merged_topics
from configs.domains import Domain, Topic
from trainer.registry.kernel_manifest import KernelManifest
from trainer.registry.kernel_registry import KernelStore


def definition(manifest: KernelManifest, experiment: Experiment) -> Definition:
    """A kernel's domain: as its manifest says; one that is older than definitions means the
    backbone's experiment.

    Args:
      manifest: of the kernel.
      experiment: that its backbone was trained with.

    Raises:
      InputError: it is older than definitions, and of no domain of that experiment.
    """
    if manifest.definition is not None:
        return manifest.definition
    return definition_of(Domain.parse(manifest.domain, experiment.topics), experiment.topics)


def routed_experiment(
    experiment: Experiment, active: Sequence[KernelManifest], stored: Sequence[KernelManifest] = ()
) -> Experiment:
    """The experiment of a backbone with the topics by which rows find its kernels: its own, in
    their order, then those that kernels have brought, by name.

    Where an active kernel's definition contradicts the experiment's topic, the kernel's counts.

    Args:
      experiment: that the backbone was trained with.
      active: kernels that are served.
      stored: kernels that are not, but may be asked for by name; one that contradicts the rest is
        left out.

    Raises:
      InputError: two active kernels contradict each other, or one contradicts a topic that the
        backbone's body reads.
    """
    known = {kernel.domain: definition(kernel, experiment) for kernel in active}
    topics = merged_topics(known, experiment.topics)
    for kernel in sorted(stored, key=lambda kernel: kernel.domain):
        more = {kernel.domain: definition(kernel, experiment), **known}
        try:
            topics, known = merged_topics(more, experiment.topics), more
        except InputError:
            continue
    for name in experiment.backbone.topics:
        if not topics[name].same_as(experiment.topics[name]):
            raise InputError(
                f"topic '{name}': a kernel was tuned by another topic of this name than the one"
                " that the backbone's body reads; deactivate it, and tune it by a topic of another"
                " name"
            )
    if topics == experiment.topics and list(topics) == list(experiment.topics):
        return experiment
    shown = {name: topic.model_dump(mode="json") for name, topic in topics.items()}
    return Experiment.model_validate(experiment.model_dump(mode="json") | {"topics": shown})


def job_routes(store: KernelStore, experiment: Experiment) -> Experiment:
    """``routed_experiment`` of everything that a job holds: what is served, and the newest version
    of every other domain. Raises ``InputError`` also where an active kernel's manifest is damaged.
    """
    active = store.active()
    others: dict[str, KernelManifest] = {}
    for domain in store.domains():
        if domain in active:
            continue
        for version in reversed(store.versions(domain)):
            try:
                others[domain] = store.manifest(domain, version)
                break
            except InputError:  # damaged, and not served: `kernels verify` tells
                continue
    manifests = [store.manifest(domain, version) for domain, version in active.items()]
    return routed_experiment(experiment, manifests, list(others.values()))


def topics_with(
    store: KernelStore, experiment: Experiment, named: Experiment, tuned: Collection[str] = ()
) -> dict[str, Topic]:
    """The topics of another experiment's domains beside those of the kernels that are served, in
    the order in which rows are routed.

    Args:
      store: of the job.
      experiment: that its backbone was trained with.
      named: the other experiment.
      tuned: domains of it that are about to get new kernels, so that what their old ones were tuned
        for does not matter.

    Raises:
      InputError: a domain of the other experiment is other rows than its active kernel was tuned
        for, or contradicts another active kernel.
    """
    known = {domain.name: definition_of(domain, named.topics) for domain in named.domains}
    for domain, version in store.active().items():
        if domain in tuned:
            continue
        served = definition(store.manifest(domain, version), experiment)
        if known.setdefault(domain, served) != served:
            raise InputError(
                f"'{domain}' is other rows in this config than its active kernel was tuned for;"
                " tune it again, deactivate it, or give it another name"
            )
    return merged_topics(known, experiment.topics)
