"""The dashboard and the alert rules ask for metrics and labels that the server has."""

import json
import re
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import promql_parser
import pytest
import yaml
from pydantic import Field

from configs.section import Section
from serving.server.request_log.sampled_log import DROPPED, FAILED, WRITTEN
from serving.server.request_log.slow_requests import SLOW
from serving.server.rest.prometheus import Metrics
from serving.server.version_facts import VersionFacts
from serving.wire.messages import DataType, PredictRequest, PredictResponse
from serving.wire.signatures import DOMAIN, SERVED_DOMAIN
from serving.wire.tensor_protos import encode
from tests.conftest import ROOT

FOLDER = ROOT / "serving" / "monitoring"
SCRAPED = {"instance", "job"}
"""Labels that Prometheus adds to what it asks for."""
DURATION = r"^\d+[smhd]$"


class Rule(Section):
    """An alert, as Prometheus' rule files have it."""

    alert: str
    expr: str
    lasting: str = Field(pattern=DURATION)
    labels: dict[str, str]
    annotations: dict[str, str]


class Group(Section):
    """Rules that are evaluated together."""

    name: str
    rules: list[Rule]


class RuleFile(Section):
    """A whole file of rules."""

    groups: list[Group]


@pytest.fixture(scope="module")
def told() -> dict[str, set[str]]:
    """Name of each sample that a server which has everything on tells -> its labels."""
    kept = {WRITTEN: 1, DROPPED: 0, FAILED: 0, SLOW: 1}
    metrics = Metrics(lambda: {"m": {1: VersionFacts(frozenset(["all"]), 0.0, 0.0)}}, lambda: kept)
    texts = encode(np.array([b"all"], object), DataType.DT_STRING)
    request = PredictRequest(model_spec={"name": "m"}, inputs={DOMAIN: texts})
    outputs = {SERVED_DOMAIN: texts, "score": encode([0.5], DataType.DT_FLOAT)}
    metrics.observe(request, grpc.StatusCode.OK, 0.1, PredictResponse(outputs=outputs))
    found: dict[str, set[str]] = {}
    # Not the library's own parser, which renames counters.
    for name, labels in re.findall(r"^([\w:]+)(?:\{(.*)\})? ", metrics.text().decode(), re.M):
        found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


def rules() -> list[Rule]:
    content = yaml.safe_load((FOLDER / "alerts.yaml").read_text())
    for group in content["groups"]:
        for rule in group["rules"]:
            rule["lasting"] = rule.pop("for")  # no name of Python's
    return [rule for group in RuleFile.model_validate(content).groups for rule in group.rules]


def dashboard() -> Any:
    return json.loads((FOLDER / "dashboard.json").read_text())


def expressions() -> dict[str, str]:
    """Every PromQL expression by where it stands, Grafana's variables filled in."""
    found = {rule.alert: rule.expr for rule in rules()}
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            text = target["expr"].replace("$__rate_interval", "5m")
            found[f"{panel['title']} {target['refId']}"] = re.sub(r"\$\w+", ".*", text)
    return found


def read(expression: str) -> Iterator[tuple[str, set[str]]]:
    """The samples that an expression reads, and the labels that it matches of each."""
    visited: list[Any] = []
    promql_parser.walk(promql_parser.parse(expression), visited.append)
    for node in visited:
        if isinstance(node, promql_parser.VectorSelector):
            yield node.name, {matcher.name for matcher in node.matchers.matchers}


@pytest.mark.parametrize("place", expressions())
def test_what_is_asked_for_is_there(place: str, told: dict[str, set[str]]) -> None:
    asked = list(read(expressions()[place]))
    assert asked
    for name, labels in asked:
        assert name in told, f"{place}: no server tells {name}"
        assert labels <= told[name] | SCRAPED


def test_rules_say_what_to_do() -> None:
    named = [rule.alert for rule in rules()]
    assert len(named) == len(set(named)) >= 8
    for rule in rules():
        assert rule.labels["severity"] in ("page", "ticket")
        assert set(rule.annotations) == {"summary", "description"}


def test_legends_and_summaries_show_labels_that_expressions_keep(
    told: dict[str, set[str]],
) -> None:
    """A label that an aggregation drops would be shown empty."""
    texts = {rule.alert: (rule.expr, rule.annotations["summary"]) for rule in rules()}
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            texts[panel["title"]] = (target["expr"], target["legendFormat"])
    for place, (expression, shown) in texts.items():
        labels = set(re.findall(r"\{\{ ?(?:\$labels\.)?([a-z_]+) ?\}\}", shown)) - {"le"}
        kept = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", expression))))
        assert labels <= kept, place


def test_panels_stand_side_by_side() -> None:
    content = dashboard()
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in content["panels"]]
    ids = [panel["id"] for panel in content["panels"]]
    assert len(set(places)) == len(places) == len(set(ids))
    variables = {variable["name"] for variable in content["templating"]["list"]}
    used = set(re.findall(r"\$(\w+)", json.dumps(content["panels"])))
    assert used - {"__rate_interval", "labels", "value"} <= variables


def test_variables_are_filled_from_what_is_told(told: dict[str, set[str]]) -> None:
    for variable in dashboard()["templating"]["list"]:
        if match := re.fullmatch(r"label_values\((\w+), (\w+)\)", variable.get("definition", "")):
            assert match[2] in told[match[1]]
