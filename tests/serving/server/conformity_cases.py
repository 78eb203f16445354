"""Requests and what a server must answer, TensorFlow Serving's own and the embedded one alike:
codes and scores, never the wording.

The model is the tests' tiny one, versions 9 (label ``stable``) and 10 (``canary``) side by side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import Message

from serving.wire.messages import ModelSpec, PredictRequest, TensorProto
from serving.wire.tensor_protos import encode
from tests.serving.conftest import NAME, good_inputs

OK, INVALID = "OK", "INVALID_ARGUMENT"

F32, F64, TEXT, INT64, HALF = (
    t.as_datatype_enum for t in (tf.float32, tf.float64, tf.string, tf.int64, tf.float16)
)
GOOD = good_inputs(2)
SCORES = 1 / (
    1 + np.exp(-np.array([0.1 + 0.2 + 0.25 + 1700000000 % 24, 0.4 + 0.3 + 0.1 - 1 + 5], np.float64))
)
"""What ``GOOD`` scores, from the model's definition: user + clicks + price (-1 where missing) +
hour, through a sigmoid.
"""


@dataclass(frozen=True)
class Case:
    """A ``Predict`` request.

    Attributes:
      name: what it is about.
      inputs: by name.
      spec: fields of the model spec beside the model's name.
      output_filter: outputs asked for.
      codes: those a server may answer with.
      expected: outputs by name; those with values to compare, to five digits; others only have to
        be there.
      by_graph: the model's graph refuses the inputs itself, so that a server that checks less than
        the embedded one refuses them too.
    """

    name: str
    inputs: Mapping[str, Message]
    spec: Mapping[str, Any] = field(default_factory=dict)
    output_filter: Sequence[str] = ()
    codes: tuple[str, ...] = (OK,)
    expected: Mapping[str, Any] = field(default_factory=dict)
    by_graph: bool = False

    def request(self) -> Message:
        """The message."""
        spec = ModelSpec(**{"name": NAME, **self.spec})
        return PredictRequest(model_spec=spec, inputs=self.inputs, output_filter=self.output_filter)


def changed(**inputs: Message | None) -> dict[str, Any]:
    """``GOOD`` with other inputs; None leaves one out."""
    return {name: proto for name, proto in {**GOOD, **inputs}.items() if proto is not None}


def tensor(dtype: int, *dims: int, **values: Any) -> Message:
    proto = TensorProto(dtype=dtype, **values)
    for size in dims:
        proto.tensor_shape.dim.add(size=size)
    return proto


def outputs(version: int) -> dict[str, Any]:
    return {"ctr": SCORES, "served_domain": [b"all", b"scene=home"], "version": [version] * 2}


ONCE = {
    name: encode([value], dtype)
    for name, value, dtype in (
        ("user", b"u1", TEXT),
        ("time", 1700000000, INT64),
        ("domain", b"all", TEXT),
    )
}
ODD = {"signature_name": "odd"}
PAIR = {
    "pair": encode([[1.0, 2.0]], F32),
    "half": encode([0.5], tf.float16.as_datatype_enum),
}

ANSWERED = [
    Case("the newest version answers by default", GOOD, expected=outputs(10)),
    Case(
        "numbers in tensor_content",
        changed(price=encode([0.25, np.nan], F32, packed=True)),
        expected=outputs(10),
    ),
    Case(
        "the last value stands for those that are left out",
        changed(domain=tensor(TEXT, 2, string_val=[b"all"])),
        expected={"ctr": SCORES},
    ),
    Case(
        "values beyond the shape are left out",
        changed(
            price=tensor(F32, 2, float_val=[0.25, np.nan, 7.0]),
            domain=tensor(TEXT, 2, string_val=[b"all", b"scene=home", b"x"]),
        ),
        expected=outputs(10),
    ),
    Case("a version by number", GOOD, {"version": {"value": 9}}, expected=outputs(9)),
    Case("a version by label", GOOD, {"version_label": "stable"}, expected=outputs(9)),
    Case("the other label", GOOD, {"version_label": "canary"}, expected=outputs(10)),
    Case("a signature by name", GOOD, {"signature_name": "serving_default"}, expected=outputs(10)),
    Case("outputs asked for", GOOD, output_filter=["ctr"], expected={"ctr": SCORES}),
    Case(
        "unequal first dimensions",
        {**ONCE, "clicks": encode([[b"u2"]], TEXT), "price": encode([0.25, 1.25, np.nan], F32)},
        {"signature_name": "rank"},
        expected={
            "ctr": 1 / (1 + np.exp(-np.array([8.55, 9.55, 7.3]))),
            "served_domain": [b"all"] * 3,
            "version": [10] * 3,
        },
    ),
    Case(
        "an output of another shape",
        {"user": encode([b"u1", b"nobody"], TEXT)},
        {"signature_name": "all_domains"},
        expected={"ctr": [[0.1, 0.2], [0.4, 0.8]], "domains": [b"all", b"scene=home"]},
    ),
    Case(
        "half precision",
        PAIR,
        {"signature_name": "odd"},
        ["sum", "half", "name"],
        expected={"sum": 3.0, "half": [0.5], "name": b"a\0b\0"},
    ),
]

NO_ROWS = Case(
    "no rows",
    {
        name: tensor(proto.dtype, 0, *[1] * (len(proto.tensor_shape.dim) - 1))
        for name, proto in GOOD.items()
    },
    codes=(OK, INVALID),
)

REFUSED = [
    Case("unknown signature", GOOD, {"signature_name": "nope"}, codes=("FAILED_PRECONDITION",)),
    Case("unknown model", GOOD, {"name": "nope"}, codes=("NOT_FOUND",)),
    Case("unknown version", GOOD, {"version": {"value": 3}}, codes=("NOT_FOUND",)),
    Case("unknown label", GOOD, {"version_label": "nope"}, codes=(INVALID,)),
    Case("an empty label", GOOD, {"version_label": ""}, codes=(INVALID,)),
    Case("no name", GOOD, {"name": ""}, codes=(INVALID,)),
    Case("missing input", changed(price=None), codes=(INVALID,)),
    Case("extra input", changed(cost=GOOD["price"]), codes=(INVALID,)),
    Case("misnamed input", changed(price=None, cost=GOOD["price"]), codes=(INVALID,)),
    Case("no inputs", {}, codes=(INVALID,)),
    Case(
        "another data type",
        changed(price=encode([0.25, 1.0], F64)),
        codes=(INVALID,),
        by_graph=True,
    ),
    Case("whole numbers for text", changed(user=encode([1, 2], INT64)), codes=(INVALID,)),
    Case("no data type", changed(price=tensor(0, 2)), codes=(INVALID,)),
    Case(
        "a list of a lower rank",
        changed(clicks=encode([b"u1", b"u2"], TEXT)),
        codes=(INVALID,),
        by_graph=True,
    ),
    Case(
        "another inner dimension",
        {**PAIR, "pair": encode([[1.0, 2.0, 3.0]], F32)},
        {"signature_name": "odd"},
        codes=(INVALID,),
        by_graph=True,
    ),
    Case(
        "the graph's own check",
        {**PAIR, "pair": encode([[1.0, 2.0]] * 2, F32)},
        ODD,
        codes=(INVALID,),
        by_graph=True,
    ),
    Case(
        "inputs of different length",
        changed(price=encode([0.25, 1.0, 2.0], F32)),
        codes=(INVALID,),
        by_graph=True,
    ),
    Case(
        "too little content",
        changed(price=tensor(F32, 2, tensor_content=b"1234567")),
        codes=(INVALID,),
    ),
    Case("a negative dimension", changed(price=tensor(F32, -2)), codes=(INVALID,)),
    Case(
        "an unknown rank",
        changed(price=TensorProto(dtype=F32, tensor_shape={"unknown_rank": True})),
        codes=(INVALID,),
    ),
    Case(
        "a shape beyond all memory",
        changed(price=tensor(F32, 1 << 50, float_val=[1.0])),
        codes=(INVALID, "RESOURCE_EXHAUSTED"),
    ),
    Case("an unknown output", GOOD, output_filter=["ctr", "nope"], codes=(INVALID,)),
    Case("an output twice", GOOD, output_filter=["ctr", "ctr"], codes=(INVALID,)),
]
