"""OpenAI's Responses: `POST /v1/responses`."""

from headrace.wire.apis.api import Api
from headrace.wire.apis.responses.read_answer import ResponsesStreamReader, read_answer
from headrace.wire.apis.responses.read_request import WireRequest, read_request
from headrace.wire.apis.responses.socket import Create, SocketWriter, prepared, read_create, stream_id_of
from headrace.wire.apis.responses.write_answer import ResponsesStreamWriter, write_answer
from headrace.wire.apis.responses.write_request import write_request

RESPONSES = Api(
    name="responses",
    path="/v1/responses",
    wire_request=WireRequest,
    read_request=read_request,
    write_request=write_request,
    read_answer=read_answer,
    write_answer=write_answer,
    stream_reader=ResponsesStreamReader,
    stream_writer=ResponsesStreamWriter,
)

__all__ = ["RESPONSES", "Create", "SocketWriter", "prepared", "read_create", "stream_id_of"]
