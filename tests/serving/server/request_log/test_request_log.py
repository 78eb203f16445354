"""The log of requests: what a server has answered comes back as it was, files stay within their
bounds, and neither a full queue nor a full disk reaches a request.
"""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_serving.apis import prediction_log_pb2

from configs import InputError
from serving.server.flags import arguments_of
from serving.server.request_log.request_watch import RequestWatch
from serving.server.request_log.rotated_files import RotatedFiles
from serving.server.request_log.sampled_log import DROPPED, FAILED, WRITTEN, SampledLog
from serving.server.request_log.slow_requests import SLOW, SlowRequests
from serving.wire.messages import PredictResponse
from serving.wire.request_log import is_request_log, logged_requests
from tests.serving.conftest import NAME, good_request, serving


def log_of(folder: Path, share: float = 1.0, **settings: int) -> SampledLog:
    return SampledLog(RotatedFiles(folder, 1 << 20, 1 << 22), share, **settings)


def answer(version: int = 9) -> Any:
    return PredictResponse(model_spec={"name": NAME, "version": {"value": version}})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "logs"


def test_tensorflow_reads_what_a_server_has_answered(base: Path, folder: Path) -> None:
    watch = RequestWatch(log_of(folder), None)
    requests = [good_request(rows) for rows in (1, 2, 3)]
    with serving(base, observe=watch.observe) as peer:
        answers = [peer.predict(request) for request in requests]
        peer.refused(good_request(user=None))
    watch.close()
    (file,) = folder.glob("*.tfrecord")
    records = list(tf.data.TFRecordDataset(str(file)).as_numpy_iterator())
    logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in records]
    for log, request, response in zip(logs, requests, answers, strict=True):
        assert log.predict_log.response == response
        sent = log.predict_log.request.SerializeToString(deterministic=True)
        assert sent == request.SerializeToString(deterministic=True)
        assert log.log_metadata.model_spec.version.value == 9
        assert log.log_metadata.sampling_config.sampling_rate == 1.0
        assert log.log_metadata.timestamp_secs > 1_700_000_000
    assert watch.kept() == {WRITTEN: 3, DROPPED: 0, FAILED: 0}
    assert file.stat().st_mode & 0o077 == 0


@given(st.integers(0, 40), st.integers(1, 30))
def test_what_lies_before_the_damage_is_read(
    tmp_path_factory: pytest.TempPathFactory, lost: int, flipped: int
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    log = log_of(folder)
    for rows in (1, 2, 3):
        assert log.offer(good_request(rows), answer())
    log.close()
    (file,) = folder.glob("*.tfrecord")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) - lost])
    expected = 3 if not lost else 2
    assert len(list(logged_requests(folder))) == expected
    damaged = bytearray(whole)
    damaged[-flipped] ^= 1
    file.write_bytes(damaged)
    assert len(list(logged_requests(folder))) == 2


def test_the_sample_has_its_share(folder: Path) -> None:
    log = log_of(folder, 0.25)
    taken = sum(log.offer(good_request(1), answer()) for _ in range(2_000))
    log.close()
    assert 380 < taken < 620  # 500 +- 6 standard errors
    assert log_of(folder / "none", 0.0).offer(good_request(1), answer()) is False


