"""Every error that headrace raises, as one tree.

    HeadraceError
     ├── ConfigError       a document of the user's (fleet file, option) is wrong; carries every fault at once
     ├── TraceError        a line of a trace, journal or ledger file cannot be read; carries file and line (0: all)
     ├── RequestError      the client's fault: the request can never succeed as it is
     │    ├── BodyTooLarge
     │    ├── UnknownModel
     │    ├── UnknownResponse
     │    ├── UnknownEndpoint
     │    ├── Unauthenticated  no valid key came with it
     │    └── Forbidden      its key or tenant may not have what it asks for
     ├── BackendError      the backend's fault: another backend may still answer
     ├── CapacityError     ours, now: nothing is free or nothing is up; try again later
     │    ├── DeadlinePassed  the client's own deadline: an answer now would be worth nothing to it
     │    └── QuotaExceeded  a rate limit is used up; it says when there is room again
     │         └── BudgetSpent  so is a budget in USD
     ├── ModelRangeError   a speed or memory model was asked outside the range it holds for
     ├── InfeasiblePlan    no plan meets the constraints; carries the smallest set that conflicts
     ├── NoPlanInTime      no plan was found within the time limit
     └── InvariantError    a bug in headrace: a law of the system was broken

A message says what is wrong, where (a path or an id) and what to do.
`headrace.wire.errors` maps each class to its HTTP status, wire error type and metric label.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class HeadraceError(Exception):
    """Base of every error that headrace raises on purpose.

    Remedy: look for the message on the gateway's standard error; report it if it is no fault of a document.
    """


class Fault(NamedTuple):
    """One thing that is wrong in a document: `path` says where (`pools.fast.price`), `message` what and what to do."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class ConfigError(HeadraceError):
    """A document is wrong. `faults` holds everything that was found, not only the first thing.

    Remedy: change the document where each fault says; `headrace check` reads it as the gateway does.
    """

    def __init__(self, source: str, faults: Sequence[Fault]) -> None:
        self.source = source
        self.faults = tuple(faults)
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        super().__init__(f"{source}: {count}\n" + "\n".join(f"  {fault}" for fault in self.faults))


class TraceError(HeadraceError):
    """A line of a trace, journal or ledger file cannot be read.

    Remedy: look at the line that the message names, or leave the file out.
    """

    def __init__(self, path: str, line: int, message: str) -> None:
        self.path = path
        self.line = line
        self.message = message
        super().__init__(f"{path}:{line}: {message}" if line else f"{path}: {message}")


class RequestError(HeadraceError):
    """The client's fault. `param` names the field of the request, when there is one.

    Remedy: change the field; the same request again fails again.
    """

    def __init__(self, message: str, param: str | None = None) -> None:
        self.param = param
        super().__init__(message)


class BodyTooLarge(RequestError):
    """The request body exceeds the limit of this gateway.

    Remedy: send less, or raise `max_body_bytes` of `[limits]`.
    """


class UnknownModel(RequestError):
    """No route of the fleet serves the model that was asked for.

    Remedy: ask for one of `/v1/models`, or add a route, or an alias in `[aliases]`.
    """


class UnknownResponse(RequestError):
    """The conversation is to go on from a response that is not stored here, or not any more.

    Remedy: send the whole conversation; `stored_responses` of `[limits]` says how many are kept.
    """


class UnknownEndpoint(RequestError):
    """No endpoint has this path and method.

    Remedy: look at the base URL of the client: it ends in `/v1`; `/openapi.json` lists what there is.
    """


class Unauthenticated(RequestError):
    """No key came with the request, or none that holds.

    Remedy: send `authorization: Bearer KEY` or `x-api-key`; `headrace keys list` says until when keys hold.
    """


class Forbidden(RequestError):
    """The key or the tenant of the request may not have what it asks for.

    Remedy: use another model, class or pool, or a key that may; `headrace keys show-limits` says what one may.
    """


class BackendError(HeadraceError):
    """A backend refused, reset, stalled or answered with something that is not an answer.

    Remedy: try again; `headrace doctor` and `headrace check --live BACKEND` say what is wrong with it.
    """


class CapacityError(HeadraceError):
    """Nothing is free, or nothing is up. `retry_after_s` says when asking again makes sense.

    Remedy: ask again after `retry-after`; where it lasts, `headrace top` says which pool is full or down.
    """

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class DeadlinePassed(CapacityError):
    """The deadline that the client gave has passed.

    Remedy: give the request longer (`x-headrace-deadline-s`), or none.
    """


class QuotaExceeded(CapacityError):
    """A limit on requests or tokens per minute or day leaves no room for this request before `retry_after_s`.

    `stated` holds what rate-limit headers say of it: their names and values.

    Remedy: ask again after `retry-after`; the limit is the tenant's, the key's or the provider's.
    """

    def __init__(self, message: str, retry_after_s: float = 1.0, stated: tuple[tuple[str, str], ...] = ()) -> None:
        self.stated = stated
        super().__init__(message, retry_after_s)


class BudgetSpent(QuotaExceeded):
    """A hard budget in USD leaves nothing for this request before `retry_after_s`.

    Remedy: wait for the next period, or raise the budget.
    """


class ModelRangeError(HeadraceError):
    """A model was asked for a value outside the range it holds for.

    Remedy: ask within the range that the message names, or measure there (`headrace probe`).
    """


class Conflicting(NamedTuple):
    """One constraint of a set that no plan meets together.

    Attributes:
        kind, name: as the scenario calls it (`power`, `dalles`).
        reason: why the scenario asks for it, in its own words; empty: it does not say.
        remedy: what to change, and by how much where that is known.
    """

    kind: str
    name: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" + (f" ({self.reason})" if self.reason else "") + f": {self.remedy}"


class InfeasiblePlan(HeadraceError):
    """No plan meets the constraints. `conflict` is the smallest set of them that cannot hold together.

    Remedy: loosen one of the constraints that the message lists.
    """

    def __init__(self, conflict: Sequence[Conflicting]) -> None:
        self.conflict = tuple(conflict)
        count = "this constraint alone cannot be met" if len(self.conflict) == 1 else "these constraints conflict"
        super().__init__(f"no plan: {count}\n" + "\n".join(f"  {each}" for each in self.conflict))


class NoPlanInTime(HeadraceError):
    """No plan was found within the time limit; there may be one.

    Remedy: give the solver longer (`time_limit_s` of `[solver]`), or ask a smaller question.
    """


class InvariantError(HeadraceError):
    """A law of the system was broken: a bug in headrace. Carries what is needed to reproduce it.

    Remedy: report it, with the message and the journal.
    """
