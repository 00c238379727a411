"""From calls of the engine to requests: who lives, how they went, what flowed where in the last minutes.

A fold is made when somebody begins to look, from what the ring has kept, and goes on with each second's calls. Sums are
kept in slots of ten seconds, so a window costs the same however much passed through it. An event about a request that
began before the ring did changes nothing, as for the engine itself.

    |--slot--|--slot--|-..-|--slot--|-begun     a window of n slots covers (n - 1) * SLOT_S + now % SLOT_S seconds,
                                        ^now    or what there was, if that is less: by so many its sums are divided
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from headrace.dashboard.facts import FleetFacts
from headrace.dashboard.ring import Call
from headrace.dashboard.seen import Ends, Flow, Pace, Seen, Slice, Tried, add_flows
from headrace.policy import (
    AnyAction,
    Arrived,
    AttemptFailed,
    Cancel,
    ClientGone,
    Dispatch,
    End,
    Enqueue,
    Finished,
    FirstToken,
    Reject,
)

SLOT_S: Final = 10.0
WINDOW_S: Final = 300.0  # of what is judged; as long as the windows in which a share is
NOW_S: Final = 60.0  # of what flows
LIVE_SHOWN, ENDED_SHOWN = 100, 300
SAMPLES: Final = 512  # latencies of a class, the last ones
MIN_TPOT_TOKENS: Final = 8

Flows = dict[str, dict[str, Flow]]
Paces = dict[str, dict[str, Pace]]


class _Slot:
    """Sums of ten seconds."""

    __slots__ = ("ends", "flows")

    def __init__(self) -> None:
        self.flows: Flows = {}
        self.ends: dict[str, Ends] = {}

    def flow(self, workload_class: str, pool: str) -> Flow:
        """Of one class on one pool."""
        return self.flows.setdefault(workload_class, {}).setdefault(pool, Flow())


class Fold:
    """What one worker saw.

    Args:
        zero_unix_s: when the engine's second 0 was.
        since_s: the engine's second from which on it is given every call.
        ended: where requests go that have ended; None: the last ones are kept.
    """

    def __init__(
        self,
        facts: FleetFacts,
        run_id: str,
        zero_unix_s: float,
        *,
        since_s: float = 0.0,
        ended: list[Seen] | None = None,
    ) -> None:
        self.facts = facts
        self._run_id = run_id
        self._zero_unix_s = zero_unix_s
        self._since_unix_s = zero_unix_s + since_s
        self._live: dict[int, Seen] = {}
        self._attempts: dict[int, tuple[Tried, Seen]] = {}
        self._ended: deque[Seen] | list[Seen] = deque(maxlen=ENDED_SHOWN) if ended is None else ended
        self._slots: dict[int, _Slot] = {}
        self._latencies: dict[str, deque[tuple[float, float | None, float | None]]] = {}

    def add(self, calls: Iterable[Call]) -> None:
        """Go on with these."""
        for now_s, event, actions in calls:
            at = self._zero_unix_s + now_s
            kind = type(event)
            if kind is Arrived:
                self._arrived(at, event)  # type: ignore[arg-type]
            elif kind is FirstToken:
                found = self._attempts.get(event.attempt_id)  # type: ignore[union-attr]
                if found is not None and found[0].first_token_unix_s is None:
                    found[0].first_token_unix_s = at
            elif kind is Finished or kind is AttemptFailed:
                self._attempt_ended(at, event)  # type: ignore[arg-type]
            elif kind is ClientGone:
                self._client_gone(event)  # type: ignore[arg-type]
            for action in actions:
                self._act(at, action)

    def slice(self, now_unix_s: float) -> Slice:
        """What is to be shown now."""
        oldest = _oldest(now_unix_s, WINDOW_S)
        for number in [each for each in self._slots if each < oldest]:
            del self._slots[number]
        ends = dict[str, Ends]()
        for slot in self._slots.values():
            for name, counted in slot.ends.items():
                ends.setdefault(name, Ends()).add(counted)
        for name, ended in ends.items():
            self._add_latencies(name, ended, now_unix_s - WINDOW_S)
        flows, covers_s = self._window(now_unix_s, WINDOW_S)
        live = list(self._live.values())
        return Slice(
            covers_s,
            flows,
            _paces(flows, covers_s, *self._window(now_unix_s, NOW_S)),
            ends,
            live[: -LIVE_SHOWN - 1 : -1],
            list(reversed(self._ended)),
            max(len(live) - LIVE_SHOWN, 0),
        )

    def _window(self, now_unix_s: float, window_s: float) -> tuple[Flows, float]:
        """What flowed in a window, and the seconds that it covers."""
        flows, oldest = Flows(), _oldest(now_unix_s, window_s)
        for number, slot in self._slots.items():
            if number >= oldest:
                add_flows(flows, slot.flows)
        return flows, max(now_unix_s - max(oldest * SLOT_S, self._since_unix_s), 0.0)

    def _add_latencies(self, name: str, ends: Ends, since: float) -> None:
        held = self._latencies.get(name, ())
        ends.ttft_s = [ttft for at, ttft, _ in held if at >= since and ttft is not None]
        ends.tpot_s = [tpot for at, _, tpot in held if at >= since and tpot is not None]

    def _slot(self, at: float) -> _Slot:
        number = int(at // SLOT_S)
        return self._slots.get(number) or self._slots.setdefault(number, _Slot())

    def _arrived(self, at: float, event: Arrived) -> None:
        self._live[event.request_id] = Seen(
            f"{self._run_id}-{event.request_id}",
            event.tenant,
            event.workload_class,
            event.model,
            event.streamed,
            at,
            event.input_tokens,
            event.max_output_tokens,
        )

    def _attempt_ended(self, at: float, event: Finished | AttemptFailed) -> None:
        found = self._attempts.pop(event.attempt_id, None)
        if found is None:
            return
        tried, seen = found
        tried.status = "completed" if isinstance(event, Finished) else event.kind.value
        tried.input_tokens, tried.output_tokens = event.input_tokens, event.output_tokens
        tried.cached_input_tokens = event.cached_input_tokens
        self._over(at, tried, seen)

    def _over(self, at: float, tried: Tried, seen: Seen) -> None:
        """Count an ended attempt by what it used."""
        tried.ended_unix_s = at
        flow = self._slot(at).flow(seen.workload_class, tried.pool)
        flow.ended += 1
        used, output = tried.input_tokens or 0, tried.output_tokens or 0
        flow.input_tokens += used
        flow.cached_input_tokens += tried.cached_input_tokens
        flow.output_tokens += output
        seen.usd += self.facts.usd(tried.pool, used, output, tried.cached_input_tokens)
        if tried.status == "completed" and tried.first_token_unix_s is not None and output >= MIN_TPOT_TOKENS:
            flow.tpot_sum_s += (at - tried.first_token_unix_s) / (output - 1)
            flow.tpots += 1

    def _client_gone(self, event: ClientGone) -> None:
        seen = self._live.get(event.request_id)
        if seen is not None and seen.attempts and seen.attempts[-1].output_tokens is None:
            seen.attempts[-1].output_tokens = event.output_tokens

    def _act(self, at: float, action: AnyAction) -> None:
        kind = type(action)
        if kind is Dispatch:
            self._dispatched(at, action)  # type: ignore[arg-type]
        elif kind is End:
            self._ends(at, action)  # type: ignore[arg-type]
        elif kind is Cancel:
            found = self._attempts.pop(action.attempt_id, None)  # type: ignore[union-attr]
            if found is not None:
                found[0].status = "cancelled"
                self._over(at, *found)
        elif kind is Enqueue or kind is Reject:
            seen = self._live.get(action.request_id)  # type: ignore[union-attr]
            if seen is not None:
                seen.status = "queued"
                seen.reject_reason = action.reason.value if isinstance(action, Reject) else ""

    def _dispatched(self, at: float, action: Dispatch) -> None:
        seen = self._live.get(action.request_id)
        if seen is None:
            return
        pool = self.facts.pool_of(action.backend)
        tried = Tried(
            action.backend,
            pool,
            action.reason.value,
            at,
            action.score_usd,
            action.cost_usd,
            action.outside_score_usd,
            action.outside_cost_usd,
        )
        seen.status = "live"
        seen.expected_output_tokens = action.expected_output_tokens
        seen.attempts = [*seen.attempts, tried]
        self._attempts[action.attempt_id] = tried, seen
        flow = self._slot(at).flow(seen.workload_class, pool)
        flow.dispatched += 1
        flow.cost_usd += action.cost_usd
        outside_usd = action.outside_cost_usd
        flow.outside_usd += action.cost_usd if outside_usd is None else outside_usd
        if action.outside_score_usd is not None:
            flow.value_usd += action.outside_score_usd - action.score_usd

    def _ends(self, at: float, action: End) -> None:
        seen = self._live.pop(action.request_id, None)
        if seen is None:
            return
        seen.status, seen.ended_unix_s = action.outcome.value, at
        seen.e2e_s = at - seen.arrived_unix_s
        if seen.status == "completed":
            self._time(seen)
        slo = self.facts.slo(seen.workload_class)
        if seen.status != "cancelled" and slo is not None:
            ttft_s = seen.e2e_s if seen.ttft_s is None else seen.ttft_s
            seen.met_slo = seen.status == "completed" and slo.met(ttft_s, seen.tpot_s)
        ends = self._slot(at).ends.setdefault(seen.workload_class, Ends())
        ends.judged += seen.met_slo is not None
        ends.met += seen.met_slo is True
        self._ended.append(seen)

    def _time(self, seen: Seen) -> None:
        """Its latencies, as the gateway's clients see them."""
        firsts = [each.first_token_unix_s for each in seen.attempts if each.first_token_unix_s is not None]
        output = sum(each.output_tokens or 0 for each in seen.attempts if each.status in ("completed", "capped"))
        if firsts and seen.streamed:
            seen.ttft_s = min(firsts) - seen.arrived_unix_s
            if output > 1 and seen.ended_unix_s is not None:
                seen.tpot_s = (seen.ended_unix_s - min(firsts)) / (output - 1)
        tpot_s = seen.tpot_s if output >= MIN_TPOT_TOKENS else None
        held = self._latencies.setdefault(seen.workload_class, deque(maxlen=SAMPLES))
        held.append((seen.ended_unix_s or 0.0, seen.ttft_s, tpot_s))


def _oldest(now_unix_s: float, window_s: float) -> int:
    """Number of a window's oldest slot."""
    return int(now_unix_s // SLOT_S) - round(window_s / SLOT_S) + 1


def _paces(flows: Flows, covers_s: float, now_flows: Flows, now_covers_s: float) -> Paces:
    """Sums of both windows, each by what it covers. What flows now is in the long one too."""
    if now_covers_s <= 0.0:
        return {}
    return {
        name: {
            pool: _pace(flow, covers_s, now_flows.get(name, {}).get(pool, Flow()), now_covers_s)
            for pool, flow in by_pool.items()
        }
        for name, by_pool in flows.items()
    }


def _pace(flow: Flow, covers_s: float, now_flow: Flow, now_covers_s: float) -> Pace:
    return Pace(
        attempts_per_s=now_flow.dispatched / now_covers_s,
        output_tokens_per_s=now_flow.output_tokens / now_covers_s,
        cost_usd_per_s=flow.cost_usd / covers_s,
        outside_usd_per_s=flow.outside_usd / covers_s,
        value_usd_per_s=flow.value_usd / covers_s,
    )
