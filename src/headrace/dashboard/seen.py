"""What is shown of requests and of traffic: plain values that encode to JSON, and add up over workers.

Nothing here holds a word of a prompt or of an answer. Times are Unix seconds, so that workers agree on them.
"""

from __future__ import annotations

import msgspec


class Tried(msgspec.Struct):
    """One attempt.

    Attributes:
        reason: why it was made; see `policy.DispatchReason`.
        status: `live`, `completed`, `cancelled`, or the kind of its failure.
        input_tokens, cached_input_tokens, output_tokens: as the backend counted them; None: it has not.
        score_usd: priced outcome when it was dispatched; `outside_score_usd`: of the best backend outside the steered
            share's pools. cost_usd, outside_cost_usd: of these, the marginal cost.
    """

    backend: str
    pool: str
    reason: str
    dispatched_unix_s: float
    score_usd: float
    cost_usd: float
    outside_score_usd: float | None = None
    outside_cost_usd: float | None = None
    first_token_unix_s: float | None = None
    ended_unix_s: float | None = None
    status: str = "live"
    input_tokens: int | None = None
    cached_input_tokens: int = 0
    output_tokens: int | None = None


class Seen(msgspec.Struct):
    """One request.

    Attributes:
        id: as in the answer's `x-headrace-request-id`.
        input_tokens: the gateway's estimate; attempts have the backend's count.
        expected_output_tokens: the prediction that its last decision used.
        status: `live`, `queued`, or its outcome. reject_reason: why it was turned away.
        ttft_s, tpot_s, e2e_s: at the gateway; None: undefined.
        met_slo: whether it met its class's thresholds; None: it has not ended, or its client went away.
        usd: marginal cost at the tokens that backends counted.
    """

    id: str
    tenant: str
    workload_class: str
    model: str | None
    streamed: bool
    arrived_unix_s: float
    input_tokens: int
    max_output_tokens: int | None = None
    expected_output_tokens: float | None = None
    status: str = "live"
    reject_reason: str = ""
    ended_unix_s: float | None = None
    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_s: float | None = None
    met_slo: bool | None = None
    usd: float = 0.0
    attempts: list[Tried] = []


class Flow(msgspec.Struct):
    """Attempts of one class on one pool within a time.

    Attributes:
        dispatched: attempts begun; `ended`: of all, those that came to an end.
        cost_usd: expected marginal cost of those begun; `outside_usd`: of the same requests on the best backend outside
            the steered share's pools. value_usd: what waiting and money together are cheaper by than there.
        tpot_sum_s, tpots: over answers of at least eight tokens.
    """

    dispatched: int = 0
    ended: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    outside_usd: float = 0.0
    value_usd: float = 0.0
    tpot_sum_s: float = 0.0
    tpots: int = 0

    def add(self, other: Flow) -> None:
        """Count what another one has."""
        for name in FLOW_FIELDS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


FLOW_FIELDS = Flow.__struct_fields__


class Pace(msgspec.Struct):
    """How fast attempts of one class go to one pool.

    Attributes:
        attempts_per_s, output_tokens_per_s: within the short window.
        cost_usd_per_s, outside_usd_per_s, value_usd_per_s: of a flow, within the long one.
    """

    attempts_per_s: float = 0.0
    output_tokens_per_s: float = 0.0
    cost_usd_per_s: float = 0.0
    outside_usd_per_s: float = 0.0
    value_usd_per_s: float = 0.0

    def add(self, other: Pace) -> None:
        """Go as fast as both."""
        for name in PACE_FIELDS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


PACE_FIELDS = Pace.__struct_fields__


class Ends(msgspec.Struct):
    """Requests of one class that ended within a time. `judged`: all but those whose client went away; `met`: of these,
    within their SLO. ttft_s, tpot_s: of the last ones.
    """

    judged: int = 0
    met: int = 0
    ttft_s: list[float] = []
    tpot_s: list[float] = []

    def add(self, other: Ends) -> None:
        """Count what another one has."""
        self.judged += other.judged
        self.met += other.met
        self.ttft_s += other.ttft_s
        self.tpot_s += other.tpot_s


class Slice(msgspec.Struct):
    """What one worker saw.

    Workers' windows reach back differently: a busy one's ring holds seconds, an idle one's hours. So sums are for what
    is counted, and what goes how fast is each worker's own division.

    Attributes:
        covers_s: how far back the long window reaches; of several workers, the one that reaches farthest.
        flows: within the long window, by class and pool; `paces`: in both windows.
        live, ended: requests, the newest first; `missed`: live ones that are not in the list.
    """

    covers_s: float
    flows: dict[str, dict[str, Flow]]
    paces: dict[str, dict[str, Pace]]
    ends: dict[str, Ends]
    live: list[Seen]
    ended: list[Seen]
    missed: int = 0


def together(slices: list[Slice]) -> Slice:
    """All workers' as one."""
    whole = Slice(max((each.covers_s for each in slices), default=0.0), {}, {}, {}, [], [])
    for each in slices:
        add_flows(whole.flows, each.flows)
        _add_paces(whole.paces, each.paces)
        for name, ends in each.ends.items():
            whole.ends.setdefault(name, Ends()).add(ends)
        whole.live += each.live
        whole.ended += each.ended
        whole.missed += each.missed
    whole.live.sort(key=lambda seen: -seen.arrived_unix_s)
    whole.ended.sort(key=lambda seen: -(seen.ended_unix_s or 0.0))
    return whole


def add_flows(into: dict[str, dict[str, Flow]], given: dict[str, dict[str, Flow]]) -> None:
    """Add flows by class and pool."""
    for workload_class, by_pool in given.items():
        ours = into.setdefault(workload_class, {})
        for pool, flow in by_pool.items():
            ours.setdefault(pool, Flow()).add(flow)


def _add_paces(into: dict[str, dict[str, Pace]], given: dict[str, dict[str, Pace]]) -> None:
    for workload_class, by_pool in given.items():
        ours = into.setdefault(workload_class, {})
        for pool, pace in by_pool.items():
            ours.setdefault(pool, Pace()).add(pace)
