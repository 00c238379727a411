"""Links to backends: a warm pool each, and everything that its requests and answers have in common, as bytes."""

from __future__ import annotations

import os
from collections.abc import Mapping

from headrace.errors import ConfigError, Fault
from headrace.fleet import Backend, Fleet
from headrace.http import ConnectionPool, PoolLimits, Rounds

CHAT_PATH = b"/v1/chat/completions"
FORWARDED = (b"x-headrace-emulated-output-tokens", b"traceparent", b"tracestate")
WARM_CONNECTIONS = 2
SPARE_CONNECTIONS = 16


class BackendLink:
    """One backend as the data plane sees it.

    The client's own authorization and hop-by-hop headers are never forwarded: a request's head is built anew, from the
    backend's key and the few headers in `FORWARDED`.
    """

    __slots__ = ("_answer_heads", "_request_start", "name", "pool")

    def __init__(self, backend: Backend, api_key: str | None, rounds: Rounds) -> None:
        self.name = backend.name
        limit = backend.max_in_flight + SPARE_CONNECTIONS
        self.pool = ConnectionPool(backend.url, PoolLimits(warm=WARM_CONNECTIONS, max_connections=limit), rounds=rounds)
        key = b"" if api_key is None else b"authorization: Bearer %b\r\n" % api_key.encode()
        self._request_start = (
            b"POST %b%b HTTP/1.1\r\nhost: %b\r\n%bcontent-type: application/json\r\n"
            b"accept: application/json, text/event-stream\r\nuser-agent: headrace\r\n"
        ) % (self.pool.prefix, CHAT_PATH, self.pool.host_header, key)
        self._answer_heads: dict[str, bytes] = {}

    def request_head(self, headers: dict[bytes, bytes], body_bytes: int) -> bytes:
        """The whole head of a request with these client headers and a body of this size."""
        start = self._request_start
        for name in FORWARDED:
            value = headers.get(name)
            if value is not None:
                start += b"%b: %b\r\n" % (name, value)
        return b"%bcontent-length: %d\r\n\r\n" % (start, body_bytes)

    def answer_head(self, workload_class: str) -> bytes:
        """Header lines that say what was decided, up to the value of the request id."""
        head = self._answer_heads.get(workload_class)
        if head is None:
            head = b"x-headrace-backend: %b\r\nx-headrace-class: %b\r\nx-headrace-request-id: " % (
                self.name.encode(),
                workload_class.encode(),
            )
            self._answer_heads[workload_class] = head
        return head


def link_backends(fleet: Fleet, rounds: Rounds, environment: Mapping[str, str] = os.environ) -> dict[str, BackendLink]:
    """A link for every backend of the fleet; all of them write in the same rounds.

    Raises:
        ConfigError: a backend's key is not in the environment, or its URL cannot be used.
    """
    links: dict[str, BackendLink] = {}
    faults: list[Fault] = []
    for backend in fleet.backends:
        variable = backend.api_key_env
        if variable is not None and variable not in environment:
            faults.append(Fault(f"backends.{backend.name}.api_key_env", f"set {variable} in the environment"))
            continue
        try:
            links[backend.name] = BackendLink(backend, environment[variable] if variable is not None else None, rounds)
        except ValueError as error:
            faults.append(Fault(f"backends.{backend.name}.url", str(error)))
    if faults:
        raise ConfigError("fleet", faults)
    return links
