"""Joins requests' tensors along dimension 0, and gives a result's rows back to the requests they
belong to.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import Message

from serving.server.servable import feed
from serving.server.tensors import decode, encode
from serving.wire.errors import StatusError, invalid
from serving.wire.messages import DataType, TensorProto
from serving.wire.tensor_protos import (
    Array,
    claimed_bytes,
    shape_of,
    strings_message,
)

Inputs = Mapping[str, Message]


def concatenate_requests(requests: Sequence[Inputs], size: int, most_bytes: int) -> list[Array]:
    """The rows of several requests, in their order, as ``Servable.run`` takes them.

    Args:
      requests: checked inputs: the same names and data types each, in the same order; inner
        dimensions that are too short are padded with zeros or empty strings.
      size: rows to fill up to, with copies of a row that is there.
      most_bytes: what each of the joined tensors may take: padding makes much of little.

    Raises:
      StatusError: INVALID_ARGUMENT for a tensor whose content does not fit its shape, and for one
        that would be too large.
    """
    first = requests[0]
    if len(requests) == 1 and all(
        proto.tensor_shape.dim[0].size == size for proto in first.values()
    ):
        return [feed(alias, proto) for alias, proto in first.items()]
    feeds = []
    for alias in first:
        protos = [inputs[alias] for inputs in requests]
        if _most_joined_bytes(protos, size) > most_bytes:
            raise invalid(
                f"tensor parsing error: {alias}: filled up or padded it would take more than"
                f" {most_bytes} bytes"
            )
        try:
            feeds.append(
                _joined_strings(protos, size)
                if protos[0].dtype == DataType.DT_STRING
                else _joined(protos, size)
            )
        except ValueError as error:
            raise invalid(f"tensor parsing error: {alias}: {error}") from None
    return feeds


def split_results(
    outputs: Mapping[str, Any], sizes: Sequence[int], size: int
) -> list[dict[str, Array]]:
    """The rows of each request.

    Args:
      outputs: by name.
      sizes: rows of each request, in the order in which they were joined.
      size: rows of all of them, those that were filled up included.

    Raises:
      StatusError: FAILED_PRECONDITION for an output that does not have that many rows.
    """
    for array in outputs.values():
        if np.ndim(array) == 0:
            raise StatusError(
                grpc.StatusCode.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions"
            )
        if len(array) != size:
            words = (
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension"
                " sizes of the input tensors"
            )
            raise StatusError(grpc.StatusCode.FAILED_PRECONDITION, words)
    ends = np.cumsum(sizes)
    return [
        {alias: array[end - rows : end] for alias, array in outputs.items()}
        for rows, end in zip(sizes, ends, strict=True)
    ]


def inner_shape(protos: Sequence[Message]) -> tuple[int, ...]:
    """The dimensions after the first that all of the tensors fit in."""
    return tuple(map(max, zip(*(shape_of(proto)[1:] for proto in protos), strict=True)))


def _most_joined_bytes(protos: Sequence[Message], size: int) -> int:
    """At least what the joined tensor takes: what the parts take, and what is added to them (24
    bytes are a string's own part).
    """
    shapes = [shape_of(proto) for proto in protos]
    added = size * math.prod(inner_shape(protos)) - sum(map(math.prod, shapes))
    copies = size - sum(shape[0] for shape in shapes)
    return 24 * added + sum(map(claimed_bytes, protos)) + copies * claimed_bytes(protos[-1])


def _joined(protos: Sequence[Message], size: int) -> Array:
    inner = inner_shape(protos)
    rows = np.concatenate([_padded(decode(proto), inner) for proto in protos])
    return np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), axis=0)])


def _joined_strings(protos: Sequence[Message], size: int) -> Array:
    inner = inner_shape(protos)
    if not all(_is_written_out(proto, inner) for proto in protos):
        return strings_message(encode(_joined(protos, size), DataType.DT_STRING))
    # As messages: as Python objects strings would be made and unmade one by one, while no other
    # request could run.
    whole = TensorProto(dtype=DataType.DT_STRING)
    for dimension in (size, *inner):
        whole.tensor_shape.dim.add(size=dimension)
    for proto in protos:
        whole.string_val.MergeFrom(proto.string_val)
    width = math.prod(inner)
    missing = size - sum(shape_of(proto)[0] for proto in protos)
    if width and missing:
        whole.string_val.extend(whole.string_val[-width:] * missing)
    return strings_message(whole)


def _is_written_out(proto: Message, inner: tuple[int, ...]) -> bool:
    """Whether a message of strings has every element, and none is missing to the joined shape."""
    shape = shape_of(proto)
    return shape[1:] == inner and len(proto.string_val) == math.prod(shape)


def _padded(array: Array, inner: tuple[int, ...]) -> Array:
    if array.shape[1:] == inner:
        return array
    whole: Array = np.full(
        (len(array), *inner), b"" if array.dtype == object else array.dtype.type(0), array.dtype
    )
    whole[tuple(slice(length) for length in array.shape)] = array
    return whole
