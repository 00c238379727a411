"""The messages of Envoy's external processing that a picker reads and writes, made from their field numbers.

On the wire a message has the numbers of its fields, and no names; what is not listed here is passed over, and an enum
is an integer. So the few messages that are needed are declared below, in the notation of their definition. The package
with all of Envoy's definitions brings an old copy of OpenTelemetry's, too, over the one that its exporter needs.

Source: Envoy 1.40, api/envoy/service/ext_proc/v3/external_processor.proto and what it imports (Apache-2.0): numbers and
names.
"""

from __future__ import annotations

import re
from typing import Any, Final, TypeAlias

from google.protobuf import struct_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import Default
from google.protobuf.message_factory import GetMessageClass

Told: TypeAlias = Any  # a message that was read

SERVICE: Final = "envoy.service.ext_proc.v3.ExternalProcessor"
FULL_DUPLEX_STREAMED: Final = 4  # ProcessingMode.BodySendMode
OVERWRITE_IF_EXISTS_OR_ADD: Final = 2  # HeaderValueOption.HeaderAppendAction
PACKAGE: Final = "headrace.ext_proc"
MESSAGES: Final = """
HeaderValue { string key = 1; string value = 2; bytes raw_value = 3; }
HeaderMap { repeated HeaderValue headers = 1; }
HeaderValueOption { HeaderValue header = 1; int32 append_action = 3; }
HeaderMutation { repeated HeaderValueOption set_headers = 1; repeated string remove_headers = 2; }
Metadata { map Struct filter_metadata = 1; }
HttpHeaders { HeaderMap headers = 1; bool end_of_stream = 3; }
HttpBody { bytes body = 1; bool end_of_stream = 2; }
HttpTrailers { HeaderMap trailers = 1; }
ProtocolConfiguration { int32 request_body_mode = 1; int32 response_body_mode = 2; }
ProcessingRequest {
  oneof request {
    HttpHeaders request_headers = 2; HttpHeaders response_headers = 3;
    HttpBody request_body = 4; HttpBody response_body = 5;
    HttpTrailers request_trailers = 6; HttpTrailers response_trailers = 7;
  }
  Metadata metadata_context = 8; map Struct attributes = 9; ProtocolConfiguration protocol_config = 11;
}
StreamedBodyResponse { bytes body = 1; bool end_of_stream = 2; }
BodyMutation { oneof mutation { StreamedBodyResponse streamed_response = 3; } }
CommonResponse { HeaderMutation header_mutation = 2; BodyMutation body_mutation = 3; }
HeadersResponse { CommonResponse response = 1; }
BodyResponse { CommonResponse response = 1; }
TrailersResponse { HeaderMutation header_mutation = 1; }
HttpStatus { int32 code = 1; }
ImmediateResponse { HttpStatus status = 1; HeaderMutation headers = 2; bytes body = 3; string details = 5; }
ProcessingResponse {
  oneof response {
    HeadersResponse request_headers = 1; HeadersResponse response_headers = 2;
    BodyResponse request_body = 3; BodyResponse response_body = 4;
    TrailersResponse request_trailers = 5; TrailersResponse response_trailers = 6;
    ImmediateResponse immediate_response = 7;
  }
  Struct dynamic_metadata = 8;
}
"""
_MESSAGE = re.compile(r"(\w+) \{((?:[^{}]|\{[^{}]*\})*)\}")
_PART = re.compile(r"oneof (\w+) \{([^}]*)\}|(repeated |map |)(\w+) (\w+) = (\d+);")
_KINDS = {"string": 9, "bytes": 12, "bool": 8, "int32": 5}  # FieldDescriptorProto.Type
_MESSAGE_KIND = 11
_ONE, _MANY = 1, 3  # FieldDescriptorProto.Label


def _declare(text: str) -> FileDescriptorProto:
    file = FileDescriptorProto(name="headrace/ext_proc.proto", package=PACKAGE, syntax="proto3")
    file.dependency.append(struct_pb2.DESCRIPTOR.name)
    for name, body in _MESSAGE.findall(text):
        _fields(file.message_type.add(name=name), body)
    return file


def _fields(message: DescriptorProto, body: str, oneof: int | None = None) -> None:
    for group, grouped, how, kind, name, number in _PART.findall(body):
        if group:
            message.oneof_decl.add(name=group)
            _fields(message, grouped, len(message.oneof_decl) - 1)
            continue
        field = message.field.add(name=name, number=int(number), label=_MANY if how else _ONE)
        if oneof is not None:
            field.oneof_index = oneof
        _set_kind(field, _entry(message, name, kind) if how == "map " else kind)


def _entry(message: DescriptorProto, name: str, kind: str) -> str:
    """Declare the entries of a map from strings; returns their name."""
    entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
    entry.options.map_entry = True
    for number, (each, of) in enumerate((("key", "string"), ("value", kind)), 1):
        _set_kind(entry.field.add(name=each, number=number, label=_ONE), of)
    return f"{message.name}.{entry.name}"


def _set_kind(field: FieldDescriptorProto, kind: str) -> None:
    field.type = _KINDS.get(kind, _MESSAGE_KIND)
    if kind == "Struct":
        field.type_name = ".google.protobuf.Struct"
    elif kind not in _KINDS:
        field.type_name = f".{PACKAGE}.{kind}"


def _message(name: str) -> Any:
    """The class of a message."""
    return GetMessageClass(Default().FindMessageTypeByName(f"{PACKAGE}.{name}"))


Default().AddSerializedFile(_declare(MESSAGES).SerializeToString())
BodyMutation = _message("BodyMutation")
BodyResponse = _message("BodyResponse")
CommonResponse = _message("CommonResponse")
HeaderMutation = _message("HeaderMutation")
HeaderValue = _message("HeaderValue")
HeaderValueOption = _message("HeaderValueOption")
HeadersResponse = _message("HeadersResponse")
HttpHeaders = _message("HttpHeaders")
ImmediateResponse = _message("ImmediateResponse")
ProcessingRequest = _message("ProcessingRequest")
ProcessingResponse = _message("ProcessingResponse")
StreamedBodyResponse = _message("StreamedBodyResponse")
TrailersResponse = _message("TrailersResponse")
