"""Warm-up requests are run before a version can be asked; a file that holds something else keeps
the version from being served.
"""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from serving.server.model_versions import State
from serving.server.servable import Servable
from serving.server.servable_loader import load, warm_up_requests
from serving.wire.errors import StatusError
from serving.wire.signatures import WARM_UP_FILE
from tests.serving.conftest import NAME, good_request, serving


@pytest.fixture
def version(tmp_path: Path, exported: dict[int, Path]) -> Path:
    """A copy of version 9, to put a warm-up file into."""
    path = tmp_path / "9"
    shutil.copytree(exported[9], path)
    (path / WARM_UP_FILE).parent.mkdir()
    return path


def log(**changed: Any) -> bytes:
    request = predict_pb2.PredictRequest.FromString(good_request(**changed).SerializeToString())
    return bytes(
        prediction_log_pb2.PredictionLog(predict_log={"request": request}).SerializeToString()
    )


def write(version: Path, *records: bytes) -> None:
    with tf.io.TFRecordWriter(str(version / WARM_UP_FILE)) as file:
        for record in records:
            file.write(record)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Signatures that servables are asked for."""
    asked: list[str] = []
    predict = Servable.predict

    def counted(self: Servable, signature_name: str, *arguments: Any) -> Any:
        asked.append(signature_name)
        return predict(self, signature_name, *arguments)

    monkeypatch.setattr(Servable, "predict", counted)
    return asked


def test_requests_are_run_before_the_version_is_available(version: Path, runs: list[str]) -> None:
    other = prediction_log_pb2.PredictionLog.FromString(log())
    other.predict_log.request.model_spec.signature_name = "all_domains"
    for name in ("clicks", "price", "time", "domain"):
        del other.predict_log.request.inputs[name]
    write(
        version,
        log(),
        other.SerializeToString(),
        prediction_log_pb2.PredictionLog(classify_log={}).SerializeToString(),
    )
    load(9, version).close()
    assert runs == ["serving_default", "all_domains"]
    load(9, version, warm_up=False).close()
    assert len(runs) == 2


def test_a_version_without_requests_is_served(version: Path, runs: list[str]) -> None:
    load(9, version).close()
    write(version)
    load(9, version).close()
    assert runs == []


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (
            b"this is not a file of records, and long enough to be read as one",
            "DATA_LOSS",
            "corrupted record",
        ),
        (b"short", "DATA_LOSS", "truncated record"),
    ],
)
def test_a_damaged_file(version: Path, content: bytes, code: str, words: str) -> None:
    (version / WARM_UP_FILE).write_bytes(content)
    with serving(version.parent, load=load) as peer:
        status = peer.model.statuses()[9]
        assert status.state is State.END and status.error is not None
        assert status.error.code.name == code and words in status.error.message
        assert (
            not peer.models.available
            and f"{NAME} version 9 could not be loaded" in peer.problems[NAME]
        )


@pytest.mark.parametrize(
    ("records", "code", "words"),
    [
        ([log(), b"\xff\xff"], "INVALID_ARGUMENT", "Failed to parse warmup record 2"),
        ([b""], "UNIMPLEMENTED", "Unsupported log_type for warmup: none in record 1"),
        (
            [prediction_log_pb2.PredictionLog(session_run_log={}).SerializeToString()],
            "UNIMPLEMENTED",
            "session_run_log",
        ),
        ([log(price=None)], "INVALID_ARGUMENT", "Missing but required: {price}"),
    ],
)
def test_requests_that_cannot_be_run(
    version: Path, records: list[bytes], code: str, words: str
) -> None:
    write(version, *records)
    with serving(version.parent, load=load) as peer:
        error = peer.model.statuses()[9].error
        assert error is not None and error.code.name == code and words in error.message


def test_a_path_that_tensorflow_takes_for_a_pattern_is_named(version: Path) -> None:
    with pytest.raises(StatusError, match="expected a folder without") as error:
        load(9, shutil.copytree(version, version.parent / "models[1]" / "9"))
    assert error.value.code.name == "INVALID_ARGUMENT" and "models[1]/9: " in error.value.message


def test_a_version_that_fails_to_warm_up_leaves_the_old_one_served(
    version: Path, publish: Callable[[Path, int], None]
) -> None:
    with serving(version.parent, load=partial(load, warm_up=True)) as peer:
        publish(version.parent, 10)
        file = version.parent / "10" / WARM_UP_FILE
        file.parent.mkdir()
        file.write_bytes(b"garbage")
        assert "version 10 could not be loaded" in peer.models.refresh()[NAME]
        assert peer.predict(good_request()).model_spec.version.value == 9
        file.unlink()
        assert not peer.models.refresh()
        assert peer.predict(good_request()).model_spec.version.value == 10


def test_at_most_a_thousand(version: Path) -> None:
    write(version, *[log()] * 1001)
    requests = warm_up_requests(version / WARM_UP_FILE)
    assert len([next(requests) for _ in range(1000)]) == 1000
    with pytest.raises(Exception, match="exceeds the maximum"):
        next(requests)
