"""Anthropic's Messages: `POST /v1/messages` and `POST /v1/messages/count_tokens`."""

from headrace.wire.apis.api import Api
from headrace.wire.apis.messages.read_answer import MessagesStreamReader, read_answer
from headrace.wire.apis.messages.read_request import WireRequest, read_count_request, read_request
from headrace.wire.apis.messages.write_answer import MessagesStreamWriter, read_count, write_answer, write_count
from headrace.wire.apis.messages.write_request import write_request

MESSAGES = Api(
    name="messages",
    path="/v1/messages",
    wire_request=WireRequest,
    read_request=read_request,
    write_request=write_request,
    read_answer=read_answer,
    write_answer=write_answer,
    stream_reader=MessagesStreamReader,
    stream_writer=MessagesStreamWriter,
)

__all__ = ["MESSAGES", "read_count", "read_count_request", "write_count"]
