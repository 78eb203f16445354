"""Requests that nobody should send, drawn from a seed: for each the method, the message and the
codes that may answer it.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
)

from benchmarks.reliability.malformed_configs import REFUSED, RELOAD, is_valid_reload, wrong_configs
from benchmarks.reliability.versioned import NAME, request
from serving.wire.messages import TensorProto
from serving.wire.tensor_protos import varint

MOST_BYTES = 1 << 20
"""The server's limit for a message."""
PREDICT, METADATA = (
    "/tensorflow.serving.PredictionService/Predict",
    "/tensorflow.serving.PredictionService/GetModelMetadata",
)
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
METHODS = (PREDICT, METADATA, STATUS, RELOAD)
OTHERS = tuple(
    f"/tensorflow.serving.PredictionService/{name}"
    for name in ("Classify", "Regress", "MultiInference")
)
"""Methods that no signature of the model is for."""

_BAD = frozenset({"INVALID_ARGUMENT"})
_UNREADABLE = _BAD | {"INTERNAL"}
"""What answers bytes that are no message, or a message of something else."""
_DAMAGED = _UNREADABLE | {"OK", "NOT_FOUND", "FAILED_PRECONDITION"}
"""What may answer a good request with some bytes changed: they may have hit anything, or nothing
that counts.
"""


@dataclass(frozen=True)
class Malformed:
    """A request.

    Attributes:
      kind: what is wrong with it.
      method: path of the method that is called.
      data: the message.
      codes: those that may answer it.
      like: the request whose answer it must get; None where there is no such request.
    """

    kind: str
    method: str
    data: bytes
    codes: frozenset[str]
    like: bytes | None = None


def malformed(seed: int, count: int, root: Path = Path("/models")) -> Iterator[Malformed]:
    """So many requests, the kinds in turns; ``root`` is the base path of the model, below which a
    server may take configs from peers.
    """
    draw = random.Random(seed)  # noqa: S311 - a seed, so that a failure can be repeated
    kinds = {kind.__name__.strip("_"): kind for kind in _KINDS}
    kinds["wrong_configs"] = partial(wrong_configs, root=root)
    names = list(kinds)
    for number in range(count):
        name = names[number % len(names)]
        yield Malformed(name, *kinds[name](draw))


_Drawn = tuple[str, bytes, frozenset[str]]


def _random_bytes(draw: random.Random) -> _Drawn:
    method = draw.choice(METHODS)
    while True:
        data = draw.randbytes(draw.choice([0, 1, 3, 10, 100, 5_000]))
        if method != RELOAD or not is_valid_reload(data):
            return method, data, _DAMAGED | REFUSED


def _damaged_predict(draw: random.Random) -> _Drawn:
    return PREDICT, damaged(draw, _good()), _DAMAGED


def _damaged_others(draw: random.Random) -> _Drawn:
    method, message = draw.choice(
        [
            (
                METADATA,
                get_model_metadata_pb2.GetModelMetadataRequest(
                    model_spec={"name": NAME}, metadata_field=["signature_def"]
                ),
            ),
            (
                STATUS,
                get_model_status_pb2.GetModelStatusRequest(
                    model_spec={"name": NAME, "version": {"value": 1}}
                ),
            ),
        ]
    )
    return method, damaged(draw, message.SerializeToString()), _DAMAGED


def _wrong_names(draw: random.Random) -> _Drawn:
    """Missing, extra, misnamed inputs; names that are empty, long or not UTF-8."""
    asked = request()
    name = draw.choice(sorted(asked.inputs))
    other = draw.choice(
        ["", "Price", "price ", "x" * draw.choice([1, 1_000, 100_000]), "ä\u202e\0"]
    )
    match draw.randrange(4):
        case 0:
            del asked.inputs[name]
        case 1:
            asked.inputs[other].CopyFrom(asked.inputs[name])
        case 2:
            asked.inputs[other].CopyFrom(asked.inputs[name])
            del asked.inputs[name]
        case _:
            return (
                PREDICT,
                asked.SerializeToString().replace(b"price", b"\xff\xfe\xc0\x80\xed"),
                _UNREADABLE,
            )
    return PREDICT, asked.SerializeToString(), _BAD


