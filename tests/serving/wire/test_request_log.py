"""Logs of a TensorFlow Serving with request logging are read as those of this project's server."""

from pathlib import Path

import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from configs import InputError
from configs.digests.tfrecords import framed
from serving.wire.request_log import is_request_log, log_files, logged_requests
from serving.wire.request_rows import rows_of_request
from tests.serving.conftest import good_request


def test_records_of_the_stock_server_s_classes(tmp_path: Path) -> None:
    sent = good_request(3)
    request = predict_pb2.PredictRequest.FromString(sent.SerializeToString())
    logs = [
        prediction_log_pb2.PredictionLog(classify_log={}),
        prediction_log_pb2.PredictionLog(
            predict_log={"request": request}, log_metadata={"timestamp_secs": 5, "dc": "x"}
        ),
    ]
    with tf.io.TFRecordWriter(str(tmp_path / "part-0")) as file:
        for log in logs:
            file.write(log.SerializeToString())
    (found,) = logged_requests(tmp_path)
    assert found.place == f"{tmp_path / 'part-0'}: record 2"
    assert found.log.log_metadata.timestamp_secs == 5
    received = rows_of_request(found.log.predict_log.request)
    assert [sorted(map(repr, row.items())) for row in received] == [
        sorted(map(repr, row.items())) for row in rows_of_request(sent)
    ]


def test_other_files_are_no_log(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"user": "u1"}')
    assert not is_request_log(tmp_path) and not is_request_log(tmp_path / "rows.jsonl")
    assert not is_request_log(tmp_path / "nothing")
    with pytest.raises(InputError, match="no log of requests"):
        log_files(tmp_path)


def test_what_is_added_while_a_log_is_read_is_not_read(tmp_path: Path) -> None:
    """A server that logs the replay of its own log would replay it for ever."""
    log = prediction_log_pb2.PredictionLog(predict_log={"request": {}}).SerializeToString()
    path = tmp_path / "requests-0-0.tfrecord"
    path.write_bytes(framed(log) * 3)
    read = 0
    for _ in logged_requests(tmp_path):
        read += 1
        with path.open("ab") as file:
            file.write(framed(log) * 2)
    assert read == 3


@pytest.mark.parametrize("place", [0, 20], ids=["length", "content"])
def test_what_follows_damage_is_read_and_what_is_left_out_is_said(
    place: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = prediction_log_pb2.PredictionLog(
        predict_log={"request": {"model_spec": {"name": "shop"}}}
    ).SerializeToString()
    path = tmp_path / "requests-0-00000001.tfrecord"
    content = bytearray(framed(log) * 3)
    content[place] ^= 1
    path.write_bytes(content)
    assert [found.place for found in logged_requests(tmp_path)] == [
        f"{path}: record 2",
        f"{path}: record 3",
    ]
    part = "length" if place == 0 else "content"
    assert capsys.readouterr().err == (
        f"note: {path}: record 1: its {part} is damaged; left out are 1 damaged record,"
        f" {len(content) // 3} of {len(content)} bytes\n"
    )
