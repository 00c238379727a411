"""What goes over the wire, without the wire: requests, answers and errors as bytes in and bytes out."""

from headrace.wire.api import ApiName
from headrace.wire.backend_error import BackendFault, client_error, read_error, stream_error
from headrace.wire.chat import (
    DONE,
    chat_chunk,
    chat_completion,
    chat_usage_chunk,
    model_list,
)
from headrace.wire.error_kind import ErrorKind
from headrace.wire.errors import WIRE_ERRORS, WireError, encode_error, error_body, shaped_error, wire_error
from headrace.wire.head import (
    ChatHead,
    Head,
    StreamOptions,
    decode_head,
    with_include_usage,
    with_output_ceiling,
    without_controls,
)
from headrace.wire.model_name import StreamNames, renamed_answer, with_model
from headrace.wire.rate_limit import RateLimit, rate_limit_headers, rate_limits, reset_s, retry_after_s
from headrace.wire.sse import FINISH_MARKS, UsageFilter
from headrace.wire.usage import (
    StreamEnd,
    Usage,
    completion_usage,
    has_token,
    is_usage_event,
    stream_end,
)

__all__ = [
    "DONE",
    "FINISH_MARKS",
    "WIRE_ERRORS",
    "ApiName",
    "BackendFault",
    "ChatHead",
    "ErrorKind",
    "Head",
    "RateLimit",
    "StreamEnd",
    "StreamNames",
    "StreamOptions",
    "Usage",
    "UsageFilter",
    "WireError",
    "chat_chunk",
    "chat_completion",
    "chat_usage_chunk",
    "client_error",
    "completion_usage",
    "decode_head",
    "encode_error",
    "error_body",
    "has_token",
    "is_usage_event",
    "model_list",
    "rate_limit_headers",
    "rate_limits",
    "read_error",
    "renamed_answer",
    "reset_s",
    "retry_after_s",
    "shaped_error",
    "stream_end",
    "stream_error",
    "wire_error",
    "with_include_usage",
    "with_model",
    "with_output_ceiling",
    "without_controls",
]
