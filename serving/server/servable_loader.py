"""Makes a version on disk one that answers: checks its files, loads it, warms it up with the
requests that were exported with it, and checks its scores.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from configs.errors import InputError
from configs.files import check_no_pattern, read_object
from configs.prediction.score import largest_difference
from configs.tensorflow_import import tf
from serving.server.servable import Servable
from serving.wire.errors import StatusError, invalid
from serving.wire.row_codec import encode_rank, encode_rows
from serving.wire.signatures import DEFAULT_SIGNATURE, EXAMPLES, RANK_SIGNATURE, WARM_UP_FILE
from serving.wire.tensor_protos import decode
from serving.wire.tf_examples import example
from serving.wire.version_files import GOLDEN, check_version

_MOST_RECORDS = 1000
_AROUND = 16
"""Bytes of a TFRecord beside its data."""
_NOT_SERVED_HERE = ("classify_log", "regress_log", "multi_inference_log")
"""What TensorFlow Serving would run; this server has no such methods, so there is nothing to
warm up.
"""


def load(
    version: int,
    path: Path,
    session_config: Any = None,
    *,
    warm_up: bool = True,
    check: bool = True,
) -> Servable:
    """Loads a version and runs its warm-up requests, if it has any: its first answers are then as
    fast as the others.

    Args:
      version: its number.
      path: the version's directory.
      session_config: see ``Servable``.
      warm_up: whether to run the requests.
      check: whether a version that says what its files are and what it must answer
        (``serving.wire.version_files``) is held to it.

    Raises:
      OSError, RuntimeError, tf.errors.OpError: as ``Servable``; DATA_LOSS for a damaged warm-up
      file.
      StatusError: a warm-up request that the model refuses, or a file that holds something else, or
        more than 1,000 of them; DATA_LOSS for a version that is not what was exported;
        INVALID_ARGUMENT for a path that TensorFlow takes for a pattern.
    """
    try:
        check_no_pattern(path)
    except InputError as error:
        raise invalid(str(error)) from None
    described = check and check_files(path)
    servable = Servable(version, path, session_config)
    with contextlib.ExitStack() as unless_ready:
        unless_ready.callback(servable.close)
        if warm_up and (path / WARM_UP_FILE).exists():
            for request in warm_up_requests(path / WARM_UP_FILE):
                servable.predict(
                    request.model_spec.signature_name or DEFAULT_SIGNATURE,
                    request.inputs,
                    list(request.output_filter),
                )
        if described:
            check_scores(servable, path)
        unless_ready.pop_all()
    return servable


def warm_up_requests(file: Path) -> Iterator[Any]:
    """The ``PredictRequest`` messages of a warm-up file.

    Raises:
      tf.errors.DataLossError: a damaged record.
      StatusError: DATA_LOSS for a file that ends within a record, INVALID_ARGUMENT for a record
        that is no ``PredictionLog`` and for too many of them, UNIMPLEMENTED for one that holds no
        request.
    """
    read = 0
    for number, record in enumerate(tf.data.TFRecordDataset(str(file)).as_numpy_iterator(), 1):
        if number > _MOST_RECORDS:
            raise invalid(
                f"Number of warmup records exceeds the maximum ({_MOST_RECORDS}) at {file}"
            )
        read += len(record) + _AROUND
        try:
            log = prediction_log_pb2.PredictionLog.FromString(record)
        except DecodeError:
            raise invalid(f"Failed to parse warmup record {number} from {file}") from None
        kind = log.WhichOneof("log_type")
        if kind == "predict_log":
            yield log.predict_log.request
        elif kind not in _NOT_SERVED_HERE:
            raise StatusError(
                grpc.StatusCode.UNIMPLEMENTED,
                f"Unsupported log_type for warmup: {kind or 'none'} in record {number} of {file}",
            )
    if (
        read != file.stat().st_size
    ):  # a few bytes that are no record end the file silently, for TensorFlow Serving too
        words = f"truncated record in {file}: Please verify your warmup data is in TFRecord format"
        raise StatusError(grpc.StatusCode.DATA_LOSS, words)


def check_files(version: Path) -> bool:
    """Whether a version says what its files are (``serving.wire.version_files``), which are then
    right. Raises ``StatusError``, DATA_LOSS, which names the file that is not.
    """
    try:
        return check_version(version)
    except InputError as error:
        raise StatusError(grpc.StatusCode.DATA_LOSS, str(error)) from None


def check_scores(servable: Servable, version: Path) -> None:
    """Asks a loaded version its golden requests, if it has any.

    Raises:
      StatusError: DATA_LOSS where a score is further off than the file allows, or a name is
        another, or a request is refused.
    """
    path = version / GOLDEN
    if not path.exists():
        return
    try:
        golden = read_object(path, "tolerance", "cases")
        for case in golden["cases"]:
            if problem := _problem(servable, case, golden["tolerance"]):
                asked = f"signature {case['signature']}, domain {case['domain']}"
                raise StatusError(
                    grpc.StatusCode.DATA_LOSS,
                    f"{path}: this version does not answer what the trainer computed ({asked}):"
                    f" {problem}; export it again, as another version",
                )
    except (InputError, KeyError, TypeError, ValueError) as error:
        raise StatusError(
            grpc.StatusCode.DATA_LOSS, f"{path}: not golden requests: {error}"
        ) from None


def _problem(servable: Servable, case: Mapping[str, Any], tolerance: float) -> str:
    """What is wrong with the answer to a case; empty where nothing is."""
    name, expected = case["signature"], case["expected"]
    outputs = servable.predict(name, _golden_inputs(servable.signatures[name], case))
    if outputs.keys() != expected.keys():
        return f"outputs are {', '.join(sorted(outputs))}"
    for output, proto in outputs.items():
        received, wanted = decode(proto), expected[output]
        if received.dtype == object:
            if [text.decode() for text in received] != wanted:
                return f"{output} differs"
            continue
        numbers = np.array(wanted, np.float64)
        if received.shape != numbers.shape:
            return f"{output} has shape {list(received.shape)}"
        largest = largest_difference(received, numbers)
        if not largest <= tolerance:
            return f"{output} is off by {largest:.1e}"
    return ""


def _golden_inputs(signature: Any, case: Mapping[str, Any]) -> Any:
    rows, domain = case["rows"], case["domain"]
    if case["signature"] == RANK_SIGNATURE:
        return encode_rank(signature, case["shared"], rows, domain)
    if case["signature"] == EXAMPLES:
        rows = [{EXAMPLES: example(row)} for row in rows]
    return encode_rows(signature, rows, domain)
