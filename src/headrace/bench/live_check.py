"""Which claims of a dialect hold at a live backend: a handful of tiny requests, each for one token or for none.

What a refused parameter proves is asymmetric. A 400 shows that the backend does not take it; a 200 shows that it takes
it *or ignores it in silence*, which from outside is the same. So a claim that is not confirmed is a reason to look, not
a verdict, and what cannot be told is said to be open.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from headrace.errors import BackendError, ConfigError, Fault
from headrace.fleet import Backend
from headrace.fleet.addresses import forbidden
from headrace.fleet.credentials import Credentials, credential_variables
from headrace.fleet.dialect_check import spoken_dialect
from headrace.http import ConnectionPool, FailedKind, unframe
from headrace.http.token_command import printed_token
from headrace.wire import BackendFault, ErrorKind, read_error
from headrace.wire.dialects import Dialect, ErrorShape, Fitter, Parameter, ResetEncoding, Treatment
from headrace.wire.dialects import Usage as Place
from headrace.wire.dialects.dialect import MODELS
from headrace.wire.rate_limit import rate_limit_headers
from headrace.wire.usage import event_data

TIMEOUT_S = 60.0
OUTPUT_TOKENS = 8
NO_MODEL = "headrace-no-such-model"
PROMPT = [{"role": "user", "content": "Say ok."}]
# A value of each parameter that asks for something; parameters without one here are not tried.
SAMPLES: dict[str, Any] = {
    "n": 2,
    "logprobs": True,
    "logit_bias": {"0": 1},
    "frequency_penalty": 0.1,
    "presence_penalty": 0.1,
    "seed": 1,
    "metadata": {"probe": "headrace"},
    "store": True,
    "prompt_cache_key": "headrace",
    "safety_identifier": "headrace",
    "user": "headrace",
    "service_tier": "scale",
    "reasoning_effort": "xhigh",
    "guided_json": {"type": "object"},
}


class LiveClaim(NamedTuple):
    """One claim and what was found; `holds` is None where it cannot be told."""

    claim: str
    said: str
    found: str
    holds: bool | None


class Listing(NamedTuple):
    """What a backend says of itself when it is asked for its models.

    Attributes:
        status: of its answer; models: their names, in its order; owners: whom it says they belong to.
        emulated: it says that its speed is.
        unix_s: what time it says it is; None: it does not say.
    """

    status: int
    models: tuple[str, ...]
    owners: tuple[str, ...]
    emulated: bool
    unix_s: float | None


class _Reply(NamedTuple):
    status: int
    headers: Mapping[bytes, bytes]
    body: bytes

    @property
    def fault(self) -> BackendFault:
        return read_error(self.status, self.headers, self.body, time.time())

    def events(self) -> list[dict[str, Any]]:
        """The events of a stream that are JSON objects."""
        return [event for event in map(_decoded, self.body.replace(b"\r\n", b"\n").split(b"\n\n")) if event]


class _Collector:
    """Takes a whole response."""

    wants_framed = False

    def __init__(self) -> None:
        self.done: asyncio.Future[_Reply] = asyncio.get_running_loop().create_future()
        self._status = 0
        self._headers: Mapping[bytes, bytes] = {}
        self._pieces: list[bytes] = []

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        self._status, self._headers = status, headers

    def on_framed(self, block: bytes) -> None:
        self.on_data(unframe(block))

    def on_data(self, data: bytes) -> None:
        self._pieces.append(data)

    def on_end(self, explicit: bool) -> None:
        if not self.done.done():
            self.done.set_result(_Reply(self._status, self._headers, b"".join(self._pieces)))

    def on_failed(self, kind: FailedKind, message: str) -> None:
        if not self.done.done():
            self.done.set_exception(BackendError(message))


async def live_claims(backend: Backend, model: str, environment: Mapping[str, str] = os.environ) -> list[LiveClaim]:
    """What the backend's dialect claims, tried there.

    Args:
        model: to be asked for.

    Raises:
        ConfigError: its credentials cannot be had.
        BackendError: it cannot be reached, or answers no chat completion at all.
    """
    check = await _connected(backend, model, environment)
    try:
        return await check.run()
    finally:
        await check.close()


async def listing(backend: Backend, environment: Mapping[str, str] = os.environ) -> Listing:
    """The backend's catalogue, where its dialect has one; a request that costs nothing.

    Raises:
        ConfigError: its credentials cannot be had.
        BackendError: it cannot be reached.
    """
    check = await _connected(backend, "", environment)
    try:
        return await check.listing()
    finally:
        await check.close()


async def _connected(backend: Backend, model: str, environment: Mapping[str, str]) -> _LiveCheck:
    missing = [name for name in credential_variables(backend) if name not in environment]
    if missing:
        raise ConfigError("fleet", [Fault(f"backends.{backend.name}", f"set {', '.join(missing)} in the environment")])
    credentials = Credentials(backend, environment, _file_key(backend))
    if backend.token_command:
        try:
            credentials.use_token(await printed_token(backend.token_command))
        except (OSError, TimeoutError, ValueError) as error:
            fault = Fault(f"backends.{backend.name}.token_command", f"{error or type(error).__name__}; run it by hand")
            raise ConfigError("fleet", [fault]) from error
    return _LiveCheck(backend, model, credentials)


def _file_key(backend: Backend) -> str | None:
    if backend.api_key_file is None:
        return None
    try:
        return Path(backend.api_key_file).read_text(encoding="utf-8").strip()
    except OSError as error:
        fault = Fault(f"backends.{backend.name}.api_key_file", f"{error.strerror}; check the path and who may read it")
        raise ConfigError("fleet", [fault]) from error


class _LiveCheck:
    """One run over the claims of one backend."""

    def __init__(self, backend: Backend, model: str, credentials: Credentials) -> None:
        self._backend = backend
        self._dialect: Dialect = spoken_dialect(backend)
        self._model = model
        self._credentials = credentials
        self._pool = ConnectionPool(backend.url, forbids=None if backend.link_local else forbidden)
        self._claims: list[LiveClaim] = []

    async def run(self) -> list[LiveClaim]:
        await self._catalogue()
        if self._dialect.path("chat") is not None:
            await self._chat()
            for rule in self._dialect.parameters:
                await self._parameter(rule)
        await self._errors()
        await self._other_paths()
        return self._claims

    async def listing(self) -> Listing:
        reply = await self._send(b"GET", self._dialect.models_path or MODELS)
        listed = _decoded(b"data: " + reply.body).get("data")
        rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
        names, owners = (tuple(str(row[key]) for row in rows if key in row) for key in ("id", "owned_by"))
        emulated, date = b"x-headrace-emulated" in reply.headers, reply.headers.get(b"date")
        return Listing(reply.status, names, owners, emulated, None if date is None else _unix_s(bytes(date)))

    async def close(self) -> None:
        await self._pool.close()

    async def _send(self, method: bytes, path: str, body: object = None) -> _Reply:
        data = b"" if body is None else msgspec.json.encode(body)
        full = self._pool.prefix + path.encode()
        lines = self._credentials.lines
        if self._credentials.signs:
            lines += self._credentials.sign(method, full, data, time.time())
        head = (
            b"%b %b HTTP/1.1\r\nhost: %b\r\n%bcontent-type: application/json\r\nuser-agent: headrace\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n"  # no claim hangs on an old connection
        ) % (method, full, self._pool.host_header, lines, len(data))
        collector = _Collector()
        exchange = self._pool.send(head, data, collector, method)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await collector.done
        except TimeoutError:
            exchange.cancel()
            raise BackendError(f"{self._backend.name}: no answer on {path} within {TIMEOUT_S:.0f} s") from None

    def _note(self, claim: str, said: str, found: str, holds: bool | None) -> None:
        self._claims.append(LiveClaim(claim, said, found, holds))

    async def _catalogue(self) -> None:
        path = self._dialect.models_path
        if path is None:
            return
        reply = await self._send(b"GET", path)
        listed = reply.status == 200 and f'"{self._model}"'.encode() in reply.body.replace(b'": "', b'":"')
        said = f"lists {self._model}" if listed else f"{reply.status}, without {self._model}"
        self._note("catalogue", path, said, listed)

    def _body(self, **fields: object) -> dict[str, object]:
        """A small chat request, in the dialect."""
        body = {"model": self._model, "messages": PROMPT, "max_tokens": OUTPUT_TOKENS}
        fitted: dict[str, object] = msgspec.json.decode(
            Fitter(self._dialect, "chat").fit(msgspec.json.encode(body)).body
        )
        return fitted | fields

    async def _ask(self, **fields: object) -> _Reply:
        return await self._send(b"POST", self._dialect.path("chat") or "", self._body(**fields))

    async def _chat(self) -> None:
        reply = await self._ask()
        if reply.status != 200:
            fault = reply.fault
            said = f"no chat completion ({reply.status}, {fault.kind}): {fault.message}"
            raise BackendError(f"{self._backend.name}: {said}; mend that first")
        self._note("chat", self._dialect.path("chat") or "", "answers", True)
        self._rate_limits(reply)
        stream = await self._ask(stream=True, stream_options={"include_usage": True})
        events = stream.events()
        self._stream_end(stream, events)
        self._usage(events)
        self._reasoning(events)

    def _rate_limits(self, reply: _Reply) -> None:
        limits = self._dialect.rate_limits
        texts = rate_limit_headers({bytes(name): bytes(value) for name, value in reply.headers.items()})
        resets = [text for name, text in texts.items() if "reset" in name]
        said = "none" if limits is None else str(limits.encoding)
        found = ", ".join(sorted({_encoding(text) for text in resets})) or "none"
        self._note("rate-limit resets", said, found, None if not resets else found == said)

    def _stream_end(self, stream: _Reply, events: list[dict[str, Any]]) -> None:
        done, said = b"data: [DONE]" in stream.body, self._dialect.done_marker
        self._note("ends with [DONE]", _yes(said), _yes(done), done == said)
        finished = any(c.get("finish_reason") for event in events for c in event.get("choices") or ())
        self._note("finish reason", "yes", _yes(finished), finished)

    def _usage(self, events: list[dict[str, Any]]) -> None:
        found = {place for event in events for place in _places(event)}
        said = set(self._dialect.usage)
        self._note("usage of a stream", ", ".join(sorted(said)), ", ".join(sorted(found)) or "none", bool(said & found))

    def _reasoning(self, events: list[dict[str, Any]]) -> None:
        names = ("reasoning", "reasoning_content")
        deltas = [c.get("delta") or {} for event in events for c in event.get("choices") or ()]
        found = sorted({name for name in names for delta in deltas if delta.get(name)})
        said = self._dialect.reasoning
        holds = None if not found else set(found) <= set(said)
        self._note("reasoning field", ", ".join(said) or "none", ", ".join(found) or "none came", holds)

    async def _parameter(self, rule: Parameter) -> None:
        value = SAMPLES.get(rule.name)
        if value is None or "chat" not in rule.apis or rule.treatment is Treatment.RENAME:
            return
        reply = await self._ask(**{rule.name: value})
        said = f"{rule.treatment}: {rule.why}"
        choices = len((_decoded(b"data: " + reply.body)).get("choices") or ())
        if reply.status == 200 and rule.name == "n":
            self._note(rule.name, said, f"{choices} of {value} choices", choices != value)
        elif reply.status == 200:
            self._note(rule.name, said, "taken, or ignored in silence", None)
        else:
            client = reply.fault.kind is ErrorKind.BAD_REQUEST
            self._note(rule.name, said, f"{reply.status}: {reply.fault.message[:80]}", True if client else None)

    async def _errors(self) -> None:
        api = next(iter(self._dialect.paths))
        body = self._body() if api == "chat" else {"messages": PROMPT, "max_tokens": 1}
        path = self._dialect.paths[api]
        reply = await self._send(b"POST", path, body | {"model": NO_MODEL})
        if reply.status == 200:
            self._note("unknown model", ErrorKind.MODEL_NOT_FOUND, "answers, whatever model is asked for", None)
            reply = await self._send(b"POST", path, body | {"messages": 1})
        else:
            missing = reply.fault.kind
            self._note("unknown model", ErrorKind.MODEL_NOT_FOUND, missing, missing is ErrorKind.MODEL_NOT_FOUND)
        found, said = shape_of(reply.body), self._dialect.error_shape
        self._note("error body", said, found or f"{reply.status}, in no known shape", found == said)

    async def _other_paths(self) -> None:
        """A request without a body costs nothing and shows whether somebody is there."""
        for api, path in self._dialect.paths.items():
            if api != "chat":
                reply = await self._send(b"POST", path, {})
                there = reply.status not in (404, 405)
                self._note(f"{api} API", path, "there" if there else f"not there ({reply.status})", there)


def shape_of(body: bytes) -> ErrorShape | None:
    """How an error's body is built; None: in no way that is known."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError):
        return None
    if isinstance(decoded, list):
        return ErrorShape.GOOGLE
    if not isinstance(decoded, dict):
        return None
    inner = decoded.get("error")
    if isinstance(inner, dict):
        return ErrorShape.ANTHROPIC if decoded.get("type") == "error" else ErrorShape.WRAPPED
    if "message" in decoded:
        return ErrorShape.FLAT if {"type", "code", "object"} & set(decoded) else ErrorShape.AWS
    return None


def _unix_s(date: bytes) -> float | None:
    try:
        return parsedate_to_datetime(date.decode("latin-1")).timestamp()
    except ValueError:
        return None


def _places(event: dict[str, Any]) -> Iterator[Place]:
    if event.get("usage"):
        yield Place.LAST_CHUNK if event.get("choices") else Place.EXTRA_CHUNK
    groq = event.get("x_groq")
    if isinstance(groq, dict) and groq.get("usage"):
        yield Place.X_GROQ


def _decoded(event: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(event_data(event) or b"{}")
    except (msgspec.DecodeError, UnicodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _encoding(text: str) -> str:
    if text.replace(".", "").isdigit():
        return ResetEncoding.SECONDS
    return ResetEncoding.RFC_3339 if "T" in text else ResetEncoding.GO_DURATION


def _yes(value: bool) -> str:
    return "yes" if value else "no"
