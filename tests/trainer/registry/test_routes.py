"""What rows are routed by: the kernels' own definitions, beside the backbone's experiment."""

from pathlib import Path
from typing import Any

import pytest

from configs import Experiment, InputError, load_experiment
from configs.domain_definitions import definition_of
from configs.domains import Domain
from tests.conftest import QUICKSTART, SMALL
from tests.trainer.conftest import MANIFEST, SHAPE, one_line, random_kernel
from trainer.job import Job
from trainer.registry.kernel_manifest import KernelManifest
from trainer.registry.kernel_registry import KernelStore
from trainer.registry.routes import job_routes, routed_experiment, topics_with


def config(*settings: str) -> Experiment:
    return load_experiment(QUICKSTART, [*SMALL, *settings])


def kernel(domain: str, experiment: Experiment | None) -> KernelManifest:
    """A manifest of a domain as an experiment defines it; one that is older where None."""
    own: dict[str, Any] = {"domain": domain, "version": 1, "backbone": "b"}
    if experiment:
        parsed = Domain.parse(domain, experiment.topics)
        own["definition"] = definition_of(parsed, experiment.topics)
    return KernelManifest.model_validate(MANIFEST | own)


def test_older_kernels_are_routed_by_the_backbones_experiment() -> None:
    first = config()
    assert routed_experiment(first, [kernel("all", None), kernel("scene=home", None)]) is first
    with pytest.raises(InputError, match="'region=r7' is no value of a topic"):
        routed_experiment(first, [kernel("region=r7", None)])


def test_kernels_bring_values_and_topics_that_the_backbone_has_never_heard_of() -> None:
    later = config(
        "topics.region.values=[r0, r2, r1, 'New York']",
        "topics.tier={column: city_tier, values: ['1', '2']}",
        "topics.period.hours={lunch: 11-13, dinner: 17-20, night: 22-02}",
    )
    names = ["region=New York", "tier=2", "period=night", "region=r1,tier=1", "scene=home"]
    routed = routed_experiment(config(), [kernel(name, later) for name in names])
    assert list(routed.topics) == ["scene", "period", "region", "tier"]
    assert routed.topics["region"].names == ("r1", "r2", "r9", "New York")  # its own come first
    assert routed.topics["period"].names == ("lunch", "dinner", "night")
    assert routed.topics["tier"].names == ("1", "2")
    assert routed.topics["scene"].names == ("home", "search")
    first = config()
    assert routed.features == first.features
    assert {domain.name for domain in first.domains} < {domain.name for domain in routed.domains}


def test_a_kernels_definition_counts_where_it_contradicts_the_experiment() -> None:
    later = config("topics.period.hours={lunch: 12-14, dinner: 17-20}")
    routed = routed_experiment(config(), [kernel("period=lunch", later)])
    assert routed.topics["period"].hours == {"lunch": "12-14", "dinner": "17-20"}
    later = config("topics.period.hours={late_lunch: 13-15}")
    routed = routed_experiment(config(), [kernel("period=late_lunch", later)])
    assert routed.topics["period"].hours == {"dinner": "17-20", "late_lunch": "13-15"}


@pytest.mark.parametrize(
    ("domain", "setting"),
    [
        ("period=lunch", "topics.period.hours={lunch: 12-14}"),
        ("period=tea", "topics.period.hours={tea: 13-15}"),
        ("period=tea", "topics.period={column: timestamp, time_zone: UTC, hours: {tea: 14-15}}"),
        ("period=tea", "topics.period={column: scene, values: [tea]}"),
    ],
)
def test_served_kernels_that_contradict_each_other_are_refused(domain: str, setting: str) -> None:
    others = kernel("period=lunch,region=r1", config())
    with pytest.raises(InputError, match="define topic 'period' differently") as error:
        routed_experiment(config(), [others, kernel(domain, config(setting, "cross_topics=[]"))])
    assert "'period=lunch,region=r1'" in one_line(error)
    assert f"'{domain}'" in one_line(error)


def test_one_that_is_not_served_is_left_out_where_it_contradicts() -> None:
    late = config("topics.period.hours={lunch: 12-14, tea: 15-16}")
    idle = [kernel("period=lunch", late), kernel("period=tea", late)]
    routed = routed_experiment(config(), [kernel("period=lunch", config())], idle)
    assert routed.topics["period"].hours == {
        "lunch": "11-13",
        "dinner": "17-20",
        "tea": "15-16",
    }


def test_a_topic_that_the_body_reads_stays_as_it_is() -> None:
    star = ("backbone.body=star", "backbone.topics=[region]")
    later = config(*star, "topics.region.values=[r1, r2, r9, r4]")
    with pytest.raises(InputError, match="the backbone's body reads") as error:
        routed_experiment(config(*star), [kernel("region=r4", later)])
    assert one_line(error).startswith("topic 'region': ")
    routed = routed_experiment(config(*star), [kernel("region=r1", later)])
    assert routed.topics["region"].names == ("r1", "r2", "r9")


@pytest.fixture
def store(job_copy: Path) -> KernelStore:
    return KernelStore(Job(job_copy))


def added(store: KernelStore, domain: str, experiment: Experiment) -> None:
    parsed = Domain.parse(domain, experiment.topics)
    record = MANIFEST | {"definition": definition_of(parsed, experiment.topics)}
    store.activate(domain, store.add(domain, random_kernel(SHAPE, 1), record))


def test_a_job_knows_the_domains_of_all_its_kernels(
    store: KernelStore, experiment: Experiment
) -> None:
    assert job_routes(store, experiment) == experiment
    later = config("topics.city={column: city_tier, values: ['a,b']}")
    added(store, 'city="a,b"', later)
    assert job_routes(store, experiment).topics["city"].values == ("a,b",)
    store.deactivate('city="a,b"')
    assert job_routes(store, experiment).topics["city"].values == ("a,b",)
    store.remove('city="a,b"')
    assert job_routes(store, experiment) == experiment


def test_another_config_must_mean_the_same_by_a_name(
    store: KernelStore, experiment: Experiment
) -> None:
    added(store, "period=lunch", experiment)
    moved = config("topics.period.hours={lunch: 12-14}")
    with pytest.raises(InputError, match="is other rows in this config") as error:
        topics_with(store, experiment, moved)
    assert one_line(error).startswith("'period=lunch' ")
    topics = topics_with(store, experiment, moved, {"period=lunch"})
    assert topics["period"].hours["lunch"] == "12-14"
