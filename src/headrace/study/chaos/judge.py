"""The judge: what was, against what a correct system shows. It knows nothing of how the gateway works."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from headrace.ledger.reader import Entry
from headrace.metrics.usage import AttemptStatus
from headrace.study.chaos.client import Reply
from headrace.study.chaos.scenario import End, Scenario


def end_of(reply: Reply, scenario: Scenario) -> End:
    """How a request ended for its client."""
    if reply.whole:
        return End.ANSWERED
    if reply.status is not None and reply.status >= 400:
        return End.REFUSED
    return End.CANCELLED if scenario.leaves_after is not None else End.BROKEN


def faults_of(
    scenario: Scenario, replies: Sequence[Reply], reference: Reply, attempts: Sequence[Entry], *, can_go_on: bool
) -> list[str]:
    """Everything that a correct system would not have shown; empty: it is correct.

    Args:
        reference: the unbroken answer to the same request.
        can_go_on: another backend can go on with an answer that breaks.
    """
    wanted = End.BROKEN if scenario.needs_rescue and not can_go_on else scenario.end
    found = [fault for reply in replies for fault in _of_reply(scenario, reply, reference, wanted)]
    return [*found, *_of_books(scenario, replies, attempts)]


def _of_reply(scenario: Scenario, reply: Reply, reference: Reply, wanted: End) -> Iterator[str]:
    end = end_of(reply, scenario)
    if end not in (wanted, scenario.end):  # what breaks before its first token was handed on is begun anew anywhere
        yield f"{end} (HTTP {reply.status}, {len(reply.events)} events), not {wanted}"
    yield from reply.faults()
    if end is End.ANSWERED and reply.text != reference.text:
        yield f"another text: {_difference(reply.text, reference.text)}"
    if end is End.BROKEN and not reference.text.startswith(reply.text):
        yield f"what came before the break is no part of the answer: {_difference(reply.text, reference.text)}"
    if end is End.BROKEN and reply.proper:
        yield "a broken answer whose body ends in good order"
    if end is End.REFUSED and scenario.status and reply.status not in scenario.status:
        yield f"HTTP {reply.status}, not {' or '.join(map(str, scenario.status))}"
    if end is End.REFUSED and scenario.says_when and b"retry-after" not in reply.headers:
        yield "refused without saying when to come back"


def _of_books(scenario: Scenario, replies: Sequence[Reply], attempts: Sequence[Entry]) -> Iterator[str]:
    left_open = sum(entry.status is AttemptStatus.OPEN for entry in attempts)
    if left_open:
        yield f"{left_open} attempts are still open in the ledger"
    per_request = Counter(entry.request_id for entry in attempts)
    most = scenario.max_attempts
    if most is not None and any(count > most for count in per_request.values()):
        yield f"{max(per_request.values())} attempts at one request, at most {most} make sense"
    completed = Counter(entry.request_id for entry in attempts if entry.status is AttemptStatus.COMPLETED)
    if any(count > 1 for count in completed.values()):
        yield "a request was answered twice"
    answered = sum(reply.whole for reply in replies)
    if len(completed) < answered:
        yield f"{answered} answers, and {len(completed)} completed requests in the ledger"


def _difference(text: str, reference: str) -> str:
    at = next((k for k, (one, other) in enumerate(zip(text, reference, strict=False)) if one != other), None)
    at = min(len(text), len(reference)) if at is None else at
    return f"{text[at : at + 24]!r} where {reference[at : at + 24]!r} should be, at character {at}"
