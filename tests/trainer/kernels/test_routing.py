"""From topics to domains: most specific first, and the same as a plain reading of the rule in
Python.
"""

from itertools import combinations
from random import Random

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.domains import Domain, Topic, enumerate_domains
from trainer.kernels.routing import auto_rank, most_specific_first

SCENE = Topic(column="scene", values=("home", "search"))
PERIOD = Topic(column="period", values=("noon", "night"))
REGION = Topic(column="region", values=("r1", "r2"))
TOPICS = {"scene": SCENE, "period": PERIOD, "region": REGION}
EVERY = enumerate_domains(TOPICS, (("region", "scene"), ("scene", "period")))


def plain_rank(row: dict[str, int], candidates: list[Domain], order: list[str]) -> int:
    """The rule of the architecture, word by word: cross-topic before single-topic, then the
    config's topic order, then ``all``.
    """
    matching = [
        domain
        for domain in candidates
        if all(row[topic] == index for topic, index in domain.conditions)
    ]
    if not matching:
        return 0
    most = max(len(domain.conditions) for domain in matching)
    best = min(
        (domain for domain in matching if len(domain.conditions) == most),
        key=lambda domain: [order.index(topic) for topic, _ in domain.conditions],
    )
    return candidates.index(best) + 1


def rank_of(row: dict[str, int], names: list[str]) -> str:
    """The domain that a row of topic indices is routed to."""
    candidates = most_specific_first([domain for domain in EVERY if domain.name in names], TOPICS)
    columns = {topic: tf.constant([index]) for topic, index in row.items()}
    rank = int(auto_rank(columns, candidates, 1)[0])
    return candidates[rank - 1].name if rank else "backbone"


@pytest.mark.parametrize(
    ("active", "expected"),
    [
        (["all", "scene=home", "region=r1", "region=r1,scene=home"], "region=r1,scene=home"),
        (
            ["all", "region=r1", "scene=home"],
            "scene=home",
        ),  # scene comes before region in the config
        (["all", "region=r1"], "region=r1"),
        (["all", "region=r2", "scene=search", "region=r2,scene=home"], "all"),
        (["region=r2"], "backbone"),
        ([], "backbone"),
        (["scene=home,period=noon", "region=r1,scene=home"], "scene=home,period=noon"),
    ],
)
def test_the_most_specific_active_domain_serves(active: list[str], expected: str) -> None:
    assert rank_of({"scene": 1, "period": 1, "region": 1}, active) == expected


def test_an_unknown_value_matches_no_domain_but_all() -> None:
    unknown = {"scene": 0, "period": 0, "region": 0}
    everything = [domain.name for domain in EVERY]
    assert rank_of(unknown, everything) == "all"
    assert rank_of(unknown, [name for name in everything if name != "all"]) == "backbone"


def test_all_matches_where_there_are_no_topics() -> None:
    np.testing.assert_array_equal(auto_rank({}, [Domain("all")], 3), [1, 1, 1])
    np.testing.assert_array_equal(auto_rank({}, [], 3), [0, 0, 0])


@st.composite
def situations(draw: st.DrawFn) -> tuple[dict[str, Topic], list[Domain], dict[str, list[int]]]:
    """Random topics, a random choice of their domains, and random rows."""
    names = draw(st.permutations(["b", "a", "d", "c"]))[: draw(st.integers(1, 4))]
    topics = {
        name: Topic(column=name, values=tuple(f"v{i}" for i in range(draw(st.integers(1, 3)))))
        for name in names
    }
    pairs = [pair if draw(st.booleans()) else pair[::-1] for pair in combinations(names, 2)]
    crossed = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    every = enumerate_domains(topics, tuple(crossed))
    chosen = draw(st.lists(st.sampled_from(every), unique=True))
    rows = draw(st.integers(0, 8))
    columns = {
        name: draw(st.lists(st.integers(0, len(topic.values)), min_size=rows, max_size=rows))
        for name, topic in topics.items()
    }
    return topics, chosen, columns


@settings(max_examples=60, deadline=None)
@given(situations())
def test_agrees_with_plain_python(
    situation: tuple[dict[str, Topic], list[Domain], dict[str, list[int]]],
) -> None:
    topics, chosen, columns = situation
    candidates = most_specific_first(chosen, topics)
    assert sorted(candidates, key=chosen.index) == chosen
    rows = len(next(iter(columns.values())))
    expected = [
        plain_rank(
            {topic: values[row] for topic, values in columns.items()}, candidates, list(topics)
        )
        for row in range(rows)
    ]
    rank = auto_rank(
        {topic: tf.constant(values, tf.int32) for topic, values in columns.items()},
        candidates,
        rows,
    )
    assert rank.dtype == tf.int32
    assert rank.numpy().tolist() == expected


@settings(max_examples=40, deadline=None)
@given(situations(), st.randoms(use_true_random=False))
def test_a_domain_without_a_slot_is_as_one_that_is_not_there(
    situation: tuple[dict[str, Topic], list[Domain], dict[str, list[int]]], random: Random
) -> None:
    """What serving does: one graph for every domain, of which a table says who has a kernel; the
    slots' numbers have no order.
    """
    topics, chosen, columns = situation
    candidates = most_specific_first(chosen, topics)
    served = [domain for domain in candidates if random.random() < 0.5]
    numbers = random.sample(range(1, 100), len(served))
    slots = tf.constant(
        [0, *(dict(zip(served, numbers, strict=True)).get(domain, 0) for domain in candidates)]
    )
    tensors, rows = (
        {topic: tf.constant(values, tf.int32) for topic, values in columns.items()},
        len(next(iter(columns.values()))),
    )
    among_all = auto_rank(tensors, candidates, rows, slots).numpy()
    alone = auto_rank(tensors, served, rows).numpy()
    assert [candidates[rank - 1] if rank else None for rank in among_all] == [
        served[rank - 1] if rank else None for rank in alone
    ]
