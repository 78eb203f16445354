"""The typed result: JSON as older code wrote it, and damage named in one line."""

import json

import pytest

from configs.domains import is_single_topic
from configs.errors import InputError
from configs.section import read_section
from tests.trainer.reports.made_results import make_older_result, make_result
from trainer.metrics.results import (
    DomainComparison,
    DomainDecision,
    DomainResult,
    EvaluationResult,
    mean_gain,
)


@pytest.fixture
def result():
    return make_result()


def test_json_is_kept_key_by_key(result):
    read = EvaluationResult.model_validate(result)
    assert json.dumps(read.to_json()) == json.dumps(result)


def test_an_older_file_is_read_without_what_came_later(tmp_path):
    result = make_older_result()
    del result["mean"]
    assert "ranking" not in result
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(result))
    read = read_section(path, EvaluationResult)
    assert (read.mean, read.config, read.backbone_seen, read.has_all) == (None, None, None, False)
    for domain in read.domains.values():
        later = (domain.served_domain, domain.version, domain.decision, domain.seen)
        assert later == (None, None, None, None)
        cell = domain.tasks["ctr"]["auc"]
        assert {cell.all, cell.delta_all, cell.ci95_all} == {"undefined"}
    assert read.ranked == ("ctr", "ctcvr")
    assert_has(read.to_json(), result)


def assert_has(found, expected):
    """Every key of what is expected, at any depth, with its value."""
    if isinstance(expected, dict):
        for key, value in expected.items():
            assert_has(found[key], value)
    else:
        assert found == expected


def test_a_domain_has_its_tasks_beside_its_rows(result):
    content = result["domains"]["region=9"]
    read = DomainResult.model_validate(content)
    assert (read.rows, read.active, read.version) == (5_000, False, 2)
    assert read.decision == DomainDecision(**content["decision"])
    assert read.tasks["ctcvr"]["pcoc"] == DomainComparison(**content["ctcvr"]["pcoc"])
    small = DomainResult(rows=5_000, active=False, tasks=read.tasks)
    assert DomainResult.model_validate(small.model_dump(mode="json")) == small


def damaged(*path, value):
    def change(content):
        for key in path[:-1]:
            content = content[key]
        if value is None:
            del content[path[-1]]
        else:
            content[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (damaged("overall", value=None), "overall: Field required"),
        (damaged("domains", "all", "rows", value="many"), "domains.all.rows: "),
        (
            damaged("domains", "all", "cvr", value=None),
            "domains.all: expected ctr, cvr, ctcvr; received",
        ),
        (damaged("domains", "all", "ctr", "auc", value=None), "expected auc, gauc, log_loss"),
        (damaged("domains", "all", "ctr", "auc", "delta", value="no"), "tasks.ctr.auc.delta"),
        (damaged("domains", "all", "ctr", "auc", "ci95", value=[0.1]), "tasks.ctr.auc.ci95"),
        (damaged("overall", "ctr", "auc", "kernel", value=True), "overall.ctr.auc.kernel"),
        (damaged("oracle", "ctr", "auc", value="0.7"), "oracle.ctr.auc"),
        (damaged("surplus", value=1), "unknown key 'surplus'"),
        (damaged("domains", "all", "ctr", "auc", "ci95_all", value=[1]), "ctr.auc.ci95_all"),
        (damaged("domains", "all", "decision", "outcome", value="on"), "decision.outcome"),
        (
            damaged("domains", "all", "positives", "cvr", value=None),
            "domains.all.positives: expected ctr",
        ),
        (damaged("domains", "all", "seen", value=["test"]), "domains.all.seen"),
    ],
)
def test_damage_is_named_in_one_line(result, tmp_path, change, words):
    change(result)
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(result))
    with pytest.raises(InputError) as error:
        read_section(path, EvaluationResult)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert words in message
    assert "\n" not in message


def test_single_topics_and_their_mean(result):
    domains = EvaluationResult.model_validate(result).domains
    assert [name for name in domains if is_single_topic(name)] == [
        "region=25",
        "region=9",
        "period=noon",
    ]
    mean = mean_gain(domains, "ctr")
    assert mean.delta == pytest.approx(0.0078)
    assert (mean.ci95, mean.domains, mean.off) == ("undefined", 2, 1)
    assert mean.delta_all == pytest.approx((0.001 - 0.0123) / 2)
    assert mean.ci95_all == "undefined"
    nothing = mean_gain({"all": domains["all"]}, "ctr")
    assert (nothing.delta, nothing.domains, nothing.off) == ("undefined", 0, 0)


def test_a_stored_mean_goes_before_one_without_an_interval(result):
    read = EvaluationResult.model_validate(result)
    assert read.mean_gain("ctcvr").ci95 == (0.0051, 0.0102)
    result["mean"] = None
    assert EvaluationResult.model_validate(result).mean_gain("ctcvr").ci95 == "undefined"
