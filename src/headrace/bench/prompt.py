"""Requests on the wire: chat completions whose prompt has an exact number of tokens.

Traces know lengths, not texts. The emulated tokenizer counts four bytes of message content as one token, so a prompt of
N tokens is any text of 4 N bytes; a real model's tokenizer will count differently, and its usage is what is reported.
What the trace says of prefixes is in the text: blocks with the same id are the same bytes, and the rest of an input
begins with the number of its request, so that a prefix cache finds what it would have found, and nothing else.
`ExactWriter` is for real models: its prompts have the size that a probe found tokens to have, and were never sent
before.
"""

from __future__ import annotations

from random import SystemRandom

import msgspec

from headrace.bench.sizing import Sizing, unique_prompt
from headrace.workload import Request

BYTES_PER_TOKEN = 4
_FILLER = b"mill"
_ID_BYTES = 16  # of a block or a request, as hexadecimal digits
_IDS = 16**_ID_BYTES


def prompt_text(request: Request, number: int) -> bytes:
    """Text of the request's input tokens, four bytes each; `number`: the request's own."""
    parts, left = [], BYTES_PER_TOKEN * request.input_tokens
    if request.prefix is not None:
        size = BYTES_PER_TOKEN * request.prefix.block_tokens
        for block in request.prefix.blocks[: left // size]:
            parts.append(((b"%016x" % (block % _IDS)) * (size // _ID_BYTES + 1))[:size])
            left -= size
    own = b"%016x" % number + _FILLER * (left // BYTES_PER_TOKEN)
    return b"".join((*parts, own[:left]))


class RequestWriter:
    """Writes the head and body of a streamed chat completion.

    Args:
        path: path of the endpoint, with any prefix of the base URL.
        host: value of the host header.
        default_model: asked for where a request names no model.
        max_tokens: ceiling sent with every request that brings none of its own; says nothing of its true length.
        api_key: sent as a bearer token; None: none is.
    """

    def __init__(self, path: bytes, host: bytes, default_model: str, max_tokens: int, api_key: str | None) -> None:
        authorization = b"" if api_key is None else b"authorization: Bearer %b\r\n" % api_key.encode()
        self._head = (
            b"POST %b HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\naccept: text/event-stream\r\n%b"
            % (path, host, authorization)
        )
        self._default_model = default_model
        self._max_tokens = max_tokens
        self._written = 0

    def write(self, request: Request) -> tuple[bytes, bytes]:
        """Head and body. The true length goes only into the header that emulated backends alone read."""
        self._written += 1
        body = b'{"model":%b,"stream":true,"stream_options":{"include_usage":true},"max_tokens":%d,%b}' % (
            msgspec.json.encode(request.model or self._default_model),
            request.max_output_tokens or self._max_tokens,
            b'"messages":[{"role":"user","content":"%b"}]' % prompt_text(request, self._written),
        )
        head = b"%bx-headrace-class: %b\r\nx-headrace-emulated-output-tokens: %d\r\ncontent-length: %d\r\n\r\n" % (
            self._head,
            request.workload_class.encode(),
            max(request.output_tokens, 1),
            len(body),
        )
        return head, body


class ExactWriter(RequestWriter):
    """Writes requests for a real model that are as long as the trace says, in and out.

    Prompts are random and sized by `sizing`; answers end at their true length because that is the ceiling, and the
    model is asked to ignore its own end (vLLM, SGLang and llama.cpp know `ignore_eos`).
    """

    def __init__(self, path: bytes, host: bytes, default_model: str, sizing: Sizing, api_key: str | None) -> None:
        super().__init__(path, host, default_model, 1, api_key)
        self._sizing = sizing
        self._random = SystemRandom()

    def write(self, request: Request) -> tuple[bytes, bytes]:
        """Head and body."""
        prompt = unique_prompt(self._random, self._sizing.prompt_bytes(request.input_tokens))
        body = msgspec.json.encode(
            {
                "model": request.model or self._default_model,
                "stream": True,
                "stream_options": {"include_usage": True},
                "max_tokens": max(request.output_tokens, 1),
                "ignore_eos": True,
                "messages": [{"role": "user", "content": prompt}],
            }
        )
        return b"%bcontent-length: %d\r\n\r\n" % (self._head, len(body)), body
