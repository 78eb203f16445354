"""Makes a version on disk one that answers: loads it, then warms it up with the requests that were
exported with it.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from configs.tensorflow_import import tf
from serving.server.servable import Servable
from serving.wire.errors import StatusError, invalid
from serving.wire.signatures import DEFAULT_SIGNATURE, WARM_UP_FILE

_MOST_RECORDS = 1000
_AROUND = 16
"""Bytes of a TFRecord beside its data."""
_NOT_SERVED_HERE = ("classify_log", "regress_log", "multi_inference_log")
"""What TensorFlow Serving would run; this server has no such methods, so there is nothing to
warm up.
"""


def load(version: int, path: Path, session_config: Any = None, *, warm_up: bool = True) -> Servable:
    """Loads a version and runs its warm-up requests, if it has any: its first answers are then as
    fast as the others.

    Args:
      version: its number.
      path: the version's directory.
      session_config: see ``Servable``.
      warm_up: whether to run the requests.

    Raises:
      OSError, RuntimeError, tf.errors.OpError: as ``Servable``; DATA_LOSS for a damaged warm-up
      file.
      StatusError: a warm-up request that the model refuses, or a file that holds something else, or
        more than 1,000 of them.
    """
    servable = Servable(version, path, session_config)
    if warm_up and (path / WARM_UP_FILE).exists():
        with contextlib.ExitStack() as unless_warm:
            unless_warm.callback(servable.close)
            for request in warm_up_requests(path / WARM_UP_FILE):
                servable.predict(
                    request.model_spec.signature_name or DEFAULT_SIGNATURE,
                    request.inputs,
                    list(request.output_filter),
                )
            unless_warm.pop_all()
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
