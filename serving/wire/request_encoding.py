"""The requests of a load test, encoded."""

from collections.abc import Sequence

from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import model_pb2, predict_pb2

from serving.wire.row_codec import Row, encode_rank, encode_rows
from serving.wire.signatures import RANK_SIGNATURE

METHOD = "/tensorflow.serving.PredictionService/Predict"


def encoded(
    known: meta_graph_pb2.SignatureDef,
    spec: model_pb2.ModelSpec,
    rows: Sequence[Row],
    domain: str | None,
) -> bytes:
    """The request of rows; under ``rank`` the first row's user and context, and every row's item.
    Raises ``InputError``.

    Args:
      known: the signature that the spec names.
      spec: model and signature.
      rows: raw features; what the signature does not take is skipped.
      domain: of the rows that have none of their own.
    """
    if spec.signature_name == RANK_SIGNATURE:
        inputs = encode_rank(known, rows[0], rows, domain, ignore_unknown=True)
    else:
        inputs = encode_rows(known, rows, domain, ignore_unknown=True)
    return bytes(predict_pb2.PredictRequest(model_spec=spec, inputs=inputs).SerializeToString())
