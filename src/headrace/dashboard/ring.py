"""The ring: the last calls of the engine, as a journal would have them, in memory.

One append is all that a request's path pays for the dashboard. Whatever is told of requests (the live table, what flows
where, what-if) is worked out from here when somebody looks, and forgotten when nobody does.

    record -> fresh --(once a second)--> kept, which forgets its oldest

What prompts have in common is not kept: it is what a journal is mostly made of, and only a simulation could use it.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from headrace.policy import AnyAction, AnyEvent, Arrived

Call = tuple[float, AnyEvent, list[AnyAction]]  # engine's second, event, actions
KEPT_CALLS: Final = 32_768  # about ten thousand requests, and some 16 MB


class Ring:
    """The last calls of one engine.

    Attributes:
        kept: those that `take` has moved, the oldest first.
    """

    __slots__ = ("_fresh", "kept")

    def __init__(self, size: int = KEPT_CALLS) -> None:
        self._fresh: deque[Call] = deque(maxlen=size)
        self.kept: deque[Call] = deque(maxlen=size)

    @property
    def since_s(self) -> float:
        """The engine's second from which on every call is kept: 0 as long as none was forgotten."""
        return self.kept[0][0] if len(self.kept) == self.kept.maxlen else 0.0

    def record(self, now_s: float, event: AnyEvent, actions: list[AnyAction]) -> None:
        """Keep one call."""
        self._fresh.append((now_s, event, actions))

    def take(self) -> list[Call]:
        """The calls since the last time; they are kept from now on."""
        taken = [call if _is_small(call[1]) else _smaller(call) for call in self._fresh]
        self._fresh.clear()
        self.kept.extend(taken)
        return taken


def _is_small(event: AnyEvent) -> bool:
    return type(event) is not Arrived or not event.prefix


def _smaller(call: Call) -> Call:
    now_s, event, actions = call
    return now_s, msgspec.structs.replace(event, prefix=()), actions
