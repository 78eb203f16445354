"""What a request holds becomes the rows that were sent, whatever the signature."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs import Experiment
from serving.export.supported_ops import read_meta_graph
from serving.selfcheck import log_rows
from serving.wire.messages import DataType, PredictRequest, SignatureDef
from serving.wire.request_rows import rows_of_request
from serving.wire.row_codec import encode_rank, encode_rows
from serving.wire.signatures import DEFAULT_SIGNATURE, EXAMPLES, RANK_SIGNATURE
from serving.wire.tensor_protos import encode
from serving.wire.tf_examples import example

LISTS = {"history"}


@pytest.fixture(scope="module")
def signatures(models_dir: Path) -> dict[str, Any]:
    return dict(read_meta_graph(models_dir / "1").signature_def)


@pytest.fixture(scope="module")
def rows(experiment: Experiment, logs: Path) -> list[dict[str, Any]]:
    found = log_rows(experiment, str(logs / "*.parquet"), 8).to_pylist()
    return [{**found[0], "device": None, "rating": None, "history": []}, *found[1:]]


@pytest.mark.parametrize("name", [DEFAULT_SIGNATURE, RANK_SIGNATURE, EXAMPLES])
def test_rows_come_back_from_every_signature(
    name: str, signatures: dict[str, Any], rows: list[dict[str, Any]]
) -> None:
    plain = signatures[DEFAULT_SIGNATURE]
    if name == RANK_SIGNATURE:
        inputs = encode_rank(signatures[name], rows[0], rows, "all", ignore_unknown=True)
        shared = encode_rank(signatures[name], rows[0], [], "all", ignore_unknown=True)
        once = {key for key, proto in shared.items() if proto.tensor_shape.dim[0].size == 1}
        rows = [{**row, **{key: rows[0].get(key) for key in once}} for row in rows]
    elif name == EXAMPLES:
        served = {key for key in plain.inputs if key != "domain"}
        kept = [{key: row.get(key) for key in served} for row in rows]
        sent = [{EXAMPLES: example(row)} for row in kept]
        inputs = encode_rows(signatures[name], sent, "all")
    else:
        inputs = encode_rows(plain, rows, "all", ignore_unknown=True)
    received = rows_of_request(PredictRequest(inputs=inputs), plain, LISTS)
    assert len(received) == len(rows)
    expected = encode_rows(plain, rows, "all", ignore_unknown=True)
    assert encode_rows(plain, received) == expected


def test_lists_of_numbers_are_cut_where_their_list_of_text_ends() -> None:
    rank = {"dtype": DataType.DT_STRING}
    signature = SignatureDef(inputs={"clicks": rank, "times": rank, "vector": rank})
    for name, along in (("clicks", "along=clicks"), ("times", "along=clicks"), ("vector", "")):
        for dim in ({"size": -1, "name": along}, {"size": -1}):
            signature.inputs[name].tensor_shape.dim.add(**dim)
    nan = math.nan
    inputs = {
        "clicks": encode(
            np.array([[b"a", b"b", b""], [b"", b"", b""]], object), DataType.DT_STRING
        ),
        "times": encode([[0.5, nan, nan], [nan, nan, nan]], DataType.DT_FLOAT),
        "vector": encode([[1.0, nan], [nan, nan]], DataType.DT_FLOAT),
    }
    first, second = rows_of_request(PredictRequest(inputs=inputs), signature)
    assert first["clicks"] == ["a", "b"] and second == {"clicks": [], "times": [], "vector": []}
    assert first["times"][0] == 0.5 and math.isnan(first["times"][1]) and len(first["times"]) == 2
    assert first["vector"][0] == 1.0 and math.isnan(first["vector"][1])


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"x": encode([1.0], 1), "y": encode([1.0, 2.0], 1), "z": encode([1.0] * 3, 1)}, "rows"),
        ({"x": encode(1.0, 1)}, "scalar"),
        ({EXAMPLES: encode(np.array([b"\xff"], object), DataType.DT_STRING)}, "no tf.Example"),
    ],
)
def test_requests_that_hold_no_rows(inputs: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        rows_of_request(PredictRequest(inputs=inputs))


def test_a_request_without_inputs_has_no_rows() -> None:
    assert rows_of_request(PredictRequest()) == []
