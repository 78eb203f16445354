"""Batched requests are answered as they would be alone, and what cannot be batched is refused as
TensorFlow Serving does.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.message import Message
from tensorflow_serving.apis import predict_pb2

from configs import InputError
from serving.server.batching.batch_scheduler import Batcher
from serving.server.batching.batch_tensors import concatenate_requests
from serving.server.batching.batching_parameters import Parameters, read_parameters
from serving.server.model_config import ModelConfig
from serving.server.servable import Servable
from serving.wire.errors import StatusError, deadline_exceeded
from serving.wire.messages import PredictRequest, TensorProto
from serving.wire.tensor_protos import decode, encode
from tests.serving.conftest import MOST_BYTES, NAME, Peer, good_inputs, good_request

STRING, FLOAT = tf.string.as_datatype_enum, tf.float32.as_datatype_enum
WAIT = 300_000
"""Microseconds in which the requests of a test meet."""


class Counted(Servable):
    """Counts the rows of each run; waits for ``gate`` in each."""

    def __init__(self, version: int, path: Path) -> None:
        super().__init__(version, path)
        self.runs: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def run(self, signature_name: str, aliases: Any, feeds: Any) -> list[Any]:
        self.entered.set()
        assert self.gate.wait(10)
        results = super().run(signature_name, aliases, feeds)
        self.runs.append(len(results[0]))
        return results


@pytest.fixture
def batched(exported: dict[int, Path]) -> Iterator[Callable[..., tuple[Peer, Counted]]]:
    """Starts servers of version 10 with these batching parameters; gives the servable too."""
    peers: list[Peer] = []

    def begin(**parameters: Any) -> tuple[Peer, Counted]:
        batcher = Batcher(Parameters(num_batch_threads=1, **parameters), MOST_BYTES)
        peer = Peer(
            ModelConfig(NAME, exported[10].parent), load=Counted, batcher=batcher, threads=32
        )
        peers.append(peer)
        with peer.model.acquire(10) as servable:
            assert isinstance(servable, Counted)
            return peer, servable

    yield begin
    for peer in peers:
        peer.close()


def together(
    peer: Peer, requests: list[Message]
) -> list[predict_pb2.PredictResponse | grpc.RpcError]:
    """Answers or refusals of requests that are sent at once."""

    def ask(request: Message) -> predict_pb2.PredictResponse | grpc.RpcError:
        try:
            return peer.predict(request)
        except grpc.RpcError as error:
            return error

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(ask, requests))


def slices(rows: int) -> list[Message]:
    """The rows of ``good_request``, in requests of one to three rows."""
    return [good_request(1 + index % 3) for index in range(rows)]


def test_answers_are_those_of_requests_run_alone(
    peer: Peer, batched: Callable[..., tuple[Peer, Counted]]
) -> None:
    together_peer, servable = batched(max_batch_size=64, batch_timeout_micros=WAIT)
    requests = slices(12)
    answers = together(together_peer, requests)
    assert sum(servable.runs) == 24 and len(servable.runs) < 12
    for request, answer in zip(requests, answers, strict=True):
        alone = peer.predict(request)
        assert answer.model_spec == alone.model_spec and set(answer.outputs) == set(alone.outputs)
        for name, message in alone.outputs.items():
            if name == "ctr":
                np.testing.assert_allclose(decode(answer.outputs[name]), decode(message), rtol=1e-6)
            else:
                assert answer.outputs[name] == message


def test_only_the_same_signature_and_outputs_meet(
    batched: Callable[..., tuple[Peer, Counted]],
) -> None:
    peer, servable = batched(max_batch_size=64, batch_timeout_micros=WAIT)
    whole, part = good_request(), good_request()
    part.output_filter.append("version")
    answers = together(peer, [whole, whole, part, part])
    assert sorted(servable.runs) == [4, 4]
    assert [set(answer.outputs) for answer in answers] == [
        {"ctr", "served_domain", "version"}
    ] * 2 + [{"version"}] * 2


def test_batches_are_no_larger_than_allowed(batched: Callable[..., tuple[Peer, Counted]]) -> None:
    peer, servable = batched(max_batch_size=4, batch_timeout_micros=WAIT)
    assert not any(isinstance(answer, grpc.RpcError) for answer in together(peer, slices(9)))
    assert max(servable.runs) <= 4 and sum(servable.runs) == 18
    words = "Task size 3 is larger than maximum input batch size 2"
    small, _ = batched(max_batch_size=2)
    assert small.refused(good_request(3)) == ("INVALID_ARGUMENT", words)


def test_a_batch_is_filled_up_to_an_allowed_size(
    peer: Peer, batched: Callable[..., tuple[Peer, Counted]]
) -> None:
    padded, servable = batched(max_batch_size=8, allowed_batch_sizes=(4, 8))
    for rows in (1, 3):
        answer, alone = padded.predict(good_request(rows)), peer.predict(good_request(rows))
        assert {name: decode(message).tolist() for name, message in answer.outputs.items()} == {
            name: decode(message).tolist() for name, message in alone.outputs.items()
        }
    assert servable.runs == [4, 4]


def lists_of(length: int) -> Message:
    return good_request(1, clicks=encode([[b"u3"] * length], STRING))


@pytest.mark.parametrize(("pad", "runs"), [(False, 2), (True, 1)])
def test_lists_of_different_lengths(
    peer: Peer, batched: Callable[..., tuple[Peer, Counted]], pad: bool, runs: int
) -> None:
    mixed, servable = batched(
        max_batch_size=64, batch_timeout_micros=WAIT, pad_variable_length_inputs=pad
    )
    requests = [lists_of(length) for length in (1, 3, 1, 3)]
    for request, answer in zip(requests, together(mixed, requests), strict=True):
        np.testing.assert_allclose(
            decode(answer.outputs["ctr"]), decode(peer.predict(request).outputs["ctr"]), rtol=1e-6
        )
    assert len(servable.runs) == runs


def test_a_request_without_a_deadline(batched: Callable[..., tuple[Peer, Counted]]) -> None:
    peer, _ = batched()
    assert len(peer.prediction.Predict(good_request()).outputs) == 3


def test_zero_rows(batched: Callable[..., tuple[Peer, Counted]]) -> None:
    peer, _ = batched(max_batch_size=8, allowed_batch_sizes=(8,), batch_timeout_micros=WAIT)
    empty = good_request(0, clicks=encode(np.empty((0, 2), object), STRING))
    assert [
        len(answer.outputs["ctr"].float_val)
        for answer in together(peer, [empty, good_request(2), empty])
    ] == [0, 2, 0]


def test_unequal_first_dimensions_are_refused(batched: Callable[..., tuple[Peer, Counted]]) -> None:
    peer, _ = batched()
    request = good_request(1, price=encode([0.1, 0.2, 0.3], FLOAT))
    request.model_spec.signature_name = "rank"
    assert peer.refused(request) == (
        "INVALID_ARGUMENT",
        "Batching Run() input tensors must have equal 0th-dimension size",
    )


def test_outputs_without_a_row_for_each_row_are_refused(
    batched: Callable[..., tuple[Peer, Counted]],
) -> None:
    peer, _ = batched()
    request = PredictRequest(model_spec={"name": NAME, "signature_name": "all_domains"})
    request.inputs["user"].CopyFrom(good_inputs(3)["user"])
    code, message = peer.refused(request)
    assert code == "FAILED_PRECONDITION" and message.startswith(
        "Batched output tensor's 0th dimension does not equal the sum"
    )


def test_bad_requests_are_refused_alone(batched: Callable[..., tuple[Peer, Counted]]) -> None:
    peer, _ = batched(max_batch_size=64, batch_timeout_micros=WAIT)
    broken = good_request(2)
    broken.inputs["price"].ClearField("float_val")
    broken.inputs["price"].tensor_content = b"1234567"
    good, bad, fine = together(peer, [good_request(2), broken, good_request(2)])
    assert bad.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert decode(good.outputs["ctr"]).tolist() == decode(fine.outputs["ctr"]).tolist()
    assert peer.refused(good_request(price=None))[0] == "INVALID_ARGUMENT"
    request = good_request()
    request.model_spec.signature_name = "nope"
    assert peer.refused(request)[0] == "FAILED_PRECONDITION"


def test_a_full_queue_is_unavailable(batched: Callable[..., tuple[Peer, Counted]]) -> None:
    peer, servable = batched(max_batch_size=2, max_enqueued_batches=1)
    servable.gate.clear()
    running = peer.prediction.Predict.future(good_request(), timeout=10)
    assert servable.entered.wait(5)
    waiting = peer.prediction.Predict.future(good_request(), timeout=10)
    deadline = time.monotonic() + 5
    while not peer.batcher._waiting:  # type: ignore[union-attr]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert peer.refused(good_request()) == (
        "UNAVAILABLE",
        "The batch scheduling queue to which this task was submitted is full",
    )
    servable.gate.set()
    assert len(running.result().outputs) == len(waiting.result().outputs) == 3


def until(moment: float) -> Callable[[], None]:
    """A check as the service makes it."""

    def check() -> None:
        if time.monotonic() > moment:
            raise deadline_exceeded()

    return check


def test_a_request_whose_deadline_passes_in_the_queue_is_not_run(exported: dict[int, Path]) -> None:
    servable, batcher = Counted(10, exported[10]), Batcher(Parameters(num_batch_threads=1))
    servable.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(
            batcher.predict, servable, "serving_default", good_inputs(), [], 1 << 20
        )
        assert servable.entered.wait(5)
        with pytest.raises(StatusError, match="DEADLINE_EXCEEDED"):
            batcher.predict(
                servable, "serving_default", good_inputs(), [], 1 << 20, until(time.monotonic())
            )
        servable.gate.set()
        assert len(running.result()) == 3
    batcher.close()
    assert servable.runs == [2]
    servable.close()


def test_padding_cannot_make_a_batch_of_any_size(
    batched: Callable[..., tuple[Peer, Counted]],
) -> None:
    """One long list among many short ones: together they would be padded beyond the limit, so
    each is run alone.
    """
    peer, servable = batched(
        max_batch_size=1000, batch_timeout_micros=WAIT, pad_variable_length_inputs=True
    )
    answers = together(peer, [lists_of(20_000), good_request(3), good_request(3)])
    assert not any(isinstance(answer, grpc.RpcError) for answer in answers)
    assert sorted(servable.runs) == [1, 3, 3]
    filled, _ = batched(max_batch_size=1000, allowed_batch_sizes=(1000,))
    code, message = filled.refused(lists_of(20_000))
    assert code == "INVALID_ARGUMENT" and "filled up or padded it would take more than" in message


@pytest.mark.parametrize("dtype", ["string", "float32", "int64", "float16", "bool"])
def test_joined_tensors(dtype: str) -> None:
    """Written out or abbreviated, packed or not: the rows are those of the requests, shorter
    lists padded, the last row repeated.
    """
    kind = tf.as_dtype(dtype)
    parts = [np.array([[1, 2], [3, 4]]), np.array([[5], [6]]), np.zeros((0, 1)), np.array([[7, 7]])]
    arrays = [
        (
            np.char.mod("%d", part.astype(int)).astype("S").astype(object)
            if dtype == "string"
            else part.astype(kind.as_numpy_dtype)
        )
        for part in parts
    ]
    messages = [
        encode(array, kind.as_datatype_enum, packed=bool(index % 2))
        for index, array in enumerate(arrays)
    ]
    (whole,) = concatenate_requests([{"x": message} for message in messages], 7, 1 << 20)
    if dtype == "string":
        whole = decode(TensorProto.FromString(whole.item()))
    empty: Any = b"" if dtype == "string" else kind.as_numpy_dtype(0)
    second = [[row[0], empty] for row in arrays[1].tolist()]
    assert whole.tolist() == [*arrays[0].tolist(), *second, *arrays[3].tolist() * 3]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "max_batch_size { value: 128 } allowed_batch_sizes: 32 allowed_batch_sizes: 64",
            "last entry was 64; expected 128",
        ),
        (
            "max_batch_size { value: 8 } allowed_batch_sizes: 8 allowed_batch_sizes: 8",
            "positive and increasing",
        ),
        ("allowed_batch_sizes: 0 allowed_batch_sizes: 1000", "positive and increasing"),
        ("num_batch_threads { value: 0 }", "num_batch_threads must be at least 1, received 0"),
        ("batch_size: 3", 'no field named "batch_size"'),
    ],
)
def test_bad_parameters(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "batching"
    file.write_text(text)
    with pytest.raises(InputError, match=words):
        read_parameters(file)


def test_parameters_and_defaults(tmp_path: Path) -> None:
    file = tmp_path / "batching"
    file.write_text(
        "max_batch_size { value: 16 } allowed_batch_sizes: [4, 16] pad_variable_length_inputs: true"
        " batch_timeout_micros { value: 0 }"
    )
    found = read_parameters(file)
    assert found == Parameters(
        max_batch_size=16, allowed_batch_sizes=(4, 16), pad_variable_length_inputs=True
    )
    file.write_text("")
    assert read_parameters(file) == Parameters()
