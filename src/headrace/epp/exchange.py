"""A request that Envoy tells of: to the gateway a client's exchange, and the backend's connection of its first attempt.

One `ext_proc` stream is one request. Its answer leaves in one of two ways:

- *in the place of Envoy's response*, once Envoy has told of the head of one that has a body: head and pieces as they
  are written, whoever they came from;
- *as a whole* (an immediate response), where Envoy has told of none, or of one without a body: a refusal, an answer to
  a request that no backend is asked, and whatever an own connection brings while Envoy waits.

Nothing is awaited in here: messages of Envoy's come in by `told`, and what is to be said leaves by `say`, in rounds
(`http.Rounds`), so that an attempt is in the ledger before Envoy hears of it.
"""

from __future__ import annotations

from collections.abc import Callable

from headrace.epp.carried import Carried, CarriedPool
from headrace.epp.ext_proc import Told
from headrace.epp.messages import (
    Head,
    Lines,
    answer_begun,
    answered_here,
    code_details,
    pieces,
    read_head,
    read_lines,
    sent_on,
    trailers_passed,
)
from headrace.gateway.translated_answer import MAX_WHOLE_BYTES
from headrace.http import Exchange, ResponseSink, unframe
from headrace.http.exchange import Phase, Successor

Say = Callable[[bytes], None]


