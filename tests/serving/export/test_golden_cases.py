"""The golden cases and warm-up requests of a version: what they cover, and that they hold."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from configs import Experiment
from preprocessing.features.transform import transform_outputs
from serving.export import golden_cases
from serving.export.export_manifest import EXTRA
from serving.export.version_writer import export
from serving.server.servable import Servable
from serving.wire.row_codec import encode_rank, encode_rows
from serving.wire.signatures import WARM_UP_FILE
from serving.wire.tensor_protos import decode
from serving.wire.tf_examples import example
from tests.serving.jobs import GOLDEN, add_kernel, kernel_shape, loud_job, made_up
from trainer.job import Job
from trainer.registry.kernel_registry import KernelStore

ACTIVE = ("region=r1,scene=home", "scene=home", "all")
SIGNATURES = {"serving_default", "rank", "examples", "all_domains"}


@pytest.fixture(scope="module")
def job(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Job:
    job = loud_job(tmp_path_factory.mktemp("golden"), experiment, made_up(experiment))
    shape = kernel_shape(job)
    for seed, domain in enumerate(ACTIVE):
        add_kernel(KernelStore(job), domain, shape, seed)
    return job


@pytest.fixture(scope="module")
def models(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 2 has one kernel more than 1, on which it is built."""
    models = tmp_path_factory.mktemp("models")
    export(job, models)
    add_kernel(KernelStore(job), "region=r2", KernelStore(job).load("all", 1).shape, 9)
    export(job, models)
    return models


def cases(version: Path) -> list[dict[str, Any]]:
    content = json.loads((version / EXTRA / golden_cases.FILE).read_text())
    assert content["tolerance"] == 1e-5
    found: list[dict[str, Any]] = content["cases"]
    return found


def inputs(servable: Servable, case: dict[str, Any]) -> Any:
    signature, rows = servable.signatures[case["signature"]], case["rows"]
    if case["signature"] == "rank":
        return encode_rank(signature, case["shared"], rows, case["domain"])
    if case["signature"] == "examples":
        rows = [{"examples": example(row)} for row in rows]
    return encode_rows(signature, rows, case["domain"])


def worst(servable: Servable, case: dict[str, Any]) -> float:
    """Largest difference of a probability from what a case expects; a name that differs fails."""
    outputs = {
        name: decode(proto)
        for name, proto in servable.predict(case["signature"], inputs(servable, case)).items()
    }
    assert outputs.keys() == case["expected"].keys()
    for name in ("served_domain", "domains"):
        if name in outputs:
            assert [text.decode() for text in outputs.pop(name)] == case["expected"][name]
    return max(
        float(np.abs(values - np.array(case["expected"][name])).max())
        for name, values in outputs.items()
    )


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_version_passes_its_own_cases(models: Path, version: str) -> None:
    servable = Servable(int(version), models / version)
    for case in cases(models / version):
        assert worst(servable, case) <= 1e-5, (case["signature"], case["domain"])
    servable.close()


def test_the_cases_cover_every_signature_and_kind_of_domain(models: Path) -> None:
    found = cases(models / "2")
    assert {case["signature"] for case in found} == SIGNATURES
    by_name = {case["domain"]: case for case in found if case["signature"] == "serving_default"}
    assert {"auto", "backbone", golden_cases.UNKNOWN, "region=r2", "all"} <= set(
        by_name
    )  # r2 is new in this version
    assert by_name[golden_cases.UNKNOWN]["expected"] == by_name["auto"]["expected"]
    assert len(set(by_name["auto"]["expected"]["served_domain"])) > 2
    together = next(case for case in found if case["signature"] == "all_domains")
    assert sorted(together["expected"]["domains"]) == sorted([*ACTIVE, "region=r2", "backbone"])
    assert {case["domain"] for case in found if case["signature"] == "rank"} > {"auto"}


def test_gated_kernels_pass_their_cases_too(job: Job, tmp_path: Path) -> None:
    """Built on a version that has another kernel in the slot, so that the cases come from the
    stored taps.
    """
    gated = Job(shutil.copytree(job.folder, tmp_path / "job"))
    store = KernelStore(gated)
    plain = store.load("all", 1).shape
    shape = replace(
        plain,
        user="user_id",
        support=transform_outputs(gated.experiment(), gated.fitted())["user_id"].size,
    )
    for domain in store.active():
        store.deactivate(domain)
    for seed in (5, 6):
        add_kernel(store, "scene=home", shape, seed)
        version = export(gated, tmp_path / "models")
    servable = Servable(2, version)
    assert max(worst(servable, case) for case in cases(version)) <= 1e-5
    expected = [
        next(case for case in cases(tmp_path / "models" / name) if case["domain"] == "scene=home")[
            "expected"
        ]
        for name in "12"
    ]
    assert np.abs(np.subtract(expected[0]["ctr"], expected[1]["ctr"])).max() > 0.01
    servable.close()


def test_a_kernel_that_is_not_the_expected_one_fails(
    job: Job, models: Path, tmp_path: Path
) -> None:
    """The cases come from the trainer's path, so a wrong slot or a wrong kernel in the version
    shows.
    """
    store = KernelStore(job)
    add_kernel(store, "all", store.load("all", 1).shape, 77)
    servable = Servable(3, export(job, tmp_path))
    store.activate("all", 1)
    failed = {
        (case["signature"], case["domain"])
        for case in cases(models / "2")
        if worst(servable, case) > 1e-5
    }
    assert ("serving_default", "all") in failed
    assert ("serving_default", "scene=home") not in failed
    servable.close()


def test_warm_up_requests_are_answered(models: Path, job: Job) -> None:
    servable = Servable(2, models / "2")
    asked = []
    for record in tf.data.TFRecordDataset(str(models / "2" / WARM_UP_FILE)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        assert log.WhichOneof("log_type") == "predict_log"
        request: predict_pb2.PredictRequest = log.predict_log.request
        outputs = servable.predict(request.model_spec.signature_name, request.inputs)
        asked.append((request.model_spec.signature_name, len(decode(outputs["ctr"]))))
        assert request.model_spec.name == models.name
    assert {signature for signature, _ in asked} == SIGNATURES
    for signature in SIGNATURES:
        rows = {1} if signature == "rank" else {1, GOLDEN}  # batching joins no several items
        assert {count for name, count in asked if name == signature} == rows
    servable.close()


def test_an_example_leaves_out_what_is_missing() -> None:
    parsed = tf.train.Example.FromString(
        example(
            {
                "a": "x",
                "b": "",
                "c": None,
                "d": 1.5,
                "e": float("nan"),
                "f": 1700000003,
                "g": ["y", "", None],
            }
        )
    )
    features = parsed.features.feature
    assert set(features) == {"a", "d", "f", "g"}
    assert features["a"].bytes_list.value == [b"x"]
    assert features["d"].float_list.value == [1.5]
    assert features["f"].int64_list.value == [1700000003]
    assert features["g"].bytes_list.value == [b"y"]
