"""The panels of a frame: each from the gateway's state, what the workers saw, and the history's window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from headrace.dashboard.facts import FleetFacts, PoolFacts
from headrace.dashboard.frame import (
    BackendNow,
    ClassNow,
    FlowNow,
    LimitNow,
    Money,
    PoolNow,
    PromiseNow,
    ShareNow,
)
from headrace.dashboard.history import NOTHING, Used, realized, worked
from headrace.dashboard.seen import Ends, Flow, Pace, Slice
from headrace.gateway import Shown
from headrace.metrics.share import TOLERANCE
from headrace.policy import BackendView, LimitView
from headrace.units import SECONDS_PER_HOUR

LEAST_ELAPSED: Final = 0.01  # of a period, before its end is projected
PERIODS: Final = ("commitments", "budgets")


@dataclass(frozen=True, slots=True)
class Seconds:
    """What a frame is made from.

    Attributes:
        window_s: length of the history's window, and `used`: in it, by pool.
    """

    shown: Shown
    facts: FleetFacts
    seen: Slice
    window_s: float
    used: dict[str, Used]


def shares(now: Seconds) -> list[ShareNow]:
    """Every share."""
    held = now.facts.fleet.shares
    return [
        ShareNow(
            name=view.name,
            of=held[view.name].of.value,
            pools=held[view.name].pools,
            steered=view.steered,
            target=view.target,
            band=TOLERANCE,
            realized=realized(now.facts, view.name, now.used),
            realized_total=view.realized,
            lambda_usd_per_unit=view.lambda_usd_per_unit,
        )
        for view in now.shown.view.shares
        if view.name in held
    ]


def money(now: Seconds) -> Money:
    """What it costs, and what the share is worth."""
    total, steers = Pace(), now.facts.fleet.steered_share() is not None
    for by_pool in now.seen.paces.values():
        for pace in by_pool.values():
            total.add(pace)
    marginal_usd = sum(now.facts.usd(pool, i, o, c) for pool, (_, i, c, o) in now.used.items())
    expected = total.cost_usd_per_s * SECONDS_PER_HOUR
    outside = total.outside_usd_per_s * SECONDS_PER_HOUR if steers else None
    held = {name: facts.held_usd_per_h for name, facts in now.facts.pools.items()}
    unused = sum(held[name] * (1.0 - (busy(now, name) or 0.0)) for name in held)
    return Money(
        window_s=now.window_s,
        marginal_usd_per_h=marginal_usd * SECONDS_PER_HOUR / now.window_s if now.window_s > 0 else 0.0,
        expected_usd_per_h=expected,
        outside_usd_per_h=outside,
        saving_usd_per_h=None if outside is None else outside - expected,
        value_usd_per_h=total.value_usd_per_s * SECONDS_PER_HOUR if steers else None,
        held_usd_per_h=sum(held.values()),
        unused_usd_per_h=unused,
    )


def busy(now: Seconds, pool: str) -> float | None:
    """Fraction of a pool's replicas' time that was used in the window; None where time is not bought or none passed."""
    facts = now.facts.pools[pool]
    if facts.busy is None or now.window_s <= 0.0:
        return None
    return min(worked(facts.busy, now.used.get(pool, NOTHING)) / (now.window_s * facts.replicas), 1.0)


def classes(now: Seconds) -> list[ClassNow]:
    """Every workload class."""
    return [_class(now, name) for name in now.facts.fleet.classes]


def _class(now: Seconds, name: str) -> ClassNow:
    workload_class = now.facts.fleet.classes[name]
    ends, slo = now.seen.ends.get(name, Ends()), workload_class.slo
    ttft, tpot = sorted(ends.ttft_s), sorted(ends.tpot_s)
    counted = now.shown.counters.requests
    requests_per_s = sum(pace.attempts_per_s for pace in now.seen.paces.get(name, {}).values())
    return ClassNow(
        name=name,
        value_of_time_usd_per_s=workload_class.value_of_time_usd_per_s,
        requests_per_s=requests_per_s,
        attainment=ends.met / ends.judged if ends.judged else None,
        attainment_target=slo.attainment,
        judged=ends.judged,
        ttft_slo_s=slo.ttft_s,
        tpot_slo_s=slo.tpot_s,
        ttft_p50_s=quantile(ttft, 0.5),
        ttft_p99_s=quantile(ttft, 0.99),
        ttfts=len(ttft),
        tpot_p50_s=quantile(tpot, 0.5),
        tpot_p99_s=quantile(tpot, 0.99),
        tpots=len(tpot),
        ended={outcome: n for (held, outcome), n in sorted(counted.items()) if held == name},
    )


def quantile(ordered: list[float], q: float) -> float | None:
    """The sample at or above a fraction `q` of all; None of none."""
    return ordered[min(int(q * len(ordered)), len(ordered) - 1)] if ordered else None


def flows(now: Seconds) -> list[FlowNow]:
    """What goes where."""
    return [
        FlowNow(name, pool, pace.attempts_per_s, pace.output_tokens_per_s)
        for name, by_pool in now.seen.paces.items()
        for pool, pace in by_pool.items()
        if pace.attempts_per_s > 0.0 or pace.output_tokens_per_s > 0.0
    ]


def pools(now: Seconds) -> list[PoolNow]:
    """Every pool with its backends."""
    share = now.facts.fleet.steered_share()
    inside = () if share is None else share.pools
    held: dict[str, list[BackendView]] = {name: [] for name in now.facts.pools}
    for view in now.shown.view.backends:
        held.setdefault(view.pool, []).append(view)
    quotas: dict[str | None, float] = {
        limit.name.partition(".")[2]: 1.0 - limit.use for limit in now.shown.view.limits if _is_quota(limit)
    }
    return [_pool(now, name, facts, held[name], name in inside, quotas) for name, facts in now.facts.pools.items()]


def _pool(
    now: Seconds, name: str, facts: PoolFacts, views: list[BackendView], in_share: bool, quotas: dict[str | None, float]
) -> PoolNow:
    recent, long = Pace(), Flow()
    for paces_by_pool in now.seen.paces.values():
        recent.add(paces_by_pool.get(name, Pace()))
    for flows_by_pool in now.seen.flows.values():
        long.add(flows_by_pool.get(name, Flow()))
    measured = long.tpots / long.tpot_sum_s if long.tpot_sum_s > 0.0 else None
    in_flight, held = sum(view.in_flight for view in views), sum(view.expected_kv_tokens for view in views)
    kv = facts.kv_capacity_tokens
    left = [quotas[key] for key in (facts.quota, *(view.name for view in views)) if key in quotas]
    return PoolNow(
        name=name,
        accelerator=facts.accelerator,
        accelerators=facts.accelerators,
        memory=facts.memory,
        memory_kind=facts.memory_kind,
        in_share=in_share,
        in_flight=in_flight,
        max_in_flight=sum(view.max_in_flight for view in views),
        kv=None if not kv else held / kv,
        requests_per_s=recent.attempts_per_s,
        output_tokens_per_s=recent.output_tokens_per_s,
        tokens_per_s_user=measured,
        predicted_tokens_per_s_user=1.0 / facts.predicted_tpot_s(in_flight, held),
        tpots=long.tpots,
        busy=busy(now, name),
        held_usd_per_h=facts.held_usd_per_h,
        quota_left=min(left, default=None),
        backends=[_backend(view) for view in views],
    )


def _backend(view: BackendView) -> BackendNow:
    return BackendNow(
        name=view.name,
        breaker=view.breaker,
        drained=view.drained,
        in_flight=view.in_flight,
        max_in_flight=view.max_in_flight,
        failure_rate=view.failure_rate,
        ttft_factor=view.ttft_factor,
        tpot_factor=view.tpot_factor,
        signals={name: signal.value for name, signal in view.signals.items()},
    )


def limits(now: Seconds) -> list[LimitNow]:
    """Whatever has a price."""
    view, held = now.shown.view, now.facts.fleet.shares
    found = [
        LimitNow(
            name=f"shares.{share.name}",
            unit=held[share.name].of.value,
            bound=share.target,
            use=realized(now.facts, share.name, now.used),
            lambda_usd_per_unit=share.lambda_usd_per_unit,
            binds=share.lambda_usd_per_unit != 0.0,
        )
        for share in view.shares
        if share.steered and share.name in held
    ]
    return found + [
        LimitNow(
            name=limit.name,
            unit=limit.unit,
            bound=limit.bound,
            use=limit.use,
            lambda_usd_per_unit=limit.lambda_usd_per_unit,
            binds=limit.lambda_usd_per_unit != 0.0,
        )
        for limit in view.limits
    ]


def promises(now: Seconds) -> list[PromiseNow]:
    """Commitments and budgets, in the present period."""
    return [_promise(now, limit) for limit in now.shown.view.limits if limit.name.partition(".")[0] in PERIODS]


def _promise(now: Seconds, limit: LimitView) -> PromiseNow:
    kind, _, name = limit.name.partition(".")
    fleet, pace = now.facts.fleet, limit.pace or 0.0
    terms = (fleet.commitments if kind == "commitments" else fleet.budgets).get(name)
    elapsed = pace / limit.bound if limit.bound > 0.0 else 0.0
    projected = limit.use / elapsed if elapsed >= LEAST_ELAPSED else None
    missed = None if projected is None else limit.bound - projected
    if missed is not None:
        missed = max(missed if kind == "commitments" else -missed, 0.0)
    per = "" if terms is None else terms.per.value
    return PromiseNow(
        kind=kind[:-1],
        name=name,
        unit=limit.unit,
        per=per,
        amount=limit.bound,
        used=limit.use,
        pace=pace,
        elapsed=elapsed,
        projected=projected,
        over=missed,
    )


def _is_quota(limit: LimitView) -> bool:
    return limit.name.startswith("quotas.")


def alerts(now: Seconds) -> list[tuple[str, str]]:
    """What somebody should look at, the worst first."""
    view, shown = now.shown.view, now.shown
    found = [
        ("bad", f"{each.name}: breaker {each.breaker.replace('_', '-')}")
        for each in view.backends
        if each.breaker == "open"
    ]
    found += [("warn", f"{each.name}: breaker half-open") for each in view.backends if each.breaker == "half_open"]
    found += [("warn", f"{each.name} is drained") for each in view.backends if each.drained]
    if len(shown.pages) < shown.workers:
        found.append(("bad", f"{shown.workers - len(shown.pages)} of {shown.workers} workers are down"))
    for page in shown.pages.values():
        found += [("bad", f"usage ledger: {page.ledger_fault}")] * bool(page.ledger_fault)
        found += [("warn", f"fleet file: {fault}") for fault in page.fleet_faults]
    if shown.peers_fault:
        found.append(("warn", f"other gateways are not heard: {shown.peers_fault}"))
    if view.queued:
        found.append(("warn", f"{view.queued} requests wait for a backend"))
    for each in classes(now):
        if each.attainment is not None and each.attainment < each.attainment_target:
            met, target = _percent(each.attainment), _percent(each.attainment_target)
            found.append(("warn", f"{each.name}: SLO met by {met} of {target}"))
    return sorted(dict.fromkeys(found), key=lambda alert: alert[0])


def _percent(fraction: float) -> str:
    """With the digits that tell three nines from all."""
    return f"{100.0 * fraction:.4g}%"
