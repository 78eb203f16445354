"""Finds what rows are routed by: the topics and domains of a job's kernels, by the definitions that
the kernels themselves carry.

A kernel may be younger than its backbone's experiment: of another value, another topic, another
cross. Whoever serves or judges a job's kernels goes by the experiment that this gives.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType

from configs import Experiment, InputError
from configs.domain_definitions import Definition, definition_of, merged_topics
from configs.domains import Domain, Topic, is_domain
from configs.memory import Memory
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
    experiment: Experiment,
    active: Mapping[str, Definition],
    idle: Mapping[str, Definition] = MappingProxyType({}),
    memory: Memory | None = None,
) -> Experiment:
    """The experiment of a backbone with the topics by which rows find its kernels: its own, in
    their order, then those that kernels have brought, by name; and with their memory.

    Where an active kernel's definition contradicts the experiment's topic, the kernel's counts.

    Args:
      experiment: that the backbone was trained with.
      active: domains whose kernels are served.
      idle: domains that have none, but may be asked for by name; one that contradicts the rest is
        left out.
      memory: that the active kernels read; None where they read none.

    Raises:
      InputError: two active kernels contradict each other, or one contradicts a topic that the
        backbone's body reads.
    """
    known = dict(active)
    topics = merged_topics(known, experiment.topics)
    for domain, meant in sorted(idle.items(), key=lambda item: item[0]):
        more = {domain: meant, **known}
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
    same_topics = topics == experiment.topics and list(topics) == list(experiment.topics)
    if same_topics and memory == experiment.memory:
        return experiment
    shown = {
        "topics": {name: topic.model_dump(mode="json") for name, topic in topics.items()},
        "memory": memory and memory.model_dump(mode="json"),
        "scores": {n: text for n, text in experiment.scores.items() if is_domain(n, topics)},
    }
    return Experiment.model_validate(experiment.model_dump(mode="json") | shown)


def job_routes(store: KernelStore, experiment: Experiment) -> Experiment:
    """``routed_experiment`` of everything that a job knows: what is served, the newest version of
    every other domain, and the domains of which no kernel was worth storing; with the scores that
    were chosen for domains that are younger than the backbone.

    Raises:
      InputError: as ``routed_experiment``; or an active kernel's manifest or the chosen scores are
        damaged.
    """
    active = {
        domain: definition(store.manifest(domain, version), experiment)
        for domain, version in store.active().items()
    }
    idle = {
        domain: meant
        for domain, decided in store.known().items()
        if domain not in active
        and (meant := _newest_definition(store, domain, experiment) or decided) is not None
    }
    routed = routed_experiment(experiment, active, idle, memory_read(store))
    younger = {
        name: text
        for name, text in (store.job.chosen_score() or {"scores": {}})["scores"].items()
        if name not in routed.scores
    }
    if not younger:
        return routed
    known = names_known(store, routed)
    more = {name: text for name, text in younger.items() if name in known}
    return routed.model_copy(update={"scores": {**routed.scores, **more}})


def memory_read(store: KernelStore) -> Memory | None:
    """The memory that a job's active kernels read; None where none reads any. Raises
    ``InputError`` where a manifest is damaged.
    """
    shapes = (store.manifest(domain, version).shape for domain, version in store.active().items())
    return next((shape.remembers for shape in shapes if shape.memory), None)


def _newest_definition(
    store: KernelStore, domain: str, experiment: Experiment
) -> Definition | None:
    """By the newest version of a domain that can be read; None where there is none."""
    for version in reversed(store.versions(domain)):
        try:
            return definition(store.manifest(domain, version), experiment)
        except InputError:  # damaged, and not served: `kernels verify` tells
            continue
    return None


def names_known(store: KernelStore, experiment: Experiment) -> set[str]:
    """The domains that an export of a job knows by name: those of ``job_routes``, and every other
    one that its topics allow and the job has tuned. Requests for others are routed as ``auto``.

    Args:
      store: of the job.
      experiment: as ``job_routes`` gives it.
    """
    tuned = {name for name in store.known() if is_domain(name, experiment.topics)}
    return tuned | {domain.name for domain in experiment.domains}


def check_servable(store: KernelStore, experiment: Experiment, domain: str, version: int) -> None:
    """Refuses a version that could not be exported beside what is served.

    Args:
      store: of the job.
      experiment: that its backbone was trained with.
      domain: exact name.
      version: that is to be served.

    Raises:
      InputError: it is missing or damaged, has another shape than an active kernel, or contradicts
        an active kernel's definition.
    """
    kernel = store.load(domain, version)
    means = {domain: definition(kernel.manifest, experiment)}
    for other, number in store.active().items():
        if other == domain:
            continue
        manifest = store.manifest(other, number)
        if manifest.shape != kernel.shape:
            raise InputError(
                f"version {version} of '{domain}' has {kernel.shape.words}, and the active kernel"
                f" of '{other}' has {manifest.shape.words}: kernels of different shapes cannot be"
                " exported together; deactivate the others, or tune all domains by one config"
            )
        means[other] = definition(manifest, experiment)
    routed_experiment(experiment, means, memory=kernel.shape.remembers)


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
