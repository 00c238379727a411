"""The dashboard as the gateway's onlooker: what it keeps, what it works out while somebody looks, what it serves.

    GET  /                      the page
    GET  /admin/feed            one frame a second (SSE); the first event is the history
    GET  /admin/frame           one frame
    GET  /admin/request?id=     one request, with the priced table of its candidates as of now
    POST /admin/what-if         what another target would have done with the last hour's requests

Between requests for these, a sample every five seconds, which one worker takes for all, and the ring are all there is.
A viewer makes a fold; it goes when nobody has looked for a while.

The engine's clock stands still while a machine sleeps, and the wall clock may be set. When the two have moved apart,
the fold is made anew, so that everything in it is dated by one difference between them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final
from urllib.parse import parse_qs

import msgspec

from headrace import __version__
from headrace.dashboard import panels
from headrace.dashboard.asking import Asker, Wish
from headrace.dashboard.board import Board, Place
from headrace.dashboard.facts import FleetFacts
from headrace.dashboard.fold import Fold
from headrace.dashboard.frame import SCHEMA, Frame
from headrace.dashboard.history import EVERY_S, History, point, take
from headrace.dashboard.pages import page_files
from headrace.dashboard.ring import Call, Ring
from headrace.dashboard.seen import Seen, Slice, together
from headrace.dashboard.viewers import Viewers
from headrace.errors import HeadraceError
from headrace.gateway import Gateway, Journal, RunningGateway
from headrace.http import Exchange, header_lines
from headrace.policy import Arrived, Explained

LINGER_S: Final = 5.0  # a fold outlives its last viewer so long
APART_S: Final = 1.0  # of the clocks; what is shown of a request is dated no better
CATCH_UP_CALLS: Final = 1000  # at once: a stream must not wait longer for it
ENDED_PER_FRAME: Final = 60
MAX_VIEWERS: Final = 32
SSE: Final = header_lines((b"content-type", b"text/event-stream"), (b"cache-control", b"no-store"))
JSON: Final = header_lines((b"content-type", b"application/json"), (b"cache-control", b"no-store"))


class _Priced(msgspec.Struct):
    """One request, and what each candidate would cost it now."""

    request: Seen
    candidates: list[Explained]
    as_of_unix_s: float


class Dashboard:
    """Watches one gateway, or one worker of it. Implements `gateway.Onlooker`."""

    def __init__(self, place: Place | None = None) -> None:
        self._ring = Ring()
        self._board = Board(place or Place())
        self._history = History()
        self._running: RunningGateway | None = None
        self._facts: FleetFacts | None = None
        self._fold: Fold | None = None
        self._backlog: deque[Call] = deque()
        self._goes_on = False  # catching up, at the loop's next round
        self._viewers = Viewers()
        self._waiting: list[Exchange] = []  # for one frame
        self._looked_s = -LINGER_S
        self._zero_unix_s = 0.0
        self._seen = Slice(0.0, {}, {}, {}, [], [])
        self._asker = Asker(self._ring, self._board)
        self._files = page_files()

    # the gateway's side

    @property
    def record(self) -> Journal:
        """Keeps one call: the ring's own method, for it is called for every one."""
        return self._ring.record

    def attach(self, running: RunningGateway) -> None:
        """This gateway listens now."""
        self._running = running
        self._zero_unix_s = time.time() - running.gateway.now_s()

    def sweep(self) -> None:
        """Once a second: keep what came, and show it to whoever looks."""
        fresh = self._ring.take()
        self._sample()
        self._set_clock(time.time() - self._gateway.now_s())
        wishes = self._board.watched()
        self._asker.grant(wishes, self._zero_unix_s)
        if self._viewers or self._waiting:
            self._looked_s = time.monotonic()
            self._board.watch(self._asker.wished)
        if not wishes and time.monotonic() - self._looked_s > LINGER_S:
            self._forget()
        elif self._fold is None:
            self._begin()
        else:
            self._backlog += fresh
            self._catch_up()

    def _sample(self) -> None:
        """Keep a sample when it is due: another worker's, or one for all."""
        due_s, now_s = self._history.due_s, time.monotonic()
        if now_s < due_s:
            return
        taken = self._board.told(max(due_s, now_s - EVERY_S))
        if taken is None:
            taken = take(self._watched.shown(), now_s, time.time())
            self._board.tell(taken)
        self._history.keep(taken, self._known())

    def _set_clock(self, zero_unix_s: float) -> None:
        """When the engine's second 0 was, by the wall clock of now."""
        if abs(zero_unix_s - self._zero_unix_s) > APART_S:
            self._zero_unix_s = zero_unix_s
            self._forget()

    def _forget(self) -> None:
        self._fold = None
        self._backlog.clear()

    # looking

    def _begin(self) -> None:
        """Somebody looks: work out what the ring has."""
        gateway = self._gateway
        run_id = gateway.run_id.decode()
        self._fold = Fold(self._known(), run_id, self._zero_unix_s, since_s=self._ring.since_s)
        self._backlog = deque(self._ring.kept)
        self._catch_up()

    def _catch_up(self) -> None:
        """Piece by piece, and then show it; one who catches up is enough."""
        if not self._goes_on:
            self._piece()

    def _piece(self) -> None:
        self._goes_on, fold = False, self._fold
        if fold is None:
            return
        fold.facts = self._known()
        fold.add(self._backlog.popleft() for _ in range(min(CATCH_UP_CALLS, len(self._backlog))))
        if self._backlog:
            self._goes_on = True
            asyncio.get_running_loop().call_soon(self._piece)
        else:
            self._show()

    def _show(self) -> None:
        """To the other workers, and to viewers."""
        assert self._fold is not None
        now_unix_s = self._zero_unix_s + self._gateway.now_s()
        own = self._fold.slice(now_unix_s)
        self._board.show(own)
        if not self._viewers and not self._waiting:
            return
        others = self._board.slices()
        self._seen = together([own, *others]) if others else own
        frame = msgspec.json.encode(self._frame(now_unix_s))
        self._viewers.tell(b"event: frame\ndata: %b\n\n" % frame, self._before)
        for exchange in self._waiting:
            exchange.respond(200, JSON, frame)
        self._waiting.clear()

    def _before(self) -> bytes:
        """The first event of a feed: what there was before it."""
        told = {"points": self._history.points(self._known()), "ended": self._seen.ended}
        return b"event: history\ndata: %b\n\n" % msgspec.json.encode(told)

    def _frame(self, now_unix_s: float) -> Frame:
        shown, facts, seen = self._watched.shown(), self._known(), self._seen
        sample = self._history.sample(take(shown, time.monotonic(), now_unix_s), facts)
        window_s, used = self._history.window(sample)
        now = panels.Seconds(shown, facts, seen, window_s, used)
        view = shown.view
        return Frame(
            schema=SCHEMA,
            at_unix_s=now_unix_s,
            up_s=self._gateway.now_s(),
            version=__version__,
            policy=view.policy,
            emulated=facts.emulated,
            workers=shown.workers,
            workers_up=len(shown.pages),
            requests_live=shown.requests_live,
            attempts_live=shown.attempts_live,
            queued=view.queued,
            client_connections=shown.connections,
            requests=_by_outcome(shown.counters.requests),
            attempts=_by_outcome(shown.counters.attempts),
            rescues={name: int(count) for name, count in shown.counters.rescues.items()},
            alerts=panels.alerts(now),
            covers_s=seen.covers_s,
            shares=panels.shares(now),
            money=panels.money(now),
            classes=panels.classes(now),
            flows=panels.flows(now),
            pools=panels.pools(now),
            limits=panels.limits(now),
            promises=panels.promises(now),
            point=point(facts, sample, used),
            live=seen.live,
            ended=seen.ended[:ENDED_PER_FRAME],
            missed=seen.missed,
        )

    @property
    def _watched(self) -> RunningGateway:
        assert self._running is not None, "nothing is asked of it before it is attached"
        return self._running

    @property
    def _gateway(self) -> Gateway:
        return self._watched.gateway

    def _known(self) -> FleetFacts:
        """Facts of the fleet as it is now."""
        fleet = self._gateway.fleet
        if self._facts is None or self._facts.fleet is not fleet:
            self._facts = FleetFacts(fleet)
        return self._facts

    # serving

    def handle(self, exchange: Exchange) -> None:
        """Answer a request to the admin port."""
        path, method = exchange.path, exchange.method
        file = self._files.get(path)
        if file is not None and method in (b"GET", b"HEAD"):
            exchange.respond(200, *file)
        elif path == b"/admin/feed" and method == b"GET":
            self._feed(exchange)
        elif path == b"/admin/frame" and method == b"GET":
            self._look(exchange, self._waiting.append)
        elif path == b"/admin/request" and method == b"GET":
            self._one(exchange)
        elif path == b"/admin/what-if" and method == b"POST":
            self._what_if(exchange)
        elif path in (*self._files, b"/admin/feed", b"/admin/frame", b"/admin/request", b"/admin/what-if"):
            _refuse(exchange, 405, f"{path.decode('latin-1')} does not take {method.decode('latin-1')}")
        else:
            _refuse(exchange, 404, f"there is nothing at {path.decode('latin-1')}")

    def _feed(self, exchange: Exchange) -> None:
        if len(self._viewers) >= MAX_VIEWERS:
            _refuse(exchange, 503, f"{MAX_VIEWERS} look already; close one")
            return
        exchange.start(200, SSE)
        self._look(exchange, self._viewers.add)

    def _look(self, exchange: Exchange, add: Callable[[Exchange], None]) -> None:
        add(exchange)
        self._looked_s = time.monotonic()
        if self._fold is None:
            self._ring.take()
            self._begin()
        elif not self._backlog:
            self._backlog += self._ring.take()
            self._catch_up()

    def _one(self, exchange: Exchange) -> None:
        wanted = parse_qs(exchange.query.decode("latin-1")).get("id", [""])[0]
        found = next((each for each in (*self._seen.live, *self._seen.ended) if each.id == wanted), None)
        if found is None:
            _refuse(exchange, 404, f"request {wanted} is not among the last ones")
            return
        try:
            rows = self._gateway.engine.explain(self._gateway.now_s(), _as_it_came(found))
        except HeadraceError:
            rows = []  # its class or its model is no longer in the fleet
        exchange.respond(200, JSON, msgspec.json.encode(_Priced(found, rows, time.time())))

    def _what_if(self, exchange: Exchange) -> None:
        if exchange.headers.get(b"content-type", b"").partition(b";")[0] != b"application/json":
            _refuse(exchange, 415, "send application/json")  # which no other site's form can
            return
        try:
            wish = msgspec.json.decode(exchange.body, type=Wish)
        except msgspec.MsgspecError as error:
            _refuse(exchange, 400, f"what-if: {error}; send share and target")
            return
        fault = self._asker.fault(wish, self._known().fleet)
        if fault is not None:
            _refuse(exchange, *fault)
            return
        self._ring.take()
        task = self._asker.ask(wish, self._known().fleet, self._zero_unix_s)
        task.add_done_callback(partial(_tell, exchange))


def _tell(exchange: Exchange, done: asyncio.Task[bytes]) -> None:
    """The answer to a what-if, or why there is none."""
    error = None if done.cancelled() else done.exception()
    if done.cancelled():
        _refuse(exchange, 503, "what-if: the gateway stops")
    elif error is None:
        exchange.respond(200, JSON, done.result())
    else:
        said = str(error) if isinstance(error, RuntimeError) else f"{type(error).__name__}: {error}"
        _refuse(exchange, 500, f"what-if: {said}")


def _by_outcome(counts: dict[tuple[str, str], int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for (_, outcome), count in sorted(counts.items()):
        found[outcome] = found.get(outcome, 0) + count
    return found


def _as_it_came(seen: Seen) -> Arrived:
    return Arrived(
        0,
        seen.workload_class,
        seen.input_tokens,
        seen.tenant,
        model=seen.model,
        max_output_tokens=seen.max_output_tokens,
        streamed=seen.streamed,
    )


def _refuse(exchange: Exchange, status: int, message: str) -> None:
    exchange.respond(status, JSON, msgspec.json.encode({"error": {"message": message}}))
