"""The requests of a load test, and of a version's warm-up, encoded."""

from collections.abc import Sequence

from google.protobuf.message import Message

from serving.wire.messages import PredictRequest
from serving.wire.row_codec import Row, encode_rank, encode_rows
from serving.wire.signatures import RANK_SIGNATURE


def encoded(
    known: Message, model: str, signature: str, rows: Sequence[Row], domain: str | None
) -> bytes:
    """The request of rows; under ``rank`` the first row's user and context, and every row's item.
    Raises ``InputError``.

    Args:
      known: the ``SignatureDef`` of that name.
      model: name of the model.
      signature: name of the signature.
      rows: raw features; what the signature does not take is skipped.
      domain: of the rows that have none of their own.
    """
    if signature == RANK_SIGNATURE:
        inputs = encode_rank(known, rows[0], rows, domain, ignore_unknown=True)
    else:
        inputs = encode_rows(known, rows, domain, ignore_unknown=True)
    spec = {"name": model, "signature_name": signature}
    return bytes(PredictRequest(model_spec=spec, inputs=inputs).SerializeToString())
