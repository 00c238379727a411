"""Answers that come as a whole: one JSON body, or an error.

Nothing of them reaches the client before they are complete, so whatever goes wrong until then is the attempt's failure:
another backend takes over, and the client never notices. `spliced_answer` has the streams that pass as they are,
`translated_answer` what a backend says in another API than the client's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from headrace.errors import BackendError
from headrace.http import FailedKind, ResponseSink, unframe
from headrace.policy import FailureKind
from headrace.wire import BackendFault, ErrorKind
from headrace.wire.apis.embeddings import as_asked
from headrace.wire.splices import SPLICES

if TYPE_CHECKING:
    from headrace.gateway.attempt import Attempt
    from headrace.gateway.rescue import Rescue

MAX_HELD_BYTES = 1024 * 1024
MAX_VECTORS_BYTES = 64 * MAX_HELD_BYTES
MAX_KEPT_PIECES = 128
_CLIENTS_FAULT = frozenset((ErrorKind.BAD_REQUEST, ErrorKind.CONTENT_FILTER, ErrorKind.CONTEXT_LENGTH))


class Answer(ResponseSink, Protocol):
    """What takes a response once its head has been read."""

    def delivered_tokens(self) -> int:
        """A lower bound of the tokens that the client got."""

    def quiet(self, passed_s: float) -> float:
        """Seconds without a byte of an answer that is handed on, when asked every `passed_s` seconds."""

    def spoken_tokens(self) -> int | None:
        """Tokens of a streamed answer by now, estimated; None: it is none."""

    def broken(self) -> Rescue | None:
        """How an answer that has begun, and is broken, can be gone on with; None: nobody can."""

    def ending(self) -> bytes:
        """Its last bytes, for those who ask how a complete answer ended; empty: it has no such end."""


def failure_kind(kind: FailedKind) -> FailureKind:
    """The engine's word for a failure of the connection."""
    return FailureKind(kind.value)


class JsonAnswer:
    """A whole JSON answer: held until it is complete, so that a break in the middle is still nobody's loss.

    One larger than `MAX_HELD_BYTES` is committed and handed on as it comes.
    """

    __slots__ = (
        *("_attempt", "_guarded", "_held_bytes", "_most_held_bytes", "_pieces", "_quiet_s", "_started", "_vectors"),
        "wants_framed",
    )

    def __init__(self, attempt: Attempt) -> None:
        self.wants_framed = False
        self._attempt = attempt
        self._pieces: list[bytes] = []
        self._held_bytes = 0
        self._vectors = attempt.request.api == "embeddings"  # they may have to be written in another encoding
        self._most_held_bytes = MAX_VECTORS_BYTES if self._vectors else MAX_HELD_BYTES
        self._started = False
        self._guarded: bytes | None = None
        self._quiet_s = 0.0

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """The head was read before this sink took over."""

    def on_framed(self, block: bytes) -> None:
        """Not asked for, but the same."""
        self.on_data(unframe(block))

    def on_data(self, data: bytes) -> None:
        """Hold a piece, or hand it on."""
        if self._attempt.ended:
            return
        self._pieces.append(data)
        if self._started:
            self._attempt.request.exchange.write(data)
            if len(self._pieces) > MAX_KEPT_PIECES:  # the beginning and the end are enough from here on
                del self._pieces[1 : -MAX_KEPT_PIECES // 2]
            return
        self._held_bytes += len(data)
        if self._held_bytes > self._most_held_bytes:
            self._started = True
            self._attempt.first_token()
            self._attempt.start_answer()
            self._attempt.request.exchange.write(b"".join(self._pieces))

    def on_end(self, explicit: bool) -> None:
        """Complete, if it is JSON."""
        attempt = self._attempt
        if attempt.ended:
            return
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        if self._started and not explicit:  # the end of the connection is no proof, and what came is not all here
            attempt.failed(FailureKind.RESET)
            return
        try:
            usage = SPLICES[attempt.request.api].whole_usage(body, explicit)
            if self._vectors and not self._started:
                body = as_asked(body, attempt.request.body)
        except (ValueError, BackendError):
            attempt.failed(FailureKind.GARBAGE)
            return
        exchange = attempt.request.exchange
        if self._started:
            attempt.finished(usage, None, exchange.finish)
        else:
            head, body = attempt.answer_head(), attempt.named(body)
            if attempt.request.remember is not None:
                attempt.remember(partial(bytes, body))
            attempt.finished(usage, None, partial(exchange.respond, 200, head, body))

    def on_failed(self, kind: FailedKind, message: str) -> None:
        """The connection broke."""
        if not self._attempt.ended:
            self._attempt.failed(failure_kind(kind))

    def delivered_tokens(self) -> int:
        """Nothing of an answer that is not complete is of use."""
        return 0

    def quiet(self, passed_s: float) -> float:
        """Seconds without a piece of an answer that is handed on; before that the engine's answer timeout guards it."""
        if not self._started or self._guarded is not self._pieces[-1]:
            self._guarded = self._pieces[-1] if self._started else None
            self._quiet_s = 0.0
        else:
            self._quiet_s += passed_s
        return self._quiet_s

    def spoken_tokens(self) -> None:
        """It comes as a whole."""

    def broken(self) -> None:
        """Half a body can only be sent again, whole."""

    def ending(self) -> bytes:
        """The body."""
        return b"".join(self._pieces)


class ErrorAnswer:
    """The backend answers with an error: what it says decides whether another backend is asked, or the client told.

    Its body is read for that, as far as it is short and comes; else the status alone decides.
    """

    __slots__ = ("_attempt", "_pieces", "_read", "_size", "wants_framed")

    def __init__(self, attempt: Attempt, read: Callable[[bytes], BackendFault]) -> None:
        self.wants_framed = False
        self._attempt = attempt
        self._read = read
        self._pieces: list[bytes] = []
        self._size = 0

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """The head was read before this sink took over."""

    def on_framed(self, block: bytes) -> None:
        """Not asked for, but the same."""
        self.on_data(unframe(block))

    def on_data(self, data: bytes) -> None:
        """Hold a piece."""
        if self._attempt.ended:
            return
        self._pieces.append(data)
        self._size += len(data)
        if self._size > MAX_HELD_BYTES:
            self._attempt.failed(FailureKind.GARBAGE)

    def on_end(self, explicit: bool) -> None:
        """All of it is here."""
        if not self._attempt.ended:
            body = b"".join(self._pieces)
            self._attempt.refused(self._read(body), body)

    def on_failed(self, kind: FailedKind, message: str) -> None:
        """The connection broke before the error was complete: only what is not the client's fault is believed."""
        if self._attempt.ended:
            return
        fault = self._read(b"")
        if fault.kind in _CLIENTS_FAULT:
            self._attempt.failed(failure_kind(kind))
        else:
            self._attempt.refused(fault)

    def delivered_tokens(self) -> int:
        """An error has no tokens."""
        return 0

    def quiet(self, passed_s: float) -> float:
        """Short; the first-byte timeout of the engine guards it."""
        return 0.0

    def spoken_tokens(self) -> None:
        """An error has no tokens."""

    def broken(self) -> None:
        """An error is never begun."""

    def ending(self) -> bytes:
        """An error is no answer."""
        return b""
