"""JSON to the tensors of a request and an answer's tensors to JSON, as TensorFlow Serving's HTTP
port reads and writes them.

``instances`` is a list of rows, answered with ``predictions``; ``inputs`` holds whole columns,
answered with ``outputs``. Nothing is cast: a whole number is taken for a fraction where no digit is
lost, text for text alone. Bytes that are no text are ``{"b64": "..."}``.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf.message import Message

from serving.server.tensors import decode
from serving.wire.errors import invalid
from serving.wire.messages import DataType, PredictRequest, TensorProto
from serving.wire.tensor_protos import dtype_name

_B64 = "b64"
_BYTES = "_bytes"
"""What the names of outputs end with that hold bytes and no text."""
_MOST_DIMENSIONS = 32
_FLOATS = {
    DataType.DT_FLOAT: ("float_val", float(np.finfo(np.float32).max), (1 << 24) - 1),
    DataType.DT_DOUBLE: ("double_val", float(np.finfo(np.float64).max), (1 << 53) - 1),
}
"""Data type -> field, largest value, largest whole number."""
_WHOLE = {
    DataType.DT_INT32: ("int_val", -(1 << 31), (1 << 31) - 1),
    DataType.DT_INT16: ("int_val", -(1 << 15), (1 << 15) - 1),
    DataType.DT_INT8: ("int_val", -(1 << 7), (1 << 7) - 1),
    DataType.DT_UINT8: ("int_val", 0, (1 << 8) - 1),
    DataType.DT_INT64: ("int64_val", -(1 << 63), (1 << 63) - 1),
    DataType.DT_UINT32: ("uint32_val", 0, (1 << 32) - 1),
    DataType.DT_UINT64: ("uint64_val", 0, (1 << 64) - 1),
}
"""Data type -> field, smallest and largest value."""


def parsed(body: bytes) -> dict[str, Any]:
    """A request's JSON object. Raises ``StatusError``, INVALID_ARGUMENT, for anything else."""
    try:
        document = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # what UTF-8 and JSON object to are ValueErrors
        raise invalid(f"JSON Parse error: {error}") from None
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {_shown(document)} Is not object")
    return document


def signature_name(document: Mapping[str, Any]) -> str:
    """The signature that a request names; empty for none. Raises ``StatusError``."""
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid("'signature_name' key must be a string value.")
    return name


def fill_inputs(request: Any, document: Mapping[str, Any], infos: Mapping[str, Message]) -> bool:
    """Writes a request's tensors.

    Args:
      request: ``PredictRequest`` without inputs.
      document: its JSON.
      infos: the signature's inputs by name.

    Returns:
      Whether it has the form of rows.

    Raises:
      StatusError: INVALID_ARGUMENT for what does not fit the signature.
    """
    by_row = "instances" in document
    if by_row == ("inputs" in document):
        if by_row:
            raise invalid("expecting only one of 'inputs' or 'instances' keys to exist")
        raise invalid("Missing 'inputs' or 'instances' key")
    columns = (
        _columns_of_rows(document["instances"], infos)
        if by_row
        else _columns(document["inputs"], infos)
    )
    for name, values in columns.items():
        request.inputs[name].CopyFrom(_tensor(name, values, infos[name].dtype))
    return by_row


def answer(outputs: Mapping[str, Message], *, by_row: bool) -> bytes:
    """An answer's JSON. Raises ``StatusError``, INVALID_ARGUMENT, where the outputs are asked for
    in rows and do not have the same number of them.
    """
    columns = {
        name: _plain(_values(proto), is_bytes=name.endswith(_BYTES))
        for name, proto in sorted(outputs.items())
    }
    if not by_row:
        return _dumped({"outputs": columns if len(columns) > 1 else next(iter(columns.values()))})
    rows = {
        name: len(column) if isinstance(column, list) else 0 for name, column in columns.items()
    }
    if len(set(rows.values())) != 1 or 0 in rows.values():
        raise invalid(f"outputs have inconsistent batch sizes: {rows}; ask for 'inputs'")
    if len(columns) == 1:
        return _dumped({"predictions": next(iter(columns.values()))})
    names, parts = list(columns), zip(*columns.values(), strict=True)
    return _dumped({"predictions": [dict(zip(names, row, strict=True)) for row in parts]})


def empty_request(name: str, version: int | None, label: str | None) -> Any:
    """A ``PredictRequest`` for a model, and a version or the one with a label."""
    request = PredictRequest(model_spec={"name": name})
    if version is not None:
        request.model_spec.version.value = version
    elif label is not None:
        request.model_spec.version_label = label
    return request


