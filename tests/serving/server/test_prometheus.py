"""Rows are counted by the domain that was asked for and the one that answered."""

import grpc
import numpy as np
import pytest

from serving.server.rest import prometheus
from serving.server.rest.prometheus import Metrics
from serving.wire.messages import DataType, PredictRequest, PredictResponse
from serving.wire.signatures import DOMAIN, SERVED_DOMAIN
from serving.wire.tensor_protos import encode


def observed(metrics: Metrics, asked: list[str], served: list[str], model: str = "m") -> None:
    def texts(names: list[str]) -> object:
        return encode(np.array([name.encode() for name in names], object), DataType.DT_STRING)

    request = PredictRequest(model_spec={"name": model}, inputs={DOMAIN: texts(asked)})
    response = PredictResponse(outputs={SERVED_DOMAIN: texts(served)})
    metrics.observe(request, grpc.StatusCode.OK, 0.001, response)


def rows(metrics: Metrics) -> dict[tuple[str, ...], float]:
    found = {}
    for line in metrics.text().decode().splitlines():
        if line.startswith("recommender_rows_total{"):
            labels, _, value = line.rpartition(" ")
            asked, model, served = (part.split('"')[1] for part in labels.split('",'))
            found[model, asked, served] = float(value)
    return found


def test_rows_are_counted_by_pair() -> None:
    metrics = Metrics(lambda name: name == "m")
    observed(metrics, ["scene=home", "moon", "moon"], ["scene=home", "all", "backbone"])
    observed(metrics, ["moon"], ["all"] * 3)  # one domain for all rows, as ``rank`` asks
    observed(metrics, ["moon"], ["all"], model="invented")
    assert rows(metrics) == {
        ("m", "scene=home", "scene=home"): 1.0,
        ("m", "moon", "all"): 4.0,
        ("m", "moon", "backbone"): 1.0,
        ("", "moon", "all"): 1.0,
    }


def test_invented_names_do_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "_MOST_DOMAINS", 3)
    metrics = Metrics(lambda name: True)
    for number in range(10):
        observed(metrics, [f"name{number}"], ["all"])
    observed(metrics, ["x" * 1000], ["all"])
    asked = {labels[1] for labels in rows(metrics)}
    assert asked == {"name0", "name1", "(other)"} and sum(rows(metrics).values()) == 11


def test_what_failed_or_names_no_domain_counts_no_row() -> None:
    metrics = Metrics(lambda name: True)
    request = PredictRequest(model_spec={"name": "m"})
    metrics.observe(request, grpc.StatusCode.OK, 0.1, PredictResponse())
    metrics.observe(request, grpc.StatusCode.NOT_FOUND, 0.1)
    assert rows(metrics) == {}
    assert b'status="NOT_FOUND"' in metrics.text()


def test_what_fails_in_watching_is_said_and_raises_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Metrics(lambda name: 1 / 0 > 0).observe(PredictRequest(), grpc.StatusCode.OK, 0.1)
    assert capsys.readouterr().err == "metrics: ZeroDivisionError: division by zero\n"
