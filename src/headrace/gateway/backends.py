"""Links to backends: a warm pool each, and everything that its requests and answers have in common, as bytes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from headrace.errors import ConfigError, Fault
from headrace.fleet import Backend, Fleet
from headrace.fleet.dialect_check import auth_of, spoken_dialect
from headrace.http import ConnectionPool, PoolLimits, Rounds
from headrace.wire.dialects import Auth, AwsKeys, region_of, sign

ANTHROPIC_VERSION = b"2023-06-01"
AWS_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
AWS_SESSION = "AWS_SESSION_TOKEN"
AWS_SERVICE = "bedrock"
FORWARDED = (b"x-headrace-emulated-output-tokens", b"traceparent", b"tracestate")
WARM_CONNECTIONS = 2
SPARE_CONNECTIONS = 16


class BackendLink:
    """One backend as the data plane sees it.

    The client's own authorization and hop-by-hop headers are never forwarded: a request's head is built anew, from the
    backend's key and the few headers in `FORWARDED`.
    """

    __slots__ = ("_answer_heads", "_authorization", "_request_start", "_sign", "backend", "dialect", "name", "pool")

    def __init__(self, backend: Backend, environment: Mapping[str, str], rounds: Rounds) -> None:
        self.name = backend.name
        self.backend = backend
        self.dialect = spoken_dialect(backend)
        limit = backend.max_in_flight + SPARE_CONNECTIONS
        self.pool = ConnectionPool(backend.url, PoolLimits(warm=WARM_CONNECTIONS, max_connections=limit), rounds=rounds)
        path = self.pool.prefix + (self.dialect.path("chat") or "").encode()
        self._request_start = (
            b"POST %b HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\n"
            b"accept: application/json, text/event-stream\r\nuser-agent: headrace\r\n"
        ) % (path, self.pool.host_header)
        self._authorization = _authorization(backend, environment)
        self._sign = _signer(backend, self.pool.host_header, path, environment)
        self._answer_heads: dict[str, bytes] = {}

    def authorise(self, token: str) -> None:
        """Send this bearer token from now on."""
        self._authorization = b"authorization: Bearer %b\r\n" % token.encode()

    def request_head(self, headers: dict[bytes, bytes], body: bytes) -> bytes:
        """The whole head of a request with these client headers and this body."""
        start = self._request_start + (self._authorization if self._sign is None else self._sign(body))
        for name in FORWARDED:
            value = headers.get(name)
            if value is not None:
                start += b"%b: %b\r\n" % (name, value)
        return b"%bcontent-length: %d\r\n\r\n" % (start, len(body))

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
        missing = [name for name in _variables(backend) if name not in environment]
        if missing:
            setting = "api_key_env" if backend.api_key_env is not None else "dialect"
            faults.append(Fault(f"backends.{backend.name}.{setting}", f"set {', '.join(missing)} in the environment"))
            continue
        try:
            links[backend.name] = BackendLink(backend, environment, rounds)
        except ValueError as error:
            faults.append(Fault(f"backends.{backend.name}.url", str(error)))
    if faults:
        raise ConfigError("fleet", faults)
    return links


def _variables(backend: Backend) -> tuple[str, ...]:
    """The environment variables that the backend's credentials are in."""
    if auth_of(backend) is Auth.SIGV4:
        return AWS_VARIABLES
    return () if backend.api_key_env is None else (backend.api_key_env,)


def _authorization(backend: Backend, environment: Mapping[str, str]) -> bytes:
    """The header lines that carry the backend's key, the same for each request; empty without one."""
    if backend.api_key_env is None:
        return b""
    key = environment[backend.api_key_env].encode()
    if auth_of(backend) is Auth.X_API_KEY:
        return b"x-api-key: %b\r\nanthropic-version: %b\r\n" % (key, ANTHROPIC_VERSION)
    return b"authorization: Bearer %b\r\n" % key


def _signer(
    backend: Backend, host: bytes, path: bytes, environment: Mapping[str, str]
) -> Callable[[bytes], bytes] | None:
    """What makes the header lines that authorise one request; None where they are always the same."""
    if auth_of(backend) is not Auth.SIGV4:
        return None
    access_key, secret_key = (environment[name] for name in AWS_VARIABLES)
    keys = AwsKeys(access_key, secret_key, environment.get(AWS_SESSION))
    region = backend.aws_region or region_of(urlsplit(backend.url).hostname or "") or ""

    def signed(body: bytes) -> bytes:
        at = {"method": "POST", "host": host.decode(), "path": path.decode()}
        return sign(keys, region, AWS_SERVICE, body=body, now_unix_s=time.time(), **at)

    return signed
