"""Scores by domain in a served model: every signature ranks a row by the expression of the domain
that was asked for, or of the row's own fields.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow
import numpy as np
import pytest

from configs import Experiment, load_experiment
from serving.client import Client, Ranker
from serving.export.version_writer import export
from tests.conftest import QUICKSTART, SMALL
from tests.serving.conftest import NAME, serving
from tests.serving.jobs import add_kernel, kernel_shape, loud_job, made_up
from trainer.job import Job
from trainer.registry.kernel_registry import KernelStore

SCORES = {
    "scene=home": "cvr - ctr",
    "scene=search": "2 * ctr",
    "region=r1,scene=home": "ctr + 3 * cvr",
    "period=lunch": "1 + ctcvr",
}
SETTINGS = (
    "score=ctr * cvr",
    f"scores={json.dumps(SCORES)}",
)


def of(domain: str, answer: dict[str, Any]) -> float:
    """The score that a domain's expression gives; of none, ``score``'s."""
    names = {name: answer[name] for name in ("ctr", "cvr", "ctcvr")}
    return float(eval(SCORES.get(domain, "ctr * cvr"), {}, names))  # noqa: S307 - ours


def page_of(row: dict[str, Any]) -> str:
    """The most specific domain with an expression that a row's fields match."""
    if row["scene"] == "home" and row["region"] == "r1":
        return "region=r1,scene=home"
    return f"scene={row['scene']}" if row["scene"] in ("home", "search") else "none"


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Kernels for some domains; ``scene=search`` has none."""
    experiment: Experiment = load_experiment(QUICKSTART, [*SMALL, *SETTINGS])
    job = loud_job(tmp_path_factory.mktemp("scores"), experiment, made_up(experiment))
    shape = kernel_shape(job)
    for seed, domain in enumerate(("all", "scene=home", "region=r2")):
        add_kernel(KernelStore(job), domain, shape, seed)
    return job


@pytest.fixture(scope="module")
def models(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    export(job, folder)
    return folder


@pytest.fixture(scope="module")
def target(models: Path) -> Iterator[str]:
    """Of a server; it checked the golden cases before it was there."""
    with serving(models) as peer:
        yield peer.target


@pytest.fixture(scope="module")
def rows(job: Job) -> list[dict[str, Any]]:
    """Of every scene and region, not at lunch."""
    requests = job.golden_requests()
    for number, row in enumerate(requests):
        row["scene"] = ("home", "search", "coupons")[number % 3]
        row["region"] = ("r1", "r2")[number // 3 % 2]
        row["timestamp"] = "2025-03-08T18:00:00Z"
    return requests


@pytest.mark.parametrize("asked", ["auto", "all", "backbone", "no such domain"])
def test_rows_of_no_named_page_are_ranked_by_their_own_fields(
    target: str, rows: list[dict[str, Any]], asked: str
) -> None:
    with Client(target, NAME) as client:
        answers = client.predict(rows, asked)
    for row, answer in zip(rows, answers, strict=True):
        assert answer["score"] == pytest.approx(of(page_of(row), answer), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(
    ("asked", "page", "served"),
    [
        ("scene=home", "scene=home", "scene=home"),
        ("scene=search", "scene=search", "all"),  # no kernel of its own
        ("scene=home,region=r1", "region=r1,scene=home", None),
        ("region=r2,scene=home", "scene=home", None),
        ("region=r2", "none", "region=r2"),
    ],
)
def test_the_asked_domain_says_how_whichever_kernel_answers(
    target: str, rows: list[dict[str, Any]], asked: str, page: str, served: str | None
) -> None:
    with Client(target, NAME) as client:
        answers = client.predict(rows, asked)
    for answer in answers:
        assert answer["score"] == pytest.approx(of(page, answer), rel=1e-5, abs=1e-6)
        assert served in (None, answer["served_domain"])


def test_pages_of_a_ranker_and_of_one_request(target: str, rows: list[dict[str, Any]]) -> None:
    row = rows[0]
    user = {name: row[name] for name in ("user_id", "scene", "region", "timestamp")}
    items = [{"shop_id": f"s{number}"} for number in range(6)]
    with Ranker(target, NAME) as ranker:
        for domain, page in (("auto", page_of(row)), ("scene=search", "scene=search")):
            ranking = ranker.rank(user, items, domain)
            expected = [of(page, answer) for answer in ranking.answers]
            assert ranking.scores == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_all_domains_answers_as_if_each_were_asked_for(
    target: str, rows: list[dict[str, Any]]
) -> None:
    with Client(target, NAME) as client:
        together = client.predict(rows, signature="all_domains")
        names = together[0]["domains"]
        apart = {name: client.predict(rows, name) for name in names}
    assert names == ["backbone", "scene=home", "region=r2", "all"]
    for number, answer in enumerate(together):
        expected = [apart[name][number]["score"] for name in names]
        np.testing.assert_allclose(answer["score"], expected, rtol=1e-5, atol=1e-6)


def test_a_version_says_which_page_is_ranked_by_what(models: Path, job: Job) -> None:
    extra = models / "1" / "assets.extra"
    record = json.loads((extra / "export.json").read_text())
    assert record["scores"] == {"all": "ctr * cvr", **SCORES}
    asked = {case["domain"] for case in json.loads((extra / "golden.json").read_text())["cases"]}
    assert asked >= SCORES.keys()
