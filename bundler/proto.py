"""Protobuf messages from a table: no generated code that must match the installed protobuf."""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from . import BundleError

# message -> field -> (number, type, "" or "repeated" or the name of its oneof); a type is one of
# _TYPES or a message that stands above. proto3's "optional" is a oneof of one field, named _FIELD.
Messages = dict[str, dict[str, tuple[int, str, str]]]

_KINDS = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "string": _KINDS.TYPE_STRING,
    "bytes": _KINDS.TYPE_BYTES,
    "int32": _KINDS.TYPE_INT32,
    "bool": _KINDS.TYPE_BOOL,
    "float": _KINDS.TYPE_FLOAT,
}


def message_class(package: str, messages: Messages, name: str) -> type[Message]:
    """The class of the message `name`, by proto3's rules. Fields outside the table are kept."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package}.proto", package=package, syntax="proto3"
    )
    for message_name, table in messages.items():
        message = file.message_type.add(name=message_name)
        oneofs = {how for _, _, how in table.values()} - {"", "repeated"}
        oneofs = sorted(oneofs, key=lambda name: (name.startswith("_"), name))  # optionals last
        for oneof in oneofs:
            message.oneof_decl.add(name=oneof)
        for field_name, (number, kind, how) in table.items():
            field = message.field.add(name=field_name, number=number)
            field.type = _TYPES.get(kind, _KINDS.TYPE_MESSAGE)
            field.label = _KINDS.LABEL_REPEATED if how == "repeated" else _KINDS.LABEL_OPTIONAL
            if kind in messages:
                field.type_name = f".{package}.{kind}"
            if how in oneofs:
                field.oneof_index = oneofs.index(how)
                field.proto3_optional = how == f"_{field_name}"
    pool = descriptor_pool.DescriptorPool()  # our own: another library may have registered the name
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))


def parsed(message: Any, data: bytes, where: str) -> Any:
    """The empty `message`, read from bytes. Raises BundleError for what is none of its kind."""
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise BundleError(
            f"{where}: {len(data)} bytes are no {message.DESCRIPTOR.name} message ({error}); "
            "build the bundle anew"
        ) from error
    return message
