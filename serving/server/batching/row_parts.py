"""Runs a request of many rows in parts: what it takes of memory is bounded by a part, and it ends
soon after nobody waits for it any more.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import Message

from serving.server.servable import Servable, feed
from serving.server.tensors import decode, encode
from serving.wire.messages import DataType, TensorProto
from serving.wire.signatures import DOMAINS
from serving.wire.tensor_protos import Array, shape_of, strings_message

PART_ROWS = 4096
"""Rows of a part."""


def predict(
    servable: Servable,
    signature_name: str,
    inputs: Mapping[str, Message],
    output_filter: Sequence[str],
    most_bytes: int,
    rows: int,
    check: Callable[[], None],
) -> dict[str, Message]:
    """As ``Servable.predict``; where the version's rows do not depend on one another, in parts of
    ``PART_ROWS`` rows.

    Args:
      servable: runs it.
      signature_name: see ``Servable.predict``, as for the following.
      inputs: see there.
      output_filter: see there.
      most_bytes: see there.
      rows: the largest first dimension of the inputs.
      check: is called before each part; raises where the answer is of no use any more.

    Raises:
      StatusError, tf.errors.OpError: as ``Servable.predict``, and what ``check`` raises.
    """
    if rows <= PART_ROWS or not servable.row_wise:
        return servable.predict(signature_name, inputs, output_filter, most_bytes)
    checked, aliases = servable.checked(signature_name, inputs, output_filter, most_bytes)
    signature = servable.signatures[signature_name]
    per_row = [
        alias
        for alias in checked
        if (dims := signature.inputs[alias].tensor_shape.dim) and dims[0].size == -1
    ]
    sizes = {shape_of(checked[alias])[0] for alias in per_row}
    if sizes != {rows}:  # the graph says what is wrong with it
        return servable.predict(signature_name, inputs, output_filter, most_bytes)
    found: list[list[Any]] = []
    for feeds in _parts(checked, per_row, rows):
        check()
        found.append(servable.run(signature_name, aliases, feeds))
    return {
        alias: encode(
            parts[0] if alias == DOMAINS else np.concatenate(parts), signature.outputs[alias].dtype
        )
        for alias, parts in zip(aliases, zip(*found, strict=True), strict=True)
    }


def _parts(
    checked: Mapping[str, Message], per_row: Sequence[str], rows: int
) -> Iterator[list[Array]]:
    whole = {alias: feed(alias, proto) for alias, proto in checked.items()}
    arrays = {
        alias: None if _is_written_out(checked[alias]) else decode(checked[alias])
        for alias in per_row
    }
    for start in range(0, rows, PART_ROWS):
        yield [
            _part(checked[alias], arrays[alias], start) if alias in arrays else whole[alias]
            for alias in checked
        ]


def _part(proto: Message, array: Array | None, start: int) -> Array:
    if array is not None:
        part = array[start : start + PART_ROWS]
        is_text = proto.dtype == DataType.DT_STRING
        return strings_message(encode(part, DataType.DT_STRING)) if is_text else part
    rows, *inner = shape_of(proto)
    width = int(np.prod(inner, dtype=np.int64))
    message = TensorProto(dtype=DataType.DT_STRING)
    for size in (min(PART_ROWS, rows - start), *inner):
        message.tensor_shape.dim.add(size=size)
    message.string_val.extend(proto.string_val[start * width : (start + PART_ROWS) * width])
    return strings_message(message)


def _is_written_out(proto: Message) -> bool:
    """Whether a message of strings has every element: as Python objects they would be made and
    unmade one by one.
    """
    return proto.dtype == DataType.DT_STRING and len(proto.string_val) == np.prod(
        shape_of(proto), dtype=np.int64
    )