class Stuck:
    """Files that nothing can be written to, until ``go``; then they are full."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def add(self, record: bytes) -> None:
        self.go.wait(10)
        raise OSError(28, "No space left on device")

    def flush(self) -> None: ...

    def close(self) -> None: ...


def test_a_disk_that_does_not_answer_holds_up_no_request(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stuck = Stuck()
    log = SampledLog(stuck, 1.0, most_waiting=2)
    watch = RequestWatch(log, None)
    with serving(base, observe=watch.observe) as peer:
        for _ in range(6):
            assert peer.predict(good_request()).outputs["version"].int64_val[0] == 9
    assert log.outcomes[DROPPED] == 4
    stuck.go.set()
    watch.close()
    assert watch.kept() == {WRITTEN: 0, DROPPED: 4, FAILED: 2}
    said = [line for line in capsys.readouterr().err.splitlines() if "request log" in line]
    assert len(said) == 1 and "No space left on device" in said[0]


def test_what_waits_is_bounded_in_bytes(folder: Path) -> None:
    size = good_request(3).ByteSize() + answer().ByteSize()
    log = SampledLog(Stuck(), 1.0, most_bytes=2 * size)
    assert [log.offer(good_request(3), answer()) for _ in range(3)] == [True, True, False]


@pytest.fixture
def files(folder: Path) -> Iterator[Callable[..., RotatedFiles]]:
    opened: list[RotatedFiles] = []

    def open_files(file_bytes: int = 100, most_bytes: int = 400) -> RotatedFiles:
        opened.append(RotatedFiles(folder, file_bytes, most_bytes))
        return opened[-1]

    yield open_files
    for one in opened:
        one.close()


def test_files_stay_within_their_bounds(folder: Path, files: Callable[..., RotatedFiles]) -> None:
    one, other = files(), files()
    for number in range(60):
        one.add(bytes([number]) * 34)  # 50 bytes with length and sums
    other.add(b"theirs")
    other.flush()
    sizes = {path.name: path.stat().st_size for path in folder.glob("*.tfrecord")}
    mine = {name: size for name, size in sizes.items() if name.startswith("requests-0-")}
    assert len(mine) == 4 and sum(mine.values()) <= 400
    assert max(mine) == "requests-0-00000030.tfrecord"
    assert sizes.keys() - mine.keys() == {"requests-1-00000001.tfrecord"}


def test_who_comes_after_a_killed_process_goes_on_in_a_new_file(
    folder: Path, files: Callable[..., RotatedFiles]
) -> None:
    first = RotatedFiles(folder, 100, 400)
    first.add(b"first")
    first.close()
    (left,) = folder.glob("*.tfrecord")
    left.write_bytes(left.read_bytes()[:-3])
    before = left.read_bytes()
    second = files()
    second.add(b"second")
    second.flush()
    assert sorted(path.name for path in folder.glob("*.tfrecord")) == [
        "requests-0-00000001.tfrecord",
        "requests-0-00000002.tfrecord",
    ]
    assert left.read_bytes() == before and is_request_log(folder)


def test_a_folder_that_cannot_be_made_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="--request-log-dir"):
        RotatedFiles(tmp_path / "file" / "logs", 1, 1)


def test_slow_requests_are_kept_and_logged_whatever_the_sample(folder: Path) -> None:
    slow = SlowRequests(0.5, most=2)
    watch = RequestWatch(log_of(folder, 0.0), slow)
    ok, late = grpc.StatusCode.OK, grpc.StatusCode.DEADLINE_EXCEEDED
    watch.observe(good_request(1), ok, 0.4999, answer())
    watch.observe(good_request(1), ok, 0.5, answer())
    watch.observe(good_request(2), late, 2.0)
    watch.observe(good_request(3), ok, 1.0, answer(), entrypoint="REST")
    watch.close()
    shown = json.loads(slow.text())
    assert shown["count"] == watch.kept()[SLOW] == 3 and shown["threshold_seconds"] == 0.5
    newest, older = shown["requests"]
    assert (newest["seconds"], newest["rows"], newest["entrypoint"]) == (1.0, 3, "REST")
    assert newest["logged"] and newest["domain"] == "all" and newest["model"] == NAME
    assert (older["code"], older["logged"]) == ("DEADLINE_EXCEEDED", False)
    rates = [log.log.log_metadata.sampling_config.sampling_rate for log in logged_requests(folder)]
    assert rates == [1.0, 1.0]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--slow-request-ms", "5"], "--slow-request-ms is set without"),
        (["--request-log-sampling", "2"], "must be a share"),
        (["--request-log-bytes", "3", "--processes", "4"], "--request-log-bytes"),
    ],
)
def test_flags_that_cannot_be_meant(
    flags: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as ended:
        arguments_of(["--model-base-path", str(tmp_path), *flags])
    assert ended.value.code == 2 and words in capsys.readouterr().err


def test_nothing_is_kept_unless_it_is_asked_for(tmp_path: Path) -> None:
    watch = RequestWatch.of(arguments_of(["--model-base-path", str(tmp_path)]))
    watch.observe(good_request(1), grpc.StatusCode.OK, 100.0, answer())
    assert watch.kept() == {} and list(tmp_path.iterdir()) == []
