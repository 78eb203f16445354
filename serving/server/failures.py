"""What a peer is told about a failure of the server, TensorFlow's errors included."""

import grpc

from configs.tensorflow_import import tf
from serving.wire.errors import StatusError

_BY_NUMBER: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


def status_of(error: Exception) -> StatusError:
    """What a peer is told about an exception: TensorFlow's errors keep their code, no traceback
    leaves the process.
    """
    if isinstance(error, StatusError):
        return error
    if isinstance(error, tf.errors.OpError):
        return StatusError(
            _BY_NUMBER.get(error.error_code, grpc.StatusCode.UNKNOWN),
            str(error.message).partition("\n\t [[")[0],
        )
    if isinstance(error, MemoryError):
        return StatusError(grpc.StatusCode.RESOURCE_EXHAUSTED, "out of memory")
    if isinstance(error, FileNotFoundError):
        return StatusError(grpc.StatusCode.NOT_FOUND, str(error))
    return StatusError(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}")