def _wrong_types(draw: random.Random) -> _Drawn:
    asked = request()
    message = asked.inputs[draw.choice(sorted(asked.inputs))]
    message.dtype = draw.choice(
        [number for number in (*range(0, 32), 101, 109, 4_000, -1) if number != message.dtype]
    )
    return PREDICT, asked.SerializeToString(), _BAD


def _wrong_shapes(draw: random.Random) -> _Drawn:
    """Other ranks and sizes, negative ones, terabytes claimed in ten bytes."""
    asked = request()
    shape = asked.inputs[draw.choice(sorted(asked.inputs))].tensor_shape
    match draw.randrange(4):
        case 0:
            shape.dim[0].size = draw.choice([-(1 << 63), -1, 21, 1 << 31, 1 << 62, (1 << 63) - 1])
        case 1:
            shape.dim.extend(
                [
                    shape.Dim(size=draw.choice([1, 0, -1, 1 << 40]))
                    for _ in range(draw.choice([1, 2, 40, 300]))
                ]
            )
        case 2:
            shape.unknown_rank = True
        case _:
            del shape.dim[:]
    return PREDICT, asked.SerializeToString(), _BAD


def _wrong_contents(draw: random.Random) -> _Drawn:
    asked = request()
    message: Any = asked.inputs[draw.choice(["item", "price"])]
    message.ClearField("int64_val")
    message.ClearField("float_val")
    message.tensor_content = draw.randbytes(draw.choice([1, 3, 79, 81, 5_000]))
    return PREDICT, asked.SerializeToString(), _BAD


def _wrong_specs(draw: random.Random) -> _Drawn:
    """Models, versions, labels, signatures and outputs that there are not."""
    asked = request()
    text = draw.choice(["", "nope", "../../etc/passwd", "x" * 10_000, "\0", "ä" * 500])
    match draw.randrange(6):
        case 5:
            asked.model_spec.version_label = ""
            return PREDICT, asked.SerializeToString(), _BAD
        case 0:
            asked.model_spec.name = text
            return PREDICT, asked.SerializeToString(), frozenset({"NOT_FOUND", "INVALID_ARGUMENT"})
        case 1:
            asked.model_spec.version.value = draw.choice([0, -1, 2, (1 << 63) - 1, -(1 << 63)])
            return PREDICT, asked.SerializeToString(), frozenset({"NOT_FOUND"})
        case 2:
            asked.model_spec.version_label = text or "stable"
            return PREDICT, asked.SerializeToString(), _BAD
        case 3:
            asked.model_spec.signature_name = text or "serving"
            return PREDICT, asked.SerializeToString(), frozenset({"FAILED_PRECONDITION"})
        case _:
            asked.output_filter.extend([text, "version"])
            return PREDICT, asked.SerializeToString(), _BAD


def _deep_nesting(draw: random.Random) -> _Drawn:
    """Tensors within tensors: protocol buffers allow a hundred levels."""
    data = b""
    for _ in range(draw.choice([10, 90, 200, 1_000])):
        data = message_field(
            15, message_field(3, data)
        )  # TensorProto.variant_val, VariantTensorDataProto.tensors
    inputs = message_field(1, b"price") + message_field(2, b"\x08\x15" + data)
    asked = request()
    del asked.inputs["price"]
    return PREDICT, asked.SerializeToString() + message_field(2, inputs), _UNREADABLE


def _too_large(draw: random.Random) -> _Drawn:
    asked = request()
    asked.inputs["user"].string_val[0] = b"x" * (
        MOST_BYTES + draw.choice([0, 1, 1_000, MOST_BYTES])
    )
    return PREDICT, asked.SerializeToString(), frozenset({"RESOURCE_EXHAUSTED"})