class EnvoyExchange(Exchange):
    """One request, complete with its body, and the way to answer it.

    Attributes:
        allowed: the endpoints that may be picked; None: all.
    """

    __slots__ = (
        "_broken",
        "_carried",
        "_head_said",
        "_kept",
        "_kept_bytes",
        "_lines",
        "_offered",
        "_reading",
        "_request_trailers",
        "_response_trailers",
        "_said",
        "_say",
        "allowed",
    )

    def __init__(
        self, head: Head, body: bytes, *, say: Say, broken: Callable[[], None], reading: Callable[[bool], None]
    ) -> None:
        """
        Args:
            say: takes a message to Envoy. broken: is called to end the stream so that the answer is seen to be
                incomplete. reading: is told whether more of Envoy's response is to be read.
        """
        # Not the base's: it is bound to a connection that speaks HTTP. All that uses one is replaced below.
        self.method = head.pseudo.get(":method", b"")
        self.path, _, self.query = head.pseudo.get(":path", b"").partition(b"?")
        self.headers = {b"host": head.pseudo.get(":authority", b""), **head.headers}
        self.body = body
        self.http_1_0 = False
        self.status = 0
        self.on_gone: Callable[[], None] | None = None
        self.on_pause: Callable[[], None] | None = None
        self.on_resume: Callable[[], None] | None = None
        self._phase = Phase.UNANSWERED
        self._splice = False
        self.allowed: frozenset[str] | None = None
        self._say = say
        self._broken = broken
        self._reading = reading
        self._carried: Carried | None = None
        self._offered: dict[bytes, bytes] | None = None  # the head of Envoy's response, which may be replaced
        self._request_trailers = self._response_trailers = False
        self._lines = Lines()
        self._kept: list[bytes] = []  # of the answer's body, what has not been said
        self._kept_bytes = 0
        self._head_said = self._said = False

    # the backend's side

    def trailed(self) -> None:
        """The request ended with trailers."""
        self._request_trailers = True

    @property
    def carriable(self) -> bool:
        """Whether Envoy still waits to be told where the request goes."""
        return self._carried is None and self._phase is Phase.UNANSWERED

    def carry(self, pool: CarriedPool, head: bytes, body: bytes, sink: ResponseSink) -> Carried:
        """Have Envoy send this request to the pool's backend."""
        start, _, rest = head.partition(b"\r\n")
        lines: Lines = [(":path", start.split(b" ")[1]), (":authority", pool.host_header)]
        lines += [line for line in read_lines(rest) if line[0] not in ("host", "content-length")]
        self._say(sent_on(lines, self.headers, pool.endpoint))
        trailers = self._request_trailers
        for piece in pieces(body, of_request=True, last=not trailers):
            self._say(piece)
        if trailers:
            self._say(trailers_passed(of_request=True))
        self._carried = Carried(pool, sink, self._reading)
        return self._carried

    def told(self, message: Told) -> None:
        """Envoy tells of its response."""
        carried = self._carried
        if carried is None or self._said:
            return
        kind = message.WhichOneof("request")
        if kind == "response_headers":
            self._told_head(carried, message)
        elif kind == "response_body":
            carried.data(message.response_body.body)
            if message.response_body.end_of_stream:
                carried.end()
        elif kind == "response_trailers":
            self._response_trailers = True
            carried.end()

    def _told_head(self, carried: Carried, message: Told) -> None:
        head, ends = read_head(message.response_headers), message.response_headers.end_of_stream
        if not ends:
            self._offered = head.headers
            self._advance()  # what has been written by then need wait no longer
        status = head.pseudo.get(":status", b"")
        carried.begin(int(status) if status.isdigit() else 0, head.headers, code_details(message))
        if ends:
            carried.end()

    # the client's side

    def respond(self, status: int, headers: bytes, body: bytes) -> None:
        """Answer with a complete body."""
        if self._phase is Phase.UNANSWERED:
            self.start(status, headers)
            self.write(body)
            self.finish()

    def switch(self, headers: bytes, successor: Successor) -> None:
        """No WebSocket comes this way."""
        self.respond(501, b"content-type: text/plain\r\n", b"no WebSocket here: ask by POST\n")

    def start(self, status: int, headers: bytes, content_length: int | None = None) -> None:
        """Begin an answer whose body comes in pieces."""
        if self._phase is Phase.UNANSWERED:
            self._phase = Phase.STARTED
            self.status, self._lines = status, read_lines(headers)

    def write(self, data: bytes) -> None:
        """Send a piece of the body."""
        if self._phase is Phase.STARTED and data and not self._said:
            self._kept.append(data)
            self._kept_bytes += len(data)
            self._advance()
            if self._kept_bytes > MAX_WHOLE_BYTES:
                self._give_up()

    def write_raw(self, block: bytes) -> None:
        """Send a piece that came as whole chunks."""
        self.write(unframe(block))

    def raw_sender(self) -> Callable[[bytes], None]:
        """What to call with many blocks of whole chunks."""
        return self.write_raw

    def flush(self) -> None:
        """A round is short beside a stream's own delay."""

    def finish(self) -> None:
        """End the answer properly."""
        if self._phase is Phase.STARTED:
            self._phase = Phase.ENDED
            self._forget()
            self._advance()

    def abort(self) -> None:
        """End the stream so that the answer is seen to be incomplete."""
        if self.open:
            self._phase = Phase.ENDED
            self._forget()
            self._said = True
            self._broken()

    def reset(self) -> None:
        """The same: what was written and not yet read is lost with the stream."""
        self.abort()

    def _give_up(self) -> None:
        """No head of Envoy's has come whose body this answer could be, and it is too large to be said as a whole."""
        self._said = True
        self._kept.clear()
        self._broken()  # the stream ends, and the gateway hears that the client is gone

    def _advance(self) -> None:
        """Say what can be said of the answer now."""
        ended = self._phase is Phase.ENDED
        if self._said or not self.status:
            return
        if self._offered is None:
            if ended:
                self._said = True
                body = b"" if self.method == b"HEAD" else b"".join(self._kept)
                self._say(answered_here(self.status, self._lines, body))
            return
        self._said = ended
        if not self._head_said:
            self._head_said = True
            self._say(answer_begun(self.status, self._lines, self._offered))
        body, trailers = b"".join(self._kept), self._response_trailers
        self._kept.clear()
        self._kept_bytes = 0
        for piece in pieces(body, of_request=False, last=ended and not trailers):
            self._say(piece)
        if ended and trailers:
            self._say(trailers_passed(of_request=False))
