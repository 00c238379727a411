"""OpenAI's chat completions: `POST /v1/chat/completions`."""

from headrace.wire.apis.api import Api
from headrace.wire.apis.chat.read_answer import ChatStreamReader, read_answer
from headrace.wire.apis.chat.read_request import WireRequest, read_request
from headrace.wire.apis.chat.write_answer import ChatStreamWriter, write_answer
from headrace.wire.apis.chat.write_request import write_request

CHAT = Api(
    name="chat",
    path="/v1/chat/completions",
    wire_request=WireRequest,
    read_request=read_request,
    write_request=write_request,
    read_answer=read_answer,
    write_answer=write_answer,
    stream_reader=ChatStreamReader,
    stream_writer=ChatStreamWriter,
)

__all__ = ["CHAT"]
