"""Which kernel answers a name: its own, else the nearest active one above it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.domains import ALL, BACKBONE, Topic, enumerate_domains
from trainer.kernels.fallback import answering_domain

TOPICS = {
    "scene": Topic(column="scene", values=("home", "search")),
    "region": Topic(column="region", values=("r1", "r2")),
}
DOMAINS = {domain.name: domain for domain in enumerate_domains(TOPICS, (("region", "scene"),))}
CROSS = DOMAINS["region=r1,scene=home"]


@pytest.mark.parametrize(
    ("name", "gains", "expected"),
    [
        ("scene=home", {"scene=home": -0.1, ALL: 0.5}, "scene=home"),
        ("scene=home", {"scene=search": 0.3, ALL: 0.0}, ALL),
        ("scene=home", {"scene=search": 0.3}, BACKBONE),
        (CROSS.name, {CROSS.name: 0.0, "scene=home": 0.3, ALL: 0.2}, CROSS.name),
        (CROSS.name, {"scene=home": 0.1, "region=r1": 0.2, ALL: 0.9}, "region=r1"),
        (CROSS.name, {"scene=home": 0.2, "region=r1": 0.1, ALL: 0.9}, "scene=home"),
        (CROSS.name, {"scene=home": 0.2, "region=r1": 0.2}, "region=r1"),  # the first of its name
        (CROSS.name, {"scene=home": -0.2, ALL: 0.9}, "scene=home"),
        (CROSS.name, {"scene=search": 0.2, "region=r2": 0.2, ALL: -1.0}, ALL),
        (CROSS.name, {}, BACKBONE),
        (ALL, {"scene=home": 0.2}, BACKBONE),
        (ALL, {ALL: 0.0}, ALL),
    ],
)
def test_the_nearest_active_domain_above_answers(
    name: str, gains: dict[str, float], expected: str
) -> None:
    assert answering_domain(DOMAINS[name], gains) == expected


@given(
    name=st.sampled_from(sorted(DOMAINS)),
    gains=st.dictionaries(st.sampled_from(sorted(DOMAINS)), st.floats(-1, 1)),
)
def test_what_answers_is_active_and_holds_every_row_of_the_domain(
    name: str, gains: dict[str, float]
) -> None:
    answer, conditions = answering_domain(DOMAINS[name], gains), DOMAINS[name].conditions
    assert answer in gains or answer == BACKBONE
    if answer != BACKBONE:
        assert set(DOMAINS[answer].conditions) <= set(conditions)
    wider = {other for other in gains if set(DOMAINS[other].conditions) <= set(conditions)}
    assert (answer == BACKBONE) == (not wider)