def _columns_of_rows(rows: Any, infos: Mapping[str, Message]) -> dict[str, list[Any]]:
    if not isinstance(rows, list) or not rows:
        raise invalid("Expecting 'instances' to be a list/array of at least one value")
    if not _is_row(rows[0]):
        if len(infos) > 1:
            raise invalid(
                "instances is a plain list, but expecting list of objects as multiple input tensors"
                " required as per tensorinfo_map"
            )
        if any(map(_is_row, rows)):
            raise invalid("Expecting value/list but got object in the list of 'instances'")
        return {next(iter(infos)): rows}
    for index, row in enumerate(rows):
        if not _is_row(row) or row.keys() != set(infos):
            raise invalid(
                f"Failed to process element: {index} of 'instances' list. It must be an object with"
                f" only the keys: {','.join(sorted(infos))}"
            )
    return {name: [row[name] for row in rows] for name in infos}


def _columns(columns: Any, infos: Mapping[str, Message]) -> dict[str, Any]:
    if not _is_row(columns):
        if len(infos) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors"
                " required as per tensorinfo_map"
            )
        return {next(iter(infos)): columns}
    for name in infos:
        if name not in columns:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: columns[name] for name in infos}


def _is_row(value: Any) -> bool:
    return isinstance(value, dict) and not _is_b64(value)


def _is_b64(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {_B64} and isinstance(value[_B64], str)


def _tensor(name: str, value: Any, dtype: int) -> Message:
    """Nested lists as a message; every list of a level must be of the same length."""
    shape, inner = [], value
    while isinstance(inner, list):
        shape.append(len(inner))
        if len(shape) > _MOST_DIMENSIONS:
            raise invalid(f"{name}: lists are nested deeper than {_MOST_DIMENSIONS}")
        inner = inner[0] if inner else None
    flat = [value]
    for size in shape:
        for part in flat:
            if not isinstance(part, list) or len(part) != size:
                raise invalid(
                    f"{name}: Encountered list at unexpected size: expected {size} elements,"
                    f" received {_shown(part)}"
                )
        flat = [element for part in flat for element in part]
    proto = TensorProto(dtype=dtype)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    _fill(proto, name, flat)
    return proto


def _fill(proto: Any, name: str, values: list[Any]) -> None:
    kind = proto.dtype
    if kind in _FLOATS:
        field, most, most_whole = _FLOATS[kind]
        for value in values:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number:
                raise _wrong_type(name, value, kind)
            limit = most_whole if isinstance(value, int) else most
            if abs(value) > limit and abs(value) != float("inf"):
                raise invalid(
                    f"{name}: Cannot convert JSON value: {_shown(value)} to {dtype_name(kind)}"
                    " without loss of precision."
                )
        getattr(proto, field).extend(values)
    elif kind in _WHOLE:
        field, least, most_whole = _WHOLE[kind]
        for value in values:
            if type(value) is not int or not least <= value <= most_whole:
                raise _wrong_type(name, value, kind)
        getattr(proto, field).extend(values)
    elif kind == DataType.DT_BOOL:
        for value in values:
            if type(value) is not bool:
                raise _wrong_type(name, value, kind)
        proto.bool_val.extend(values)
    elif kind == DataType.DT_STRING:
        proto.string_val.extend([_bytes(name, value) for value in values])
    else:
        raise invalid(f"{name}: {dtype_name(kind)} cannot be read from JSON")


def _bytes(name: str, value: Any) -> bytes:
    try:
        if isinstance(value, str):
            return value.encode()
        if _is_b64(value):
            return base64.b64decode(value[_B64], validate=True)
    except (binascii.Error, ValueError):  # half a surrogate pair, too
        pass
    raise _wrong_type(name, value, DataType.DT_STRING)


def _wrong_type(name: str, value: Any, dtype: int) -> Exception:
    return invalid(
        f"{name}: JSON Value: {_shown(value)} Type: {type(value).__name__} is not of expected type:"
        f" {dtype_name(dtype)}"
    )


def _values(proto: Message) -> Any:
    array = decode(proto)
    if array.dtype == np.float32:  # as text 0.1 is to be 0.1, not 0.10000000149011612
        array = array.astype(str).astype(np.float64)
    return array.tolist()


def _plain(value: Any, *, is_bytes: bool) -> Any:
    if isinstance(value, list):
        return [_plain(element, is_bytes=is_bytes) for element in value]
    if isinstance(value, bytes):
        if is_bytes:
            return {_B64: base64.b64encode(value).decode()}
        return value.decode(errors="replace")
    return value


def _dumped(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()


def _shown(value: Any) -> str:
    """The beginning of a value; a deep one is not spelt out."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = repr(value) if not isinstance(value, int) or abs(value) < 1 << 64 else "a long number"
    return text if len(text) <= 60 else f"{text[:57]}..."
