"""What rows are routed by: the kernels' own definitions, beside the backbone's experiment."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from configs import Experiment, InputError, load_experiment
from configs.domain_definitions import Definition, definition_of
from configs.domains import Domain
from configs.files import write_json
from tests.conftest import QUICKSTART, SMALL
from tests.trainer.conftest import MANIFEST, SHAPE, one_line, random_kernel
from trainer.job import Job
from trainer.registry.decision import Decision
from trainer.registry.kernel_manifest import KernelManifest
from trainer.registry.kernel_registry import KernelStore
from trainer.registry.routes import (
    check_servable,
    definition,
    job_routes,
    names_known,
    routed_experiment,
    topics_with,
)


def config(*settings: str) -> Experiment:
    return load_experiment(QUICKSTART, [*SMALL, *settings])


def meant(experiment: Experiment, *domains: str) -> dict[str, Definition]:
    """Domains as an experiment defines them."""
    topics = experiment.topics
    return {name: definition_of(Domain.parse(name, topics), topics) for name in domains}


def test_older_kernels_are_of_the_backbones_experiment() -> None:
    def older(domain: str) -> KernelManifest:
        own = {"domain": domain, "version": 1, "backbone": "b"}
        return KernelManifest.model_validate(MANIFEST | own)

    first = config()
    known = {name: definition(older(name), first) for name in ("all", "scene=home")}
    assert known == meant(first, "all", "scene=home")
    assert routed_experiment(first, known) is first
    with pytest.raises(InputError, match="'region=r7' is no value of a topic"):
        definition(older("region=r7"), first)


def test_kernels_bring_values_and_topics_that_the_backbone_has_never_heard_of() -> None:
    later = config(
        "topics.region.values=[r0, r2, r1, 'New York']",
        "topics.tier={column: city_tier, values: ['1', '2']}",
        "topics.period.hours={lunch: 11-13, dinner: 17-20, night: 22-02}",
    )
    names = ["region=New York", "tier=2", "period=night", "region=r1,tier=1", "scene=home"]
    routed = routed_experiment(config(), meant(later, *names))
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
    routed = routed_experiment(config(), meant(later, "period=lunch"))
    assert routed.topics["period"].hours == {"lunch": "12-14", "dinner": "17-20"}
    later = config("topics.period.hours={late_lunch: 13-15}")
    routed = routed_experiment(config(), meant(later, "period=late_lunch"))
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
    others = meant(config(), "period=lunch,region=r1")
    with pytest.raises(InputError, match="define topic 'period' differently") as error:
        routed_experiment(config(), others | meant(config(setting, "cross_topics=[]"), domain))
    assert "'period=lunch,region=r1'" in one_line(error)
    assert f"'{domain}'" in one_line(error)


def test_one_that_is_not_served_is_left_out_where_it_contradicts() -> None:
    late = config("topics.period.hours={lunch: 12-14, tea: 15-16}")
    idle = meant(late, "period=lunch", "period=tea")
    routed = routed_experiment(config(), meant(config(), "period=lunch"), idle)
    assert routed.topics["period"].hours == {
        "lunch": "11-13",
        "dinner": "17-20",
        "tea": "15-16",
    }


def test_a_topic_that_the_body_reads_stays_as_it_is() -> None:
    star = ("backbone.body=star", "backbone.topics=[region]")
    later = config(*star, "topics.region.values=[r1, r2, r9, r4]")
    with pytest.raises(InputError, match="the backbone's body reads") as error:
        routed_experiment(config(*star), meant(later, "region=r4"))
    assert one_line(error).startswith("topic 'region': ")
    routed = routed_experiment(config(*star), meant(later, "region=r1"))
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


def test_a_domain_may_have_a_score_that_is_younger_than_the_backbone(
    store: KernelStore, experiment: Experiment
) -> None:
    write_json(store.job.backbone / "experiment.json", experiment.model_dump(mode="json"))
    city = ("topics.city={column: city_tier, values: ['1', '2']}", "cross_topics=[[city, scene]]")
    scores = {"city=1": "ctr", "city=1,scene=home": "cvr", "scene=home": "ctr * cvr"}
    later = config(*city, f"scores={json.dumps(scores)}")
    assert store.job.choose_score(later) == {"all": "ctcvr", **scores}
    known = {"scene=home": "ctr * cvr"}
    assert store.job.experiment().scores == known
    assert job_routes(store, store.job.experiment()).scores == known  # nothing of a city is tuned
    added(store, "city=1", later)
    known["city=1"] = "ctr"
    assert job_routes(store, store.job.experiment()).scores == known
    added(store, "city=1,scene=home", later)
    assert job_routes(store, store.job.experiment()).scores == scores


def test_a_domain_that_a_kernel_has_defined_anew_has_no_score_where_it_is_gone(
    store: KernelStore, experiment: Experiment
) -> None:
    scored = config("scores={period=lunch: ctr, period=dinner: cvr}")
    later = config("topics.period.hours={midday: 12-15}")
    routed = routed_experiment(scored, meant(later, "period=midday"))
    assert "lunch" not in routed.topics["period"].names
    assert routed.scores == {"period=dinner": "cvr"}


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


def test_a_domain_that_was_tuned_is_known_where_no_kernel_of_it_was_worth_storing(
    store: KernelStore, experiment: Experiment
) -> None:
    later = config("topics.city={column: city_tier, values: ['1']}", "cross_topics=[[city, scene]]")
    crossed = "city=1,scene=home"
    assert crossed not in names_known(store, job_routes(store, experiment))
    why = {"outcome": "keep", "reason": "no better than all", "against": "all"}
    decision = Decision.model_validate(why | {"definition": meant(later, crossed)[crossed]})
    store.decide({crossed: decision}, store.active())
    assert crossed in names_known(store, job_routes(store, experiment))
    with pytest.raises(InputError, match="was worth storing: no better than all"):
        store.check_known(crossed)


def test_what_could_not_be_exported_beside_what_is_served_is_refused(
    store: KernelStore, experiment: Experiment
) -> None:
    for name in list(store.active()):
        store.deactivate(name)
    added(store, "period=lunch,region=r1", experiment)
    check_servable(store, experiment, "period=lunch,region=r1", 1)
    moved = config("topics.period.hours={lunch: 12-14}")
    record = MANIFEST | {"definition": meant(moved, "period=lunch")["period=lunch"]}
    version = store.add("period=lunch", random_kernel(SHAPE, 1), record)
    with pytest.raises(InputError, match="define topic 'period' differently"):
        check_servable(store, experiment, "period=lunch", version)
    wide = replace(SHAPE, widths=(*SHAPE.widths[:-2], 99, 1))
    record = MANIFEST | {"shape": wide.to_json()}
    version = store.add("scene=home", random_kernel(wide, 1), record)
    with pytest.raises(InputError, match="kernels of different shapes cannot be exported") as error:
        check_servable(store, experiment, "scene=home", version)
    assert f"of 'scene=home' has {wide.words}" in one_line(error)
    assert f"'period=lunch,region=r1' has {SHAPE.words}" in one_line(error)


def test_a_domain_that_was_only_decided_can_be_forgotten(
    store: KernelStore, experiment: Experiment
) -> None:
    name = "region=r2,scene=search"
    why = {"outcome": "keep", "reason": "no better than all", "against": "all"}
    if name in store.domains():
        store.remove(name)
    store.decide({name: Decision.model_validate(why)}, store.active())
    assert name in store.known()
    store.remove(name)
    assert name not in store.known()


def test_a_decision_is_left_alone_where_another_run_activated_another_shape(
    store: KernelStore, experiment: Experiment
) -> None:
    for name in list(store.active()):
        store.deactivate(name)
    before = store.active()
    wide = replace(SHAPE, widths=(*SHAPE.widths[:-2], 99, 1))
    mine = store.add("scene=home", random_kernel(SHAPE, 1), MANIFEST)
    theirs = MANIFEST | {"shape": wide.to_json()}
    store.activate("region=r1", store.add("region=r1", random_kernel(wide, 1), theirs))
    why = {"outcome": "activate", "reason": "better", "against": "all", "version": mine}
    decision = Decision.model_validate(why | {"active": mine})
    done = store.decide({"scene=home": decision}, before)["scene=home"]
    assert (done.outcome, done.active) == ("keep", None)
    assert done.reason == "kernels of another shape were activated while it was tuned"
    assert list(store.active()) == ["region=r1"]
