"""What an attempt costs the tenant that it was made for, now and when a gateway starts again.

The same rule for both, so that a restart changes no budget:

    the backend said what it used     the ledger's USD, exactly
    it was cancelled                  the estimated input, and the output that was delivered
    it failed                         the same, if anything was delivered; else nothing
    its process died over it          the estimated input, and all the output that was reserved

The last is the most that it may have cost; a tenant's hard budget would rather stop too early than be exceeded.
"""

from __future__ import annotations

from collections.abc import Iterable

from headrace.cost import MarginalCost, request_cost_usd
from headrace.ledger import Entry, Terms
from headrace.metrics.usage import AttemptStatus
from headrace.tenancy import Periods
from headrace.wire import Usage


def prices_of(terms: Terms) -> MarginalCost:
    """USD per token of one backend, as the ledger bills it."""
    return MarginalCost(terms.input_usd_per_token, terms.cached_input_usd_per_token, terms.output_usd_per_token)


def charged_usd(
    prices: MarginalCost,
    status: str,
    usage: Usage | None,
    input_tokens: int,
    delivered_tokens: int,
    reserved_tokens: int | None = None,
) -> float:
    """USD that an attempt is charged at.

    Args:
        usage: what the backend said; None: nothing.
        input_tokens: as estimated; delivered_tokens: output that the client certainly got.
        reserved_tokens: the most output that there may have been; None: no bound.
    """
    if usage is not None:
        counted_tokens, output_tokens, cached_input_tokens, _, _ = usage
        return request_cost_usd(prices, counted_tokens, output_tokens, cached_input_tokens or 0)
    if status in (AttemptStatus.INTERRUPTED, AttemptStatus.OPEN):
        return request_cost_usd(prices, input_tokens, max(delivered_tokens, reserved_tokens or 0))
    if status == AttemptStatus.FAILED and not delivered_tokens:
        return 0.0
    return request_cost_usd(prices, input_tokens, delivered_tokens)


def spent_before(entries: Iterable[Entry], periods: Periods) -> dict[str, tuple[float, float]]:
    """USD of this day and of this month by account, as a ledger has them."""
    spent: dict[str, tuple[float, float]] = {}
    for entry in entries:
        at_unix_s = (entry.started_unix_s or 0.0) + entry.at_s
        if at_unix_s < periods.month_unix_s or entry.terms is None:
            continue
        usd = _entry_usd(entry, entry.terms)
        today_usd = usd if at_unix_s >= periods.day_unix_s else 0.0
        for account in accounts_of(entry.tenant, entry.key):
            day_usd, month_usd = spent.get(account, (0.0, 0.0))
            spent[account] = day_usd + today_usd, month_usd + usd
    return spent


def accounts_of(tenant: str, key: str) -> tuple[str, ...]:
    """Names of the accounts that an attempt is charged to."""
    return (f"tenant/{tenant}", f"key/{key}") if key else (f"tenant/{tenant}",)


def _entry_usd(entry: Entry, terms: Terms) -> float:
    usage = Usage(entry.input_tokens, entry.output_low, entry.cached_input_tokens or 0) if entry.usage else None
    return charged_usd(prices_of(terms), entry.status, usage, entry.input_tokens, entry.output_low, entry.output_high)
