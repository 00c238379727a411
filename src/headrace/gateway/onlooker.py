"""An onlooker: who watches a gateway and serves what it sees on the admin port.

The gateway knows nothing of pages. It tells an onlooker every call of the engine, as it tells a journal, hands it the
requests to the admin port that it does not know itself, and calls it once a second. `record` is on the path of every
request: whoever implements it keeps what it is given, and works later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from headrace.gateway.books import Journal
from headrace.http import Exchange
from headrace.policy import AnyAction, AnyEvent
from headrace.telemetry import tell

if TYPE_CHECKING:
    from headrace.gateway.run import RunningGateway


class Onlooker(Protocol):
    """Who watches a gateway."""

    @property
    def record(self) -> Journal:
        """Told of every call of the engine."""

    def handle(self, exchange: Exchange) -> None:
        """Answer a request to the admin port."""

    def attach(self, running: RunningGateway) -> None:
        """This gateway listens now."""

    def sweep(self) -> None:
        """About a second has passed."""


class Told:
    """A journal and an onlooker, told of the same calls. A journal with a gap proves nothing: its fault ends it."""

    __slots__ = ("_journal", "_record")

    def __init__(self, record: Journal, journal: Journal) -> None:
        self._record = record
        self._journal: Journal | None = journal

    def __call__(self, now_s: float, event: AnyEvent, actions: list[AnyAction]) -> None:
        """Tell both."""
        self._record(now_s, event, actions)
        if self._journal is not None:
            try:
                self._journal(now_s, event, actions)
            except OSError as error:
                self._journal = None
                tell(f"the journal cannot be written: {error}; it ends here, and requests go on")


def told(journal: Journal | None, onlooker: Onlooker | None) -> Journal | None:
    """Whom the gateway tells of every call of its engine."""
    if onlooker is None:
        return journal
    return onlooker.record if journal is None else Told(onlooker.record, journal)
