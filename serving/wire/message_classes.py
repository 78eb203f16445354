"""Protocol buffers from a table of fields: the classes of messages, without generated code."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    wrappers_pb2,
)

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bool": _Field.TYPE_BOOL,
    "bytes": _Field.TYPE_BYTES,
    "double": _Field.TYPE_DOUBLE,
    "float": _Field.TYPE_FLOAT,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "string": _Field.TYPE_STRING,
    "uint32": _Field.TYPE_UINT32,
    "uint64": _Field.TYPE_UINT64,
}

Fields = Mapping[str, tuple[int, str] | tuple[int, str, str]]
"""Field -> its number, its type, and the ``oneof`` that it belongs to, if any.

The type is a scalar's name, or the full name of a message or an enumeration after a dot;
``repeated`` before it makes a list, ``map`` a map from text.
"""


def message_classes(
    packages: Mapping[str, Mapping[str, Fields | type[IntEnum]]],
) -> dict[str, Any]:
    """The classes of messages, by their names without the package.

    They live in a descriptor pool of their own, so that a process may hold TensorFlow's classes of
    the same messages too. Bytes are the same; an object of one kind cannot be put into an object of
    the other, and what only reads fields takes either.

    Args:
      packages: package -> its messages and enumerations; may name those of the packages before it.
        A nested message (``Message.Nested``) follows the one that it is in.
    """
    pool = descriptor_pool.DescriptorPool()
    files = [file.DESCRIPTOR.name for file in (any_pb2, wrappers_pb2)]
    for file in (any_pb2, wrappers_pb2):
        pool.AddSerializedFile(file.DESCRIPTOR.serialized_pb)
    classes = {}
    for package, entries in packages.items():
        described = _file(package, entries)
        described.dependency.extend(files)
        files.append(described.name)
        pool.AddSerializedFile(described.SerializeToString())
        for name, entry in entries.items():
            if not isinstance(entry, type):
                descriptor = pool.FindMessageTypeByName(f"{package}.{name}")
                classes[name] = message_factory.GetMessageClass(descriptor)
    return classes


def _file(package: str, entries: Mapping[str, Fields | type[IntEnum]]) -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package.replace('.', '/')}.proto", package=package, syntax="proto3"
    )
    messages: dict[str, Any] = {}
    enums = {f".{package}.{name}" for name, entry in entries.items() if isinstance(entry, type)}
    for name, entry in entries.items():
        if isinstance(entry, type):
            enum = file.enum_type.add(name=name)
            for value in entry:
                enum.value.add(name=value.name, number=value)
            continue
        outer, _, own = name.rpartition(".")
        messages[name] = (
            messages[outer].nested_type.add(name=own) if outer else file.message_type.add(name=own)
        )
        for field, (number, kind, *oneof) in entry.items():
            made = _add_field(messages[name], f".{package}.{name}", field, number, kind, enums)
            if oneof:
                made.oneof_index = _oneof(messages[name], str(oneof[0]))
    return file


def _add_field(
    message: Any, full_name: str, name: str, number: int, kind: str, enums: set[str]
) -> Any:
    modifier, _, kind = kind.rpartition(" ")
    field = message.field.add(
        name=name,
        number=number,
        label=_Field.LABEL_REPEATED if modifier else _Field.LABEL_OPTIONAL,
    )
    if modifier == "map":  # a list of entries, as protocol buffers have it
        entry = message.nested_type.add(
            name="".join(word.capitalize() for word in name.split("_")) + "Entry"
        )
        entry.options.map_entry = True
        _add_field(entry, "", "key", 1, "string", enums)
        _add_field(entry, "", "value", 2, kind, enums)
        kind = f"{full_name}.{entry.name}"
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = _Field.TYPE_ENUM if kind in enums else _Field.TYPE_MESSAGE
        field.type_name = kind
    return field


def _oneof(message: Any, name: str) -> int:
    """The index of a ``oneof``, which is added where it is new."""
    names = [oneof.name for oneof in message.oneof_decl]
    if name not in names:
        message.oneof_decl.add(name=name)
        names.append(name)
    return names.index(name)
