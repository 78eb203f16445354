"""A request's tensors back to the rows of raw features that a client sent, whatever the signature
that it was sent to.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any

from google.protobuf.message import DecodeError, Message

from serving.wire.messages import Example
from serving.wire.signatures import ALONG, DOMAIN, EXAMPLES
from serving.wire.tensor_protos import claimed_bytes, decode

_MOST_BYTES = 1 << 30
"""What the decoded inputs of a request may take: a log may hold anything."""


def rows_of_request(
    request: Any, signature: Message | None = None, lists: Collection[str] = ()
) -> list[dict[str, Any]]:
    """The rows of a ``PredictRequest``: text, numbers (NaN where missing) and lists by name,
    without what only pads a list; what is sent once for all rows (signature ``rank``) is in each.

    Args:
      request: as it was logged.
      signature: of the model's rows; it says which lists of numbers are as long as a list of text.
      lists: inputs that are lists, which serialized examples do not tell of one value.

    Raises:
      ValueError: a tensor whose content does not fit its shape, tensors of different rows, or a
        damaged example.
    """
    inputs = dict(request.inputs)
    if sum(claimed_bytes(proto) for proto in inputs.values()) > _MOST_BYTES:
        raise ValueError("its inputs would take more than 1 GiB")
    columns = {name: decode(proto).tolist() for name, proto in inputs.items()}
    if scalars := sorted(name for name, values in columns.items() if not isinstance(values, list)):
        raise ValueError(f"input {scalars[0]} is a scalar")
    count = max((len(values) for values in columns.values()), default=0)
    for name, values in columns.items():
        if len(values) not in (1, count):
            raise ValueError(f"input {name} has {len(values)} rows, another {count}")
        columns[name] = [_plain(value) for value in values] * (count if len(values) == 1 else 1)
    examples = columns.pop(EXAMPLES, None) if _holds_examples(inputs) else None
    rows: list[dict[str, Any]] = [
        {name: values[index] for name, values in columns.items()} for index in range(count)
    ]
    for row, serialized in zip(rows, inputs[EXAMPLES].string_val if examples else (), strict=False):
        row.update(_of_example(serialized, lists))
    along = _lists_along(signature) if signature is not None else {}
    return [{name: _cut(name, row, along) for name in row} for row in rows]


def _holds_examples(inputs: Mapping[str, Any]) -> bool:
    return EXAMPLES in inputs and inputs.keys() <= {EXAMPLES, DOMAIN}


def _of_example(serialized: bytes, lists: Collection[str]) -> dict[str, Any]:
    try:
        features = Example.FromString(serialized).features.feature
    except DecodeError:
        raise ValueError("an example is no tf.Example") from None
    row = {}
    for name, feature in features.items():
        kind = feature.WhichOneof("kind")
        values = [_plain(value) for value in getattr(feature, kind).value] if kind else []
        row[name] = values if len(values) > 1 or name in lists else next(iter(values), None)
    return row


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(element) for element in value]
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _lists_along(signature: Any) -> dict[str, str]:
    """List -> the first of those that are as long as it in every row, as the inputs state."""
    found = {}
    for name, info in signature.inputs.items():
        first = info.tensor_shape.dim[0].name if len(info.tensor_shape.dim) == 2 else ""
        if first.startswith(ALONG):
            found[name] = first.removeprefix(ALONG)
    return found


def _cut(name: str, row: Mapping[str, Any], along: Mapping[str, str]) -> Any:
    """A value without padding."""
    value = row[name]
    if not isinstance(value, list) or not value:
        return value
    if all(isinstance(element, str) for element in value):
        return [element for element in value if element]
    if isinstance(first := row.get(along.get(name, "")), list):
        texts = [element for element in first if element != ""]
        return value[: len(texts)]
    known = any(not (isinstance(element, float) and math.isnan(element)) for element in value)
    return value if known else []
