"""One request: its predictions are those that are served, and effects are those reckoned by
hand.
"""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest

from configs import Experiment, InputError
from preprocessing.features.transform import Transform
from serving.export.reference_scores import stored_scores
from tests.tasks import RANKING
from tests.trainer.conftest import one_line
from trainer.backbone.frozen_pass import feature_tensors
from trainer.explanation.explain import explain_example, explain_request
from trainer.job import Job
from trainer.kernels.scoring import predicted_rows
from trainer.metrics.explanation_results import ExplainedRow, InputEffect, RequestExplanation
from trainer.metrics.results import Pair
from trainer.registry.golden_scores import record_batch
from trainer.reports.explanation_text import render_request

NOTHING = Pair(backbone=0.0, kernel=0.0)


@pytest.fixture(scope="module")
def requests(job_dir: Path) -> list[dict[str, Any]]:
    """Golden requests, the first of which lacks some features."""
    found = Job(job_dir).golden_requests()[:8]
    found[0] = found[0] | {"rating": None, "cuisine": None, "history": []}
    return found


@pytest.fixture(scope="module")
def example(
    experiment: Experiment, job_dir: Path, requests: list[dict[str, Any]]
) -> RequestExplanation:
    return explain_example(experiment, Job(job_dir), requests, "requests")


@pytest.fixture(scope="module")
def logged(logs: Path) -> dict[str, list[dict[str, Any]]]:
    """Rows of the last day by request."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in pq.read_table(sorted(logs.glob("*.parquet"))[-1]).to_pylist():
        found.setdefault(row["request_id"], []).append(row)
    return found


def effects_of(row: ExplainedRow) -> dict[str, InputEffect]:
    return {one.input: one for one in row.inputs}


def test_predictions_are_those_of_the_trainer(
    example: RequestExplanation,
    experiment: Experiment,
    job_dir: Path,
    requests: list[dict[str, Any]],
) -> None:
    batch = record_batch(experiment, requests, "requests")
    scores = stored_scores(Job(job_dir), experiment, batch)
    (alone, _), (served, domains) = (scores.scores_for(name) for name in ("backbone", "auto"))
    assert [row.served_domain for row in example.rows] == domains
    for place, row in enumerate(example.rows):
        assert list(row.outputs) == [*RANKING, "score"]
        for name, pair in row.outputs.items():
            assert pair.backbone == pytest.approx(alone[name][place], abs=1e-6)
            assert pair.kernel == pytest.approx(served[name][place], abs=1e-6)


def test_an_effect_is_what_is_predicted_less_what_is_predicted_without(
    example: RequestExplanation,
    experiment: Experiment,
    job_dir: Path,
    frozen: keras.Model,
    requests: list[dict[str, Any]],
) -> None:
    """A client that leaves a feature out gets what is predicted without."""
    transform = Transform(experiment, Job(job_dir).fitted())

    def predicted(**changed: Any) -> dict[str, Any]:
        batch = record_batch(experiment, [row | changed for row in requests], "requests")
        columns = transform.apply_batch(batch)
        logits = frozen(feature_tensors(columns, frozen), training=False)["logits"]
        return predicted_rows(experiment.tasks, logits.numpy())

    full = predicted()
    for name, missing in (("shop_id", None), ("delivery_minutes", None), ("history", [])):
        left = predicted(**{name: missing})
        for place, row in enumerate(example.rows):
            for task in RANKING:
                moved = effects_of(row)[name].effects[task].backbone
                assert moved == pytest.approx(full[task][place] - left[task][place], abs=1e-6)
    assert any(effects_of(row)["shop_id"].effects["ctr"].kernel for row in example.rows)


def test_what_is_missing_already_moves_exactly_nothing(example: RequestExplanation) -> None:
    first = effects_of(example.rows[0])
    for name in ("rating", "cuisine", "history"):
        assert first[name].missing
        assert set(map(Pair.model_dump_json, first[name].effects.values())) == {
            NOTHING.model_dump_json()
        }
    assert first["cuisine"].value is None
    assert first["history"].value is None
    second = effects_of(example.rows[1])
    assert not second["cuisine"].missing
    assert second["cuisine"].effects["ctr"] != NOTHING


def test_inputs_stand_by_what_they_do_to_the_score_and_show_what_the_model_reads(
    example: RequestExplanation, requests: list[dict[str, Any]]
) -> None:
    for row, request in zip(example.rows, requests, strict=True):
        moved = [abs(float(one.effects["score"].kernel)) for one in row.inputs]
        assert moved == sorted(moved, reverse=True)
        effects = effects_of(row)
        assert "position" not in effects  # nobody reads it
        assert effects["shop_id"].value in (request["shop_id"], "unknown")
        assert effects["scene"].value == request["scene"]


def test_a_request_of_the_log_is_found_and_explained_as_its_rows_are(
    experiment: Experiment,
    dataset_dir: Path,
    job_dir: Path,
    logged: dict[str, list[dict[str, Any]]],
) -> None:
    name, rows = next((name, rows) for name, rows in logged.items() if len(rows) > 2)
    found = explain_request(experiment, dataset_dir, Job(job_dir), name)
    assert (found.request, found.split) == (name, "test")
    assert len(found.rows) == len(rows)
    raw = [row | {"timestamp": row["timestamp"].timestamp()} for row in rows]
    same = explain_example(experiment, Job(job_dir), raw, "log")

    def predicted(explained: RequestExplanation) -> list[list[float]]:
        return sorted(
            [float(pair.kernel) for pair in row.outputs.values()] for row in explained.rows
        )

    np.testing.assert_allclose(predicted(found), predicted(same), atol=1e-6)
    text = render_request(found)
    assert f"request '{name}' of split 'test': {len(rows)};" in text
    assert text.count("\nrow ") == len(rows)


def test_an_unknown_request_is_refused(
    experiment: Experiment, dataset_dir: Path, job_dir: Path
) -> None:
    with pytest.raises(InputError, match=r"no row of split 'test' .* has this request_id") as error:
        explain_request(experiment, dataset_dir, Job(job_dir), "nobody's")
    one_line(error)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"rating": "much"}, "FILE: .*rating"),
        ({"ratng": 4.0}, "FILE: no row has a feature; expected some of"),
    ],
)
def test_rows_that_cannot_be_read_are_refused(
    experiment: Experiment, job_dir: Path, row: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        explain_example(experiment, Job(job_dir), [row], "FILE")
    one_line(error)


def test_columns_that_nobody_reads_are_told(
    experiment: Experiment,
    job_dir: Path,
    requests: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [requests[0] | {"position": "1", "click": 1}]
    explain_example(experiment, Job(job_dir), rows, "FILE")
    assert "note: FILE: not read: click, position" in capsys.readouterr().err.splitlines()


def test_a_key_that_was_never_seen_moves_nothing(
    memory_experiment: Experiment, memory_job: Path
) -> None:
    job = Job(memory_job)
    known, *_ = job.golden_requests(memory_experiment)
    rows = [known, known | {"shop_id": "no such shop"}]
    found = explain_example(memory_experiment, job, rows, "requests")
    seen, unseen = (effects_of(row) for row in found.rows)
    for name in ("memory/shop", "memory/shop_scene"):
        assert unseen[name].missing
        assert unseen[name].effects["score"] == NOTHING
        assert not seen[name].missing
        assert seen[name].effects["score"].backbone == 0.0
        assert seen[name].effects["score"].kernel != 0.0
    assert json.loads(found.model_dump_json())["rows"][0]["inputs"]
