"""Links to backends: a warm pool each, and everything that its requests and answers have in common, as bytes."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from headrace.errors import ConfigError, Fault
from headrace.fleet import Backend, Fleet, Quota
from headrace.fleet.addresses import forbidden
from headrace.fleet.credentials import Credentials, credential_variables
from headrace.fleet.dialect_check import spoken_dialect
from headrace.gateway.key_files import credential_faults, file_key, tls_context
from headrace.http import ConnectionPool, PoolLimits, Rounds
from headrace.telemetry import tell
from headrace.wire import ApiName

FORWARDED = (
    *(b"x-headrace-emulated-output-tokens", b"x-headrace-emulated-fault"),
    *(b"traceparent", b"tracestate"),
)
FORWARDED_TO: dict[ApiName, tuple[bytes, ...]] = {"messages": (*FORWARDED, b"anthropic-beta")}
WARM_CONNECTIONS = 2
SPARE_CONNECTIONS = 16


class BackendLink:
    """One backend as the data plane sees it.

    The client's own authorization and hop-by-hop headers are never forwarded: a request's head is built anew, from the
    backend's key and the few headers in `FORWARDED`.
    """

    __slots__ = (
        *("_answer_heads", "_starts", "address", "backend", "credentials", "dialect", "fit_key", "name", "pool"),
        *("_told", "port", "quota", "served_model_name"),
    )

    def __init__(
        self,
        backend: Backend,
        environment: Mapping[str, str],
        rounds: Rounds,
        quota: Quota | None = None,
        file_key: str | None = None,
        pools: type[ConnectionPool] = ConnectionPool,
    ) -> None:
        """
        Args:
            file_key: what the backend's `api_key_file` holds.
            pools: what makes the pool.
            quota: whose rate-limit headers the policy engine is told of; None: it reserves nothing here.
        """
        self.quota = quota
        self.name = backend.name
        self.backend = backend
        self.served_model_name = backend.served_model_name
        url = urlsplit(backend.url)
        self.address, self.port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
        self.dialect = spoken_dialect(backend)
        self.fit_key = " ".join((self.dialect.name, *sorted(backend.lacks)))  # backends that take the same bodies
        limit = backend.max_in_flight + SPARE_CONNECTIONS
        sizes = PoolLimits(warm=WARM_CONNECTIONS, max_connections=limit)
        self.pool = pools(backend.url, sizes, ssl=tls_context(backend), rounds=rounds, forbids=self.forbidden_peer)
        self._told = False
        self.credentials = Credentials(backend, environment, file_key)
        start = (
            b"POST %b HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\n"
            b"accept: application/json, text/event-stream\r\nuser-agent: headrace\r\n"
        )
        paths = {api: self.pool.prefix + path.encode() for api, path in self.dialect.paths.items()}
        self._starts = {api: (path, start % (path, self.pool.host_header)) for api, path in paths.items()}
        self._answer_heads: dict[str, bytes] = {}

    def request_head(self, api: ApiName, headers: dict[bytes, bytes], body: bytes) -> bytes:
        """The whole head of a request to this API with these client headers and this body."""
        credentials = self.credentials
        path, start = self._starts[api]
        start += credentials.lines
        if credentials.signs:
            start += credentials.sign(b"POST", path, body, time.time())
        names = FORWARDED_TO.get(api, FORWARDED)
        if not headers.keys().isdisjoint(names):
            start += b"".join([b"%b: %b\r\n" % (name, headers[name]) for name in names if name in headers])
        return b"%bcontent-length: %d\r\n\r\n" % (start, len(body))

    def forbidden_peer(self, address: str) -> str | None:
        """Why no request may go to the address that the URL led to; None: it may. The operator is told once."""
        fault = None if self.backend.link_local else forbidden(address)
        if fault is not None and not self._told:
            self._told = True
            tell(f"backend {self.name}: {self.address} leads to an address that is not used: {fault}")
        return fault

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


def link_backends(
    fleet: Fleet,
    rounds: Rounds,
    environment: Mapping[str, str] = os.environ,
    before: Mapping[str, BackendLink] | None = None,
    pools: type[ConnectionPool] = ConnectionPool,
) -> dict[str, BackendLink]:
    """A link for every backend of the fleet; all of them write in the same rounds.

    Args:
        before: links of another fleet: one to a backend that is the same in this one stays.
        pools: what makes the pools of new ones.

    Raises:
        ConfigError: a backend's key is not in the environment, or its URL cannot be used.
    """
    links: dict[str, BackendLink] = {}
    faults: list[Fault] = []
    for backend in fleet.backends:
        known = None if before is None else before.get(backend.name)
        if known is not None and known.backend == backend:
            links[backend.name] = known
            continue
        missing = [name for name in credential_variables(backend) if name not in environment]
        if missing:
            setting = "api_key_env" if backend.api_key_env is not None else "dialect"
            faults.append(Fault(f"backends.{backend.name}.{setting}", f"set {', '.join(missing)} in the environment"))
            continue
        found = credential_faults(backend, environment)
        if found:
            faults += found
            continue
        try:
            quota = fleet.pools[backend.pool].deployment.quota if fleet.limits.reserve_quota else None
            links[backend.name] = BackendLink(backend, environment, rounds, quota, file_key(backend), pools)
        except ValueError as error:
            faults.append(Fault(f"backends.{backend.name}.url", str(error)))
    if faults:
        raise ConfigError("fleet", faults)
    return links
