"""Requests on the wire: chat completions whose prompt has an exact number of tokens.

Traces know lengths, not texts. The emulated tokenizer counts four bytes of message content as one token, so a prompt of
N tokens is any text of 4 N bytes; a real model's tokenizer will count differently, and its usage is what is reported.
"""

from __future__ import annotations

import msgspec

from headrace.workload import Request

BYTES_PER_TOKEN = 4
_FILLER = b"mill"


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

    def write(self, request: Request) -> tuple[bytes, bytes]:
        """Head and body. The true length goes only into the header that emulated backends alone read."""
        body = b'{"model":%b,"stream":true,"stream_options":{"include_usage":true},"max_tokens":%d,%b}' % (
            msgspec.json.encode(request.model or self._default_model),
            request.max_output_tokens or self._max_tokens,
            b'"messages":[{"role":"user","content":"%b"}]' % (_FILLER * request.input_tokens),
        )
        head = b"%bx-headrace-class: %b\r\nx-headrace-emulated-output-tokens: %d\r\ncontent-length: %d\r\n\r\n" % (
            self._head,
            request.workload_class.encode(),
            max(request.output_tokens, 1),
            len(body),
        )
        return head, body
