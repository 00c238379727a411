"""The scenarios that `headrace chaos` runs: one for each way in which silicon and networks let a request down."""

from __future__ import annotations

from headrace.study.chaos.scenario import End, Place, Scenario

EVERY_ATTEMPT = 64  # more attempts than any limit allows

BEFORE_THE_HEAD = (
    Scenario(name="connection refused", place=Place.CLOSED_PORT),
    Scenario(name="host unknown", place=Place.NO_SUCH_HOST),
    Scenario(name="no TLS where there should be", place=Place.NO_TLS),
    Scenario(name="reset before the head", troubles=("reset",)),
    Scenario(name="closed before the head", troubles=("cut",)),
    Scenario(name="silence", troubles=("stall",)),
    Scenario(name="slow first token", troubles=("late@30",)),
    Scenario(name="a web page", troubles=("garbage",)),
    Scenario(name="no chunk where one should be", troubles=("malformed",)),
)
ERRORS = (
    Scenario(name="server error", troubles=("server_error",)),
    Scenario(name="overloaded", troubles=("overloaded",)),
    Scenario(name="key refused", troubles=("misconfigured",)),
    Scenario(name="context too long there", troubles=("context_length",)),
    Scenario(name="bad request", troubles=("bad_request",), end=End.REFUSED, status=(400, 422), max_attempts=1),
    Scenario(
        name="server errors everywhere",
        troubles=("server_error",) * EVERY_ATTEMPT,
        end=End.REFUSED,
        status=(500, 502, 503),
        says_when=True,
    ),
    Scenario(
        name="flapping", troubles=("reset", "", "server_error", "", "cut@2", "") * 5, requests=15, needs_rescue=True
    ),
)
WHOLE = (
    Scenario(name="whole answer cut short", troubles=("cut@5",), streamed=False),
    Scenario(name="whole answer that is no JSON", troubles=("polite@5",), streamed=False),
    Scenario(name="more bytes than the head says", troubles=("overlong",), streamed=False),
    Scenario(name="whole answer reset", troubles=("reset@5",), streamed=False),
)
IN_THE_STREAM = (
    *(Scenario(name=f"cut after {n}", troubles=(f"cut@{n}",), needs_rescue=True) for n in (1, 5, 20)),
    Scenario(name="reset after 5", troubles=("reset@5",), needs_rescue=True),
    Scenario(name="polite end without an end", troubles=("polite@5",), needs_rescue=True),
    Scenario(name="stall", troubles=("stall@5",), needs_rescue=True),
    Scenario(name="malformed chunk", troubles=("malformed@5",), needs_rescue=True),
    Scenario(name="error inside the stream", troubles=("server_error@5",), needs_rescue=True),
    Scenario(name="overloaded inside the stream", troubles=("overloaded@5",), needs_rescue=True),
    Scenario(name="cut twice", troubles=("cut@5", "cut@3"), needs_rescue=True),
    Scenario(name="[DONE] is missing", troubles=("no_done",), max_attempts=1),
    Scenario(name="going on refused once", troubles=("cut@5", "bad_request"), needs_rescue=True),
    Scenario(name="going on refused by all", troubles=("cut@5", *("bad_request",) * EVERY_ATTEMPT), end=End.BROKEN),
    Scenario(name="cut by all", troubles=("cut@2",) * EVERY_ATTEMPT, end=End.BROKEN),
    Scenario(name="cut inside a tool call", troubles=("cut@4",), calls=True, end=End.BROKEN),
    Scenario(name="client goes away", leaves_after=3, end=End.CANCELLED, max_attempts=1),
)
MANY = (
    Scenario(name="a quota is cut", troubles=("overloaded",) * 6, requests=12),
    Scenario(name="a vendor is lost", requests=12, at_once=True, lost_pool=True, needs_rescue=True),
)
SCENARIOS: tuple[Scenario, ...] = (*BEFORE_THE_HEAD, *ERRORS, *WHOLE, *IN_THE_STREAM, *MANY)
