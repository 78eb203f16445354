"""``TF_CONFIG``: as services set it, and one line for what it may not be."""

import json
from typing import Any

import pytest

from configs import InputError
from tests.trainer.conftest import one_line
from trainer.distribution.cluster import Cluster, read_cluster


def read(cluster: Any, task: Any = None, **others: Any) -> Cluster | None:
    return read_cluster({"TF_CONFIG": json.dumps({"cluster": cluster, "task": task, **others})})


@pytest.mark.parametrize(
    ("task", "rank"),
    [(("chief", 0), 0), (("worker", 0), 1), (("worker", 1), 2), (("worker", "1"), 2)],
)
def test_the_chief_is_rank_0_and_workers_follow(task: tuple[str, Any], rank: int) -> None:
    """Also with what Vertex AI adds."""
    kind, index = task
    found = read(
        {"chief": ["a:1"], "worker": ["b:2", "[::1]:3"]},
        {"type": kind, "index": index, "trial": ""},
        environment="cloud",
    )
    assert found == Cluster(("a:1", "b:2", "[::1]:3"), rank)


def test_workers_alone_are_ranks_in_their_order() -> None:
    assert read({"worker": ["a:1", "b:2"]}, {"type": "worker", "index": 1}) == Cluster(
        ("a:1", "b:2"), 1
    )


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "{}",
        '{"cluster": {}}',
        '{"cluster": {"chief": ["a:1"]}, "task": {"type": "chief", "index": 0}}',
        '{"cluster": {"worker": ["a:1"], "ps": []}, "task": {"type": "worker", "index": 0}}',
    ],
)
def test_one_process_is_no_cluster(text: str | None) -> None:
    assert read_cluster({} if text is None else {"TF_CONFIG": text}) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[1]", "expected {"),
        ('{"cluster": [1], "task": {}}', "expected {"),
        ('{"cluster": {"worker": ["a:1", "b:2"]}}', "expected {"),
        ('{"cluster": {"worker": "a:1"}, "task": {}}', "expected a list of HOST:PORT"),
        ('{"cluster": {"worker": ["a:1", "b"]}, "task": {}}', "expected a list of HOST:PORT"),
        ('{"cluster": {"worker": ["a:1", "b:99999"]}, "task": {}}', "expected a list of HOST:PORT"),
        ('{"cluster": {"worker": ["a:1", "a:1"]}, "task": {}}', "an address twice"),
        ('{"cluster": {"chief": ["a:1", "b:1"]}, "task": {}}', "names 2 chiefs"),
        ('{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {}}', "parameter servers"),
        ('{"cluster": {"worker": ["a:1"], "evaluator": ["b:1"]}, "task": {}}', "evaluators"),
        (
            '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 2}}',
            "does not name",
        ),
        (
            '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "ps", "index": 0}}',
            "does not name",
        ),
        (
            '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": true}}',
            "does not name",
        ),
    ],
)
def test_what_cannot_be_read_is_one_line(text: str, said: str) -> None:
    with pytest.raises(InputError, match=r"^TF_CONFIG: ") as error:
        read_cluster({"TF_CONFIG": text})
    assert said in one_line(error)
