"""Events: everything that a policy engine can be told. Plain values, so a journal can hold them.

Late and repeated events are normal input, not errors: a `TimerFired` for an attempt that has ended, or a second
`Finished`, changes nothing.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class FailureKind(StrEnum):
    """Why an attempt failed, as far as the next decision must know."""

    REFUSED = "refused"  # no connection: nothing was sent
    RESET = "reset"  # the connection broke
    TIMEOUT = "timeout"  # nothing came in time
    GARBAGE = "garbage"  # what came is not an answer
    OVERLOADED = "overloaded"  # 429 and its relatives: healthy, but full
    SERVER_ERROR = "server_error"  # 5xx
    MISCONFIGURED = "misconfigured"  # it refuses the key, the account or the path that we have for it
    STALLED = "stalled"  # its answer began, and then nothing came for too long
    SLOW = "slow"  # its answer comes slower than the floor
    CUT = "cut"  # its answer ended without its end
    UNFIT = "unfit"  # healthy, but this request is too much for it; another backend may take it
    CAPPED = "capped"  # no failure: its answer reached a ceiling lower than the client's, and is to go on


class Event(msgspec.Struct, frozen=True, gc=False, tag=True, array_like=True):
    """Base of all events."""


class Arrived(Event, frozen=True, gc=False, tag=True, array_like=True):
    """A request came in.

    Attributes:
        request_id: chosen by the driver, never used twice.
        input_tokens: the driver's estimate (a gateway counts bytes, a trace knows tokens).
        model: canonical model name; None means the fleet's only model.
        max_output_tokens: the client's ceiling. Not the true length: nobody knows that.
        streamed: the answer comes token by token; else as a whole, when its last token is made.
        prefix: ids of the prompt's blocks of `prefix_block_tokens` tokens, from its beginning; each stands for its
            block and all before it. Empty: nothing is known of it.
        session: requests with the same one continue each other's context; None: nothing is known of it.
        unfit: backends that cannot give what it asks for.
        value_of_time_usd_per_s: what a second of waiting costs for this request; None: as its class says.
        held_bytes: what it holds in the driver's memory while it waits.
        resizable: backends that may be given a lower ceiling than the client's, since an answer that reaches it can be
            gone on with.
    """

    request_id: int
    workload_class: str
    input_tokens: int
    tenant: str = "default"
    model: str | None = None
    max_output_tokens: int | None = None
    streamed: bool = True
    prefix: tuple[int, ...] = ()
    prefix_block_tokens: int = 0
    session: str | None = None
    unfit: tuple[str, ...] = ()
    value_of_time_usd_per_s: float | None = None
    held_bytes: int = 0
    resizable: tuple[str, ...] = ()


class FirstToken(Event, frozen=True, gc=False, tag=True, array_like=True):
    """The first token of an attempt's answer came."""

    attempt_id: int


class Finished(Event, frozen=True, gc=False, tag=True, array_like=True):
    """An attempt's answer is complete. Token counts are the backend's own; None when it did not say.

    Attributes:
        cached_input_tokens: of the input tokens, those that the backend found in its prefix cache.
    """

    attempt_id: int
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int = 0


class AttemptFailed(Event, frozen=True, gc=False, tag=True, array_like=True):
    """An attempt failed, or ended short of its answer's end.

    Attributes:
        committed: bytes of its answer have reached the client, so no other backend can begin anew.
        retry_after_s: what the backend asked for.
        output_tokens: tokens that it had produced by then, as far as they were counted.
        resumable: another backend can go on from what the client has; `unfit`: those that cannot.
        input_tokens: as the backend counted them; None: it did not say. cached_input_tokens: of these, cached.
    """

    attempt_id: int
    kind: FailureKind
    committed: bool = False
    retry_after_s: float | None = None
    output_tokens: int = 0
    resumable: bool = False
    unfit: tuple[str, ...] = ()
    input_tokens: int | None = None
    cached_input_tokens: int = 0


class ClientGone(Event, frozen=True, gc=False, tag=True, array_like=True):
    """The client closed its connection before its answer was complete.

    Attributes:
        output_tokens: tokens that had been delivered, as far as they were counted.
    """

    request_id: int
    output_tokens: int = 0


class SignalReceived(Event, frozen=True, gc=False, tag=True, array_like=True):
    """A measured value of a backend, with the time it was true."""

    backend: str
    name: str
    value: float
    as_of_s: float


class PeerLoad(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What other engines have on a backend: attempts in flight, their context tokens, uncontended prefill seconds that
    are still to do, and whether one of them has opened its breaker.
    """

    backend: str
    in_flight: int = 0
    kv_tokens: float = 0.0
    prefill_s: float = 0.0
    tripped: bool = False


class PeerDraw(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What another engine draws from one of a provider's limits, in the limit's unit.

    Attributes:
        engine: who it is; no two have the same, and one that is started again has another.
        limit: of which quota, of what, in which window, e.g. `acme.tokens.minute`.
        taken: since it was started, less what came back from its own attempts.
        recent: of it, what it committed lately.
        owed: what its live attempts will be debited for yet.
        wanted: the most that it would take now if it were there; 0: it has what it wants.
        level: what it believes to be left for all.
    """

    engine: str
    limit: str
    taken: float
    recent: float
    owed: float
    wanted: float
    level: float


class PeersReported(Event, frozen=True, gc=False, tag=True, array_like=True):
    """The other engines over the same fleet say what they do, in sum.

    Attributes:
        as_of_s: when the oldest of it was true.
        engines: how many there are.
        loads: of the backends where they have something.
        used: of commitments and budgets in the present period, by the path of the table.
        draws: from limits of providers, each engine's.
        told: who is told, as the others call it.
    """

    as_of_s: float
    engines: int
    loads: tuple[PeerLoad, ...] = ()
    used: tuple[tuple[str, float], ...] = ()
    draws: tuple[PeerDraw, ...] = ()
    told: str = ""


class TimerFired(Event, frozen=True, gc=False, tag=True, array_like=True):
    """A timer that `SetTimer` asked for is due."""

    timer_id: int


class FleetChanged(Event, frozen=True, gc=False, tag=True, array_like=True):
    """The set of drained backends is now this one: they finish what they have and take no more."""

    drained: tuple[str, ...]


class FleetReplaced(Event, frozen=True, gc=False, tag=True, array_like=True):
    """The fleet is another from now on (`Generations`).

    Attributes:
        fleet: text of its file, which is without fault. policy: name of what chooses.
    """

    fleet: str
    policy: str


class PeriodResumed(Event, frozen=True, gc=False, tag=True, array_like=True):
    """The present period of a commitment or a budget began before the engine did, or has yet to begin.

    Attributes:
        limit: path of its table, e.g. `budgets.batch`.
        elapsed_s: since it began; negative: until it begins.
        used: in it so far, in the limit's unit.
    """

    limit: str
    elapsed_s: float
    used: float = 0.0


AnyEvent = (
    Arrived
    | FirstToken
    | Finished
    | AttemptFailed
    | ClientGone
    | SignalReceived
    | PeersReported
    | TimerFired
    | FleetChanged
    | FleetReplaced
    | PeriodResumed
)
