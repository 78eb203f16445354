"""A model whose every output says which version made it, and the requests that ask it."""

from pathlib import Path

import tensorflow as tf
from google.protobuf.message import Message
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from serving.wire.messages import PredictRequest
from serving.wire.signatures import WARM_UP_FILE
from serving.wire.tensor_protos import encode

NAME = "versioned"
USERS, ITEMS = 1_000, 200_000
"""Rows of the two tables; the larger one makes loading take a moment."""
ROWS = 20


_INPUTS = (
    tf.TensorSpec([None], tf.string, "user"),
    tf.TensorSpec([None, None], tf.string, "history"),
    tf.TensorSpec([None], tf.int64, "item"),
    tf.TensorSpec([None], tf.float32, "price"),
)


class Versioned(tf.Module):
    """Two tables and a constant, all of them filled with the version."""

    def __init__(self, version: int) -> None:
        super().__init__()
        self.users = tf.Variable(tf.fill([USERS, 4], float(version)))
        self.items = tf.Variable(tf.fill([ITEMS, 32], float(version)))
        self.number = tf.Variable(version, dtype=tf.int64)

    def serve(
        self, user: tf.Tensor, history: tf.Tensor, item: tf.Tensor, price: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Every output is ``[N]`` and holds the version, as far as the price is finite."""
        read = tf.reduce_mean(
            tf.gather(self.items, tf.strings.to_hash_bucket_fast(history, ITEMS)), 2
        )
        scores = {
            "by_user": tf.reduce_mean(
                tf.gather(self.users, tf.strings.to_hash_bucket_fast(user, USERS)), 1
            ),
            "by_item": tf.reduce_mean(tf.gather(self.items, tf.math.floormod(item, ITEMS)), 1),
            "by_history": tf.math.divide_no_nan(
                tf.reduce_sum(read, 1), tf.cast(tf.shape(history)[1], tf.float32)
            ),
        }
        return {
            **{name: score + 0.0 * price for name, score in scores.items()},
            "version": tf.fill(tf.shape(price), self.number),
            "name": tf.fill(tf.shape(price), tf.strings.as_string(self.number)),
        }


def save(version: int, path: Path) -> None:
    """Exports a version, with a warm-up request."""
    model = Versioned(version)
    tf.saved_model.save(
        model,
        str(path),
        signatures={"serving_default": tf.function(model.serve).get_concrete_function(*_INPUTS)},
    )
    file = path / WARM_UP_FILE
    file.parent.mkdir()
    with tf.io.TFRecordWriter(str(file)) as records:
        records.write(
            prediction_log_pb2.PredictionLog(
                predict_log={
                    "request": predict_pb2.PredictRequest.FromString(request().SerializeToString())
                }
            ).SerializeToString()
        )


def request(rows: int = ROWS) -> Message:
    """A request that is answered."""
    asked = PredictRequest(model_spec={"name": NAME})
    texts, numbers = [f"u{row}".encode() for row in range(rows)], list(range(rows))
    inputs = {
        "user": (texts, tf.string),
        "history": ([[text, b"seen"] for text in texts], tf.string),
        "item": (numbers, tf.int64),
        "price": (numbers, tf.float32),
    }
    for name, (values, dtype) in inputs.items():
        asked.inputs[name].CopyFrom(encode(values, dtype.as_datatype_enum))
    return asked


def whole_version(response: predict_pb2.PredictResponse) -> int | None:
    """The version that made an answer; None where its parts name different ones."""
    version = int(response.model_spec.version.value)
    texts = set(response.outputs["name"].string_val)
    numbers = {
        float(value)
        for name in ("by_user", "by_item", "by_history")
        for value in response.outputs[name].float_val
    }
    numbers |= {float(value) for value in response.outputs["version"].int64_val}
    rows = {message.tensor_shape.dim[0].size for message in response.outputs.values()}
    return (
        version
        if (numbers, texts, rows) == ({float(version)}, {str(version).encode()}, {ROWS})
        else None
    )
