"""Scenarios: what goes wrong, and what a client of a correct gateway sees of it.

A scenario says what breaks in the backends (`troubles`: one for each attempt, in the order in which they are made, or
one place that nobody can reach), what is asked, and what must come of it. There are three ends:

    ANSWERED   the whole answer, its text the very text of an unbroken one, ended properly, once
    REFUSED    an error in the shape of the API, with the status that it should have, and no part of an answer
    BROKEN     a part of the answer, and then no end: no client can take it for the whole

An answer that breaks in the middle is `ANSWERED` where another backend can go on with it, and `BROKEN` where none can:
both are correct, and a truncated answer that looks complete never is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class End(StrEnum):
    """How a request ends for its client."""

    ANSWERED = "answered"
    REFUSED = "refused"
    BROKEN = "broken"
    CANCELLED = "cancelled"


class Place(StrEnum):
    """Where the backend that would be picked first cannot be reached."""

    CLOSED_PORT = "closed_port"
    NO_SUCH_HOST = "no_such_host"
    NO_TLS = "no_tls"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One thing that goes wrong.

    Attributes:
        name: one word or a few, for people and for `--only`.
        troubles: what happens to the k-th attempt (`emulate.fault` has the grammar); later ones are well.
        place: the first backend is here, where nobody answers; None: it is where it should be.
        end: how every request ends. `needs_rescue`: `BROKEN` where no other backend can go on with it.
        requests: how many are asked, one after the other; `at_once`: together.
        streamed, calls: how they are asked: as a stream; for an answer that calls a tool.
        status: of a refusal. `says_when`: it has a retry-after.
        max_attempts: most attempts that a correct gateway makes for one request; None: as many as its limits allow.
        lost_pool: the whole vendor of the pool that answers is lost while answers are on their way.
        leaves_after: the client goes away after so many events; None: it stays.
    """

    name: str
    troubles: tuple[str, ...] = ()
    place: Place | None = None
    end: End = End.ANSWERED
    needs_rescue: bool = False
    requests: int = 1
    at_once: bool = False
    streamed: bool = True
    calls: bool = False
    status: tuple[int, ...] = ()
    says_when: bool = False
    max_attempts: int | None = None
    lost_pool: bool = False
    leaves_after: int | None = None