def _huge_when_decoded(draw: random.Random) -> _Drawn:
    """Few bytes that stand for many: TensorFlow repeats a tensor's last value."""
    asked = request(rows=0)
    rows, length = draw.choice([(1 << 20, 1 << 20), (1 << 30, 1), (20, 1 << 34)])
    asked.inputs["history"].CopyFrom(
        TensorProto(dtype=7, string_val=[b"x" * draw.choice([1, 100_000])])
    )
    asked.inputs["history"].tensor_shape.dim.add(size=rows)
    asked.inputs["history"].tensor_shape.dim.add(size=length)
    return PREDICT, asked.SerializeToString(), _BAD


def _many_rows_claimed(draw: random.Random) -> _Drawn:
    """A few hundred bytes whose every input claims the same great number of rows: the one value
    that it has would stand for all of them.
    """
    asked, rows = request(rows=1), draw.choice([10_000, 60_000, 500_000, 1 << 40])
    for message in asked.inputs.values():
        message.tensor_shape.dim[0].size = rows
        if message.tensor_content:
            kind = "int64_val" if message.dtype == 9 else "float_val"
            message.ClearField("tensor_content")
            getattr(message, kind).append(1)
    return PREDICT, asked.SerializeToString(), _BAD


def _values_beyond_the_shape(draw: random.Random) -> _Drawn:
    """They are left out, as TensorFlow does."""
    asked = request()
    message = asked.inputs["user"]
    message.string_val.extend([b"x"] * draw.choice([1, 100, 10_000]))
    return PREDICT, asked.SerializeToString(), frozenset({"OK"})


def _other_methods(draw: random.Random) -> _Drawn:
    """Examples for signatures that are for none."""
    spec = draw.choice(
        [b"", message_field(1, message_field(1, NAME.encode())), message_field(1, b"\xff"), b"\xff"]
    )
    method = draw.choice(OTHERS)
    codes = _UNREADABLE | {"NOT_FOUND", "UNIMPLEMENTED"}
    return method, spec + draw.choice([b"", draw.randbytes(30)]), codes


def _no_such_method(draw: random.Random) -> _Drawn:
    service, method = (
        draw.choice(["PredictionService", "ModelService", "Nope"]),
        draw.choice(["SessionRun", "predict", "nope"]),
    )
    return (
        f"/tensorflow.serving.{service}/{method}",
        draw.randbytes(20),
        frozenset({"UNIMPLEMENTED"}),
    )


_KINDS: tuple[Callable[[random.Random], _Drawn], ...] = (
    _random_bytes,
    _damaged_predict,
    _damaged_others,
    _wrong_names,
    _wrong_types,
    _wrong_shapes,
    _wrong_contents,
    _wrong_specs,
    _deep_nesting,
    _too_large,
    _huge_when_decoded,
    _many_rows_claimed,
    _values_beyond_the_shape,
    _other_methods,
    _no_such_method,
)


def _good() -> bytes:
    return bytes(request().SerializeToString(deterministic=True))


def damaged(draw: random.Random, good: bytes) -> bytes:
    """Bytes changed, cut out, doubled, cut off."""
    data = bytearray(good)
    for _ in range(draw.choice([1, 1, 2, 5, 50])):
        at = draw.randrange(len(data) or 1)
        match draw.randrange(5):
            case 0:
                data[at : at + 1] = draw.randbytes(1)
            case 1:
                data[at : at + 1] = bytes([data[at] ^ 1 << draw.randrange(8)]) if data else b""
            case 2:
                del data[at : at + draw.randrange(1, 9)]
            case 3:
                data[at:at] = data[at : at + draw.randrange(1, 30)]
            case _:
                del data[len(data) - draw.randrange(1, 4) :]
    return bytes(data)


def message_field(number: int, data: bytes) -> bytes:
    """A length-delimited field of a message."""
    return varint(number << 3 | 2) + varint(len(data)) + data
