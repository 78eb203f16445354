"""What a request may cost: it is bounded by the request's own size and rows, and ends when nobody
waits for it any more.
"""

import shutil
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.message import Message

from serving.server.batching import row_parts
from serving.server.prediction_service import Service
from serving.server.servable import Servable
from serving.wire.errors import StatusError, deadline_exceeded
from serving.wire.messages import PredictRequest
from serving.wire.tensor_protos import decode, encode
from serving.wire.version_files import RECORD
from tests.serving.conftest import NAME, Peer, good_inputs, good_request
from tests.serving.wire.test_tensor_protos import proto

TEXT, FLOAT = tf.string.as_datatype_enum, tf.float32.as_datatype_enum


def repeated(rows: int, good: Mapping[str, Message]) -> dict[str, Message]:
    """The inputs' rows over and over, written out."""
    return {
        name: encode(np.resize(decode(message), (rows, *decode(message).shape[1:])), message.dtype)
        for name, message in good.items()
    }


def test_few_bytes_cannot_claim_many_rows(peer: Peer) -> None:
    """Every input's one value stands for all rows, as TensorFlow reads it."""
    claimed = {
        name: proto(tf.as_dtype(message.dtype), 60_000, *[1] * (len(decode(message).shape) - 1))
        for name, message in good_inputs(1).items()
    }
    request = good_request(**claimed)
    assert request.ByteSize() < 1000
    code, message = peer.refused(request)
    assert code == "INVALID_ARGUMENT" and "would take more than" in message


def test_what_is_written_out_is_answered_whatever_it_holds(peer: Peer) -> None:
    """The shortest texts take the most memory for their bytes."""
    rows = {"user": [b""] * 2000, "clicks": [[b""] * 8] * 2000, "domain": [b""] * 2000}
    request = good_request(
        **{name: encode(values, TEXT) for name, values in rows.items()},
        price=encode([0.0] * 2000, FLOAT),
        time=encode([0] * 2000, tf.int64.as_datatype_enum),
    )
    assert len(peer.predict(request).outputs["ctr"].float_val) == 2000


def test_a_limit_on_rows(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer.service, "_most_rows", 2)
    assert len(peer.predict(good_request(2)).outputs["ctr"].float_val) == 2
    code, message = peer.refused(good_request(3))
    assert (
        code == "INVALID_ARGUMENT"
        and "the request has 3 rows; this server takes at most 2" in message
    )


@pytest.fixture
def row_wise(
    exported: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Servable]:
    """A version that says it was written by our export; parts of 4 rows."""
    path = shutil.copytree(exported[10], tmp_path / "10")
    (path / RECORD).parent.mkdir(exist_ok=True)
    (path / RECORD).write_text("{}")
    monkeypatch.setattr(row_parts, "PART_ROWS", 4)
    servable = Servable(10, path)
    yield servable
    servable.close()


@pytest.mark.parametrize("rows", [1, 4, 5, 13])
@pytest.mark.parametrize("packed", [False, True])
def test_parts_give_what_the_whole_gives(row_wise: Servable, rows: int, packed: bool) -> None:
    signatures = {
        "serving_default": repeated(rows, good_inputs(3)),
        "rank": repeated(1, good_inputs(1)) | {"price": encode(np.arange(rows) / 9, FLOAT)},
        "all_domains": {"user": repeated(rows, good_inputs(3))["user"]},
    }
    checks: list[int] = []
    for name, inputs in signatures.items():
        if packed:
            inputs = {
                alias: encode(decode(message), message.dtype, packed=True)
                for alias, message in inputs.items()
            }
        checks.clear()
        parts = row_parts.predict(
            row_wise, name, inputs, [], 1 << 20, rows, lambda: checks.append(1)
        )
        assert len(checks) == (0 if rows <= 4 else -(-rows // 4))
        whole = row_wise.predict(name, inputs)
        assert parts.keys() == whole.keys()
        for alias, message in whole.items():
            np.testing.assert_array_equal(decode(parts[alias]), decode(message))


def test_parts_of_values_that_stand_for_the_rest(row_wise: Servable) -> None:
    inputs = repeated(9, good_inputs(3)) | {"domain": proto(tf.string, 9, string_val=[b"all"])}
    parts = row_parts.predict(
        row_wise, "serving_default", inputs, ["ctr"], 1 << 20, 9, lambda: None
    )
    assert parts == row_wise.predict("serving_default", inputs, ["ctr"])


def test_inputs_of_different_length_are_refused_whole(row_wise: Servable) -> None:
    inputs = repeated(9, good_inputs(3)) | {"price": encode([0.5] * 8, FLOAT)}
    with pytest.raises(tf.errors.InvalidArgumentError):
        row_parts.predict(row_wise, "serving_default", inputs, [], 1 << 20, 9, lambda: None)


def test_nothing_more_is_run_for_a_request_that_nobody_waits_for(row_wise: Servable) -> None:
    left = [2]

    def check() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise deadline_exceeded()

    runs: list[Any] = []
    run = row_wise.run
    row_wise.run = lambda *arguments: runs.append(1) or run(*arguments)  # type: ignore[method-assign, func-returns-value]
    with pytest.raises(StatusError, match="DEADLINE_EXCEEDED"):
        inputs = repeated(40, good_inputs(3))
        row_parts.predict(row_wise, "serving_default", inputs, [], 1 << 20, 40, check)
    assert len(runs) == 2


class _Gone:
    def time_remaining(self) -> None:
        return None

    def is_active(self) -> bool:
        return False


def test_a_request_of_a_peer_that_has_gone_is_not_run(peer: Peer) -> None:
    service: Service = peer.service
    with pytest.raises(StatusError) as caught:
        service.predict(PredictRequest(model_spec={"name": NAME}), _Gone())  # type: ignore[arg-type]
    assert caught.value.code is grpc.StatusCode.CANCELLED


def test_a_closed_version_leaves_no_graph_behind(exported: dict[int, Path]) -> None:
    servable = Servable(10, exported[10])
    servable.predict("serving_default", good_inputs())
    graph = weakref.ref(servable._session.graph)
    servable.close()
    assert graph() is None
