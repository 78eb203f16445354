"""Kernels that answer a row together in a served model: every signature follows the rule, whatever
kernels are added later.
"""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs import Experiment, load_experiment
from configs.training import Routing
from preprocessing.logs.schema import served_columns
from serving.export.version_writer import export
from serving.server.servable import Servable
from serving.server.servable_loader import check_files, check_scores
from serving.wire.row_codec import decode_rows, encode_rank, encode_rows
from tests.conftest import QUICKSTART, SMALL
from tests.serving.jobs import add_kernel, kernel_shape, loud_job, made_up
from trainer.job import Job
from trainer.registry.kernel_registry import KernelStore

SHARE = 0.5
CROSS, ADDED = "region=r1,scene=home", "period=lunch"
ACTIVE = ("all", "scene=home", "scene=search", "region=r1", "region=r2", CROSS)
LUNCH, EVENING = "2025-03-08T15:00:00Z", "2025-03-08T21:30:00Z"
Row = dict[str, Any]


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return load_experiment(QUICKSTART, [*SMALL, f"routing.compose={SHARE}"])


@pytest.fixture(scope="module")
def job(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Kernels whose logits are middling, so that probabilities tell them."""
    job = loud_job(tmp_path_factory.mktemp("composed"), experiment, made_up(experiment))
    shape = kernel_shape(job)
    for seed, domain in enumerate((*ACTIVE, ADDED)):
        add_kernel(KernelStore(job), domain, shape, seed, scale=0.7)
    KernelStore(job).deactivate(ADDED)
    return job


@pytest.fixture(scope="module")
def models(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1; 2 with one more kernel, built on it; 3 without all traffic's; 4 where nothing is
    composed any more.
    """
    models = tmp_path_factory.mktemp("models")
    export(job, models)
    other = Job(shutil.copytree(job.folder, tmp_path_factory.mktemp("other") / "job"))
    KernelStore(other).activate(ADDED, 1)
    export(other, models)
    KernelStore(other).deactivate("all")
    export(other, models)
    KernelStore(other).activate("all", 1)
    other.choose_routing(Routing())
    export(other, models)
    return models


@pytest.fixture(scope="module")
def rows(job: Job) -> list[Row]:
    """Of several scenes, regions and periods, of none too."""
    requests = job.golden_requests()
    for number, row in enumerate(requests):
        row["scene"] = ("home", "search", "coupons")[number % 3]
        row["region"] = ("r1", "r2", "r7")[number // 3 % 3]
        row["timestamp"] = LUNCH if number // 9 % 2 else EVENING
    return requests


@pytest.fixture
def servable(models: Path, request: pytest.FixtureRequest) -> Iterator[Servable]:
    """A version, as a server takes it: it gives its golden cases' answers."""
    version = models / str(request.param)
    loaded = Servable(request.param, version)
    assert check_files(version)
    check_scores(loaded, version)
    yield loaded
    loaded.close()


def predict(servable: Servable, rows: list[Row], name: str, domain: str | None) -> list[Row]:
    signature = servable.signatures[name]
    outputs = servable.predict(name, encode_rows(signature, rows, domain))
    return decode_rows(signature, outputs, len(rows))


def domains_of(row: Row) -> list[str]:
    """The single-topic domains that a row matches."""
    period = [ADDED] if row["timestamp"] == LUNCH else []
    return [f"scene={row['scene']}", *period, f"region={row['region']}"]


def logit(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


VERSIONS = {1: ACTIVE, 2: (*ACTIVE, ADDED), 3: (*ACTIVE[1:], ADDED)}


@pytest.mark.parametrize(("servable", "active"), VERSIONS.items(), indirect=["servable"])
def test_rows_are_answered_by_their_domains_together(
    servable: Servable, active: tuple[str, ...], rows: list[Row]
) -> None:
    every = predict(servable, rows, "all_domains", None)
    automatic = predict(servable, rows, "serving_default", "auto")
    assert predict(servable, rows, "serving_default", "no such domain") == automatic
    several = 0
    for row, under, answer in zip(rows, every, automatic, strict=True):
        single = [name for name in domains_of(row) if name in active]
        of = dict(zip(under["domains"], map(logit, under["ctr"]), strict=True))
        start = of["all" if "all" in active else "backbone"]
        if row["scene"] == "home" and row["region"] == "r1":
            expected, served = of[CROSS], CROSS
        else:
            share = SHARE if len(single) > 1 else 1.0
            expected = start + share * sum(of[name] - start for name in single)
            first = "all" if "all" in active else "backbone"
            served = next((name for name in single), first)
            several += len(single) > 1
        assert answer["served_domain"] == served
        assert answer["ctr"] == pytest.approx(1 / (1 + np.exp(-expected)), rel=1e-3, abs=1e-5)
    assert several > 5


@pytest.mark.parametrize("servable", [2], indirect=True)
def test_a_page_is_answered_as_its_rows_are(
    servable: Servable, experiment: Experiment, rows: list[Row]
) -> None:
    items = {column.name for column in served_columns(experiment) if column.side == "item"}
    candidates = [{name: row[name] for name in items} for row in rows]
    signature = servable.signatures["rank"]
    for row in rows[:18]:
        shared = {name: value for name, value in row.items() if name not in items}
        request = encode_rank(signature, shared, candidates, "auto")
        page = decode_rows(signature, servable.predict("rank", request), len(rows))
        written = [shared | item for item in candidates]
        apart = predict(servable, [*written, rows[1]], "serving_default", "auto")[:-1]
        for one, other in zip(page, apart, strict=True):
            assert one["served_domain"] == other["served_domain"]
            assert one["ctcvr"] == pytest.approx(other["ctcvr"], rel=1e-4, abs=1e-6)


def test_a_version_says_whether_kernels_answer_together(models: Path) -> None:
    found = [
        json.loads((models / str(version) / "assets.extra/export.json").read_text())
        for version in (1, 2, 3, 4)
    ]
    assert [record.get("compose") for record in found] == [SHARE, SHARE, SHARE, None]
    assert "compose" not in found[3]
    graphs = [record["files"]["saved_model.pb"]["sha256"] for record in found]
    assert graphs[0] == graphs[1] == graphs[2] != graphs[3]


@pytest.mark.parametrize("servable", [4], indirect=True)
def test_off_the_most_specific_kernel_answers_alone(servable: Servable, rows: list[Row]) -> None:
    every = predict(servable, rows, "all_domains", None)
    for under, answer in zip(
        every, predict(servable, rows, "serving_default", "auto"), strict=True
    ):
        place = under["domains"].index(answer["served_domain"])
        assert answer["ctr"] == pytest.approx(under["ctr"][place], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("servable", [2], indirect=True)
def test_a_domain_that_is_named_answers_alone(servable: Servable, rows: list[Row]) -> None:
    every = predict(servable, rows, "all_domains", None)
    for name in (*ACTIVE, ADDED, "backbone"):
        place = every[0]["domains"].index(name)
        for under, answer in zip(
            every, predict(servable, rows, "serving_default", name), strict=True
        ):
            assert answer["served_domain"] == name
            assert answer["ctr"] == pytest.approx(under["ctr"][place], rel=1e-4, abs=1e-6)
