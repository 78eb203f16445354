"""The ranker: scores in the items' order, the order by score, and shadows that never touch what
is served.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from configs.errors import InputError
from serving.client import Client, Ranker, Ranking
from serving.server.model_config import VersionPolicy
from tests.serving.conftest import NAME, Peer, serving

USER: dict[str, Any] = {"user": "u3", "clicks": ["u2", "u1"], "time": 999999991}
ITEMS: list[dict[str, Any]] = [{"price": -1.5}, {"price": 0.25}, {}, {"price": -1.5}]
ROWS = [{**USER, **item} for item in ITEMS]


@pytest.fixture
def ranker(peer: Peer) -> Iterator[Ranker]:
    with Ranker(peer.target, NAME, by="ctr") as made:
        yield made


def test_scores_are_in_the_items_order_and_the_order_is_by_score(
    ranker: Ranker, peer: Peer
) -> None:
    ranking = ranker.rank(USER, ITEMS, "scene=home")
    with Client(peer.target, NAME) as client:
        assert ranking.answers == client.predict(ROWS, "scene=home")
    assert ranking.scores == [answer["ctr"] for answer in ranking.answers]
    assert ranking.order == [1, 2, 0, 3]  # equal scores as given
    assert ranking.version == 10 and ranking.shadow is None and ranking.shadow_error is None
    assert {answer["served_domain"] for answer in ranker.rank(USER, ITEMS).answers} == {
        "backbone"
    }  # no `auto` in this model
    assert ranker.rank(USER, []) == Ranking([], [], [], None)


def test_a_model_or_server_without_rank_is_asked_for_rows(
    peer: Peer, ranker: Ranker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        Ranker(peer.target, NAME, by="ctr") as whole,
        Ranker(peer.target, NAME, by="ctr", signature="serving_default") as rows,
    ):
        assert rows.rank(USER, ITEMS, "all") == whole.rank(USER, ITEMS, "all")
    asked: list[str] = []
    signatures = Client.signatures

    def without_rank(client: Client) -> dict[str, Any]:
        asked.append("metadata")
        return {name: made for name, made in signatures(client).items() if name != "rank"}

    monkeypatch.setattr(Client, "signatures", without_rank)
    assert [ranker.rank(USER, ITEMS, "all").order for _ in range(3)] == [[1, 2, 0, 3]] * 3
    assert asked == ["metadata"]  # once, not before every request


def test_another_domain_is_scored_in_the_same_request(ranker: Ranker) -> None:
    both = ranker.rank(USER, ITEMS, "all", shadow_domain="scene=home")
    assert both.shadow is not None
    assert [answer["served_domain"] for answer in both.answers] == ["all"] * 4
    assert [answer["served_domain"] for answer in both.shadow.answers] == ["scene=home"] * 4
    assert (
        both.scores == ranker.rank(USER, ITEMS, "all").scores and both.shadow.scores == both.scores
    )
    of_user = ranker.rank({**USER, "domain": "all"}, ITEMS, "moon", shadow_domain="scene=home")
    assert of_user == both


def test_another_version_is_asked_at_the_same_time(exported: dict[int, Path]) -> None:
    two = serving(exported[10].parent, policy=VersionPolicy(latest=2))
    with two as peer, Ranker(peer.target, NAME, by="ctr") as ranker:
        both = ranker.rank(USER, ITEMS, "all", shadow_version=9)
        other = ranker.rank(USER, ITEMS, "all", shadow_version=9, shadow_domain="scene=home")
    for ranking, domain in ((both, "all"), (other, "scene=home")):
        assert ranking.shadow is not None and (ranking.version, ranking.shadow.version) == (10, 9)
        assert {answer["version"] for answer in ranking.answers} == {10}
        assert {answer["version"] for answer in ranking.shadow.answers} == {9}
        assert {answer["served_domain"] for answer in ranking.answers} == {"all"}
        assert {answer["served_domain"] for answer in ranking.shadow.answers} == {domain}


def test_a_shadow_that_fails_leaves_the_served_scores(ranker: Ranker) -> None:
    served = ranker.rank(USER, ITEMS, "all")
    for _ in range(2):
        both = ranker.rank(USER, ITEMS, "all", shadow_version=3)
        assert both.scores == served.scores and both.shadow is None
        assert both.shadow_error is not None and "NOT_FOUND" in str(both.shadow_error)


def test_what_cannot_be_ranked(peer: Peer, ranker: Ranker) -> None:
    with (
        Ranker(peer.target, NAME) as by_default,
        pytest.raises(InputError, match="no score 'score'; its outputs are ctr, served_domain"),
    ):
        by_default.rank(USER, ITEMS, "all")
    with pytest.raises(
        InputError, match="signature must be 'rank' or 'serving_default', received 'order'"
    ):
        Ranker(peer.target, NAME, signature="order")
    with pytest.raises(InputError, match="item 1: price must be"):
        ranker.rank(USER, [{}, {"price": "dear"}], "all", shadow_version=3)
