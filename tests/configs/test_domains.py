"""Names of domains: written once, read back, and the nearest one where there is none."""

import pytest

from configs import InputError
from configs.domains import Domain, Topic, enumerate_domains, is_single_topic, named_domains

TOPICS = {
    "scene": Topic(column="scene", values=("home", "search")),
    "region": Topic(column="region", values=("r1", "r2")),
    "period": Topic(column="time", hours={"lunch": "11-13"}),
}
DOMAINS = enumerate_domains(TOPICS, (("region", "scene"),))


def test_names_are_read_back() -> None:
    for domain in DOMAINS:
        assert Domain.parse(domain.name, TOPICS) == domain
    assert Domain.parse("region=r2,scene=search", TOPICS).conditions == (
        ("region", 2),
        ("scene", 2),
    )


def test_topics_that_no_config_crosses_are_read_too() -> None:
    assert Domain.parse("period=lunch,scene=home", TOPICS).conditions == (
        ("period", 1),
        ("scene", 1),
    )


@pytest.mark.parametrize(
    "name",
    [
        "",
        "scene",
        "scene=",
        "scene=moon",
        "weather=rain",
        "scene=home,",
        "region=r1,scene=moon",
        "ALL",
        "backbone",
    ],
)
def test_a_name_that_is_no_domain_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="is no value of a topic") as error:
        Domain.parse(name, TOPICS)
    assert str(error.value).startswith(f"domain '{name}': ")
    assert str(error.value).endswith("; topics: scene, region, period")


def test_the_condition_that_is_wrong_is_named_with_the_nearest() -> None:
    with pytest.raises(InputError) as error:
        Domain.parse("region=r1,scene=hme", TOPICS)
    assert str(error.value) == (
        "domain 'region=r1,scene=hme': 'scene=hme' is no value of a topic; did you mean"
        " 'scene=home'?; topics: scene, region, period"
    )


def test_where_nothing_is_near_what_there_is_is_said() -> None:
    with pytest.raises(InputError) as error:
        Domain.parse("weather", {})
    assert (
        str(error.value)
        == "domain 'weather': 'weather' is no value of a topic; there are: none; topics: none"
    )


def test_parents_are_the_single_topics_in_order_and_then_all() -> None:
    parents = {domain.name: domain.parents for domain in DOMAINS}
    assert parents["region=r1,scene=home"] == ["region=r1", "scene=home", "all"]
    assert parents["scene=home"] == parents["all"] == ["all"]


def test_single_topics() -> None:
    single = [domain.name for domain in DOMAINS if is_single_topic(domain.name)]
    assert single == [domain.name for domain in DOMAINS if len(domain.conditions) == 1]
    assert len(single) == 5


def test_named_domains_are_given_once_in_the_order_of_the_names() -> None:
    found = named_domains(DOMAINS, ["scene=search", "all", "scene=search"], "--domains")
    assert [domain.name for domain in found] == ["scene=search", "all"]
    assert named_domains(DOMAINS, [], "--domains") == list(DOMAINS)
    crossed = named_domains(DOMAINS, ["scene=home,region=r1", "region=r1,scene=home"], "--domains")
    assert [domain.name for domain in crossed] == ["region=r1,scene=home"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("scene=hom", "; did you mean 'scene=home'?"),
        ("scene=home,region=r3", "; did you mean 'region=r2,scene=home'?"),  # the other way round
        ("xyz", f"; there are: {', '.join(domain.name for domain in DOMAINS[:10])}"),
    ],
)
def test_a_name_that_is_not_there_is_refused_with_the_nearest(name: str, meant: str) -> None:
    with pytest.raises(InputError) as error:
        named_domains(DOMAINS, ["all", name], "--domains")
    said = str(error.value)
    assert said.startswith(f"--domains: '{name}' is no domain of this config{meant}")
    assert said.endswith((meant, " more"))
