"""OpenAI's legacy completions: `POST /v1/completions`."""

from headrace.wire.apis.api import Api
from headrace.wire.apis.completions.answers import (
    CompletionsStreamReader,
    CompletionsStreamWriter,
    read_answer,
    write_answer,
)
from headrace.wire.apis.completions.requests import WireRequest, read_request, write_request

COMPLETIONS = Api(
    name="completions",
    path="/v1/completions",
    wire_request=WireRequest,
    read_request=read_request,
    write_request=write_request,
    read_answer=read_answer,
    write_answer=write_answer,
    stream_reader=CompletionsStreamReader,
    stream_writer=CompletionsStreamWriter,
)

__all__ = ["COMPLETIONS"]
