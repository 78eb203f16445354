"""Rows are counted by the domain that was asked for and the one that answered, scores by the
latter; names of labels are the model's, whatever peers invent.
"""

import time

import grpc
import numpy as np
import pytest

from serving.server.rest import domain_labels
from serving.server.rest.prometheus import Metrics, Served
from serving.server.version_facts import VersionFacts
from serving.wire.messages import DataType, PredictRequest, PredictResponse
from serving.wire.signatures import DOMAIN, SERVED_DOMAIN
from serving.wire.tensor_protos import encode

CROSS = "region=r1,scene=home"


def served(*domains: str) -> Served:
    """One model ``m``, whose version 3 knows these domains; any domains where none is given."""
    return lambda: {"m": {3: VersionFacts(frozenset(domains) if domains else None)}}


def observed(
    metrics: Metrics,
    asked: list[str],
    served: list[str],
    model: str = "m",
    scores: list[float] | None = None,
) -> None:
    def texts(names: list[str]) -> object:
        return encode(np.array([name.encode() for name in names], object), DataType.DT_STRING)

    request = PredictRequest(model_spec={"name": model}, inputs={DOMAIN: texts(asked)})
    response = PredictResponse(outputs={SERVED_DOMAIN: texts(served)})
    if scores is not None:
        response.outputs["score"].CopyFrom(encode(scores, DataType.DT_FLOAT))
    metrics.observe(request, grpc.StatusCode.OK, 0.001, response)


def samples(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """Values of the labels, in the order of the labels' names -> value."""
    found = {}
    for line in metrics.text().decode().splitlines():
        if line.startswith(f"{name}{{"):
            labels, _, value = line.rpartition(" ")
            found[tuple(part.split('"')[1] for part in labels.split('",'))] = float(value)
    return found


def rows(metrics: Metrics) -> dict[tuple[str, ...], float]:
    return samples(metrics, "recommender_rows_total")


def test_rows_are_counted_by_pair() -> None:
    metrics = Metrics(served("all", "scene=home", CROSS))
    observed(metrics, ["scene=home", "moon", "moon"], ["scene=home", "all", "backbone"])
    observed(metrics, ["moon"], ["all"] * 3)  # one domain for all rows, as ``rank`` asks
    observed(metrics, ["scene=home,region=r1", ""], [CROSS, "all"])
    observed(metrics, ["all"], ["all"], model="invented")
    assert rows(metrics) == {  # asked domain, model, served domain
        ("scene=home", "m", "scene=home"): 1.0,
        ("(unknown)", "m", "all"): 4.0,
        ("(unknown)", "m", "backbone"): 1.0,
        (CROSS, "m", CROSS): 1.0,
        ("auto", "m", "all"): 1.0,
        ("all", "", "all"): 1.0,
    }


@pytest.mark.parametrize("known", [("all",), ()])
def test_a_peer_s_invented_names_are_one_label(known: tuple[str, ...]) -> None:
    metrics = Metrics(served(*known))
    for number in range(50):
        observed(metrics, [f"name={number}"], ["all"])
    observed(metrics, ["x" * 1000], ["all"])
    assert rows(metrics) == {("(unknown)", "m", "all"): 51.0}


def test_where_no_file_names_domains_those_that_have_answered_are_known() -> None:
    metrics = Metrics(served())
    for _ in range(2):
        observed(metrics, ["scene=home", "moon"], ["scene=home", "all"])
    assert rows(metrics) == {
        ("scene=home", "m", "scene=home"): 2.0,
        ("(unknown)", "m", "all"): 2.0,
    }


def test_a_graph_that_answers_with_what_it_was_asked_is_bounded_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(domain_labels, "MOST", 3)
    metrics = Metrics(served())
    for number in range(10):
        observed(metrics, ["auto"], [f"name{number}"])
    names = {labels[2] for labels in rows(metrics)}
    assert "(other)" in names and len(names) <= 4 and sum(rows(metrics).values()) == 10


def test_scores_are_counted_in_buckets_by_hand() -> None:
    metrics = Metrics(served("all"))
    scores = [0.05, 0.06, 0.4, 7.0, float("nan")]
    observed(metrics, ["auto"], ["all", "all", "backbone", "all", "all"], scores=scores)
    found = samples(metrics, "recommender_score_bucket")
    of_all = {bound: count for (bound, _, name), count in found.items() if name == "all"}
    assert (of_all["0.03"], of_all["0.1"], of_all["1.0"], of_all["+Inf"]) == (0, 2, 2, 3)
    assert samples(metrics, "recommender_score_count") == {("m", "all"): 3, ("m", "backbone"): 1}
    assert samples(metrics, "recommender_score_sum")["m", "all"] == pytest.approx(7.11)


def test_ages_are_those_of_what_is_served() -> None:
    now = time.time()
    facts = {2: VersionFacts(None, now - 3600, now - 7200), 3: VersionFacts()}
    metrics = Metrics(lambda: {"m": facts})
    model = samples(metrics, "recommender_model_age_seconds")
    backbone = samples(metrics, "recommender_backbone_age_seconds")
    assert model.keys() == backbone.keys() == {("m", "2")}
    assert 3600 <= model["m", "2"] < 3600 + 600 and 7200 <= backbone["m", "2"] < 7200 + 600


def test_what_failed_or_names_no_domain_counts_no_row() -> None:
    metrics = Metrics(served())
    request = PredictRequest(model_spec={"name": "m"})
    metrics.observe(request, grpc.StatusCode.OK, 0.1, PredictResponse())
    metrics.observe(request, grpc.StatusCode.NOT_FOUND, 0.1)
    assert rows(metrics) == {}
    assert b'status="NOT_FOUND"' in metrics.text()


def test_what_fails_in_watching_is_said_and_raises_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Metrics(lambda: 1 / 0).observe(  # type: ignore[arg-type, return-value]
        PredictRequest(), grpc.StatusCode.OK, 0.1
    )
    assert capsys.readouterr().err == "metrics: ZeroDivisionError: division by zero\n"
