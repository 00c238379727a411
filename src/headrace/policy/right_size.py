"""Right-sized ceilings: of a provider's quota, take what an answer will probably need and not what its client allows.

Where a provider takes a request's ceiling on output off the quota at admission, a client that allows 16,000 tokens and
gets 300 keeps fifty others waiting. So the attempt is sent with a lower ceiling, and the account reserves that:

    lowered = max(LEAST_TOKENS, quantile of the output length)     if it is at most MOST of what would be reserved

An answer that reaches it goes on from there, as a second attempt with what is left of the client's ceiling. With the
quantile at level q that costs one request in 1 / (1 - q) another prefill, most of it cached.

The rule that it protects: the client is answered as if nothing had been lowered. So it is done only for requests whose
driver says that they can be gone on with (`Arrived.resizable`), only while lengths are known well enough, and once.

What an answer needs after its first ceiling is reserved as the client said it, and was looked at beforehand: a request
that is lowered fits the quota to its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.fleet import Fleet, Quota
from headrace.fleet.dialect_check import debited_deployment, spoken_dialect
from headrace.policy.predict import BinnedPredictor
from headrace.policy.quota import TOKENS, QuotaAccount, Quotas
from headrace.policy.state import RequestState

LEAST_TOKENS: Final = 64
MOST: Final = 0.5  # of what would be reserved: a lowered ceiling that saves less is not worth a second attempt
BYTES_PER_TOKEN: Final = 16  # more than a token's text has: an answer must be kept whole to be gone on with


def resizable_backends(fleet: Fleet) -> tuple[str, ...]:
    """The backends at which a lower ceiling would save quota; none where it is not asked for.

    A driver looks at its requests for `Arrived.resizable` only if there are some.
    """
    limits = fleet.limits
    if not (limits.right_size and limits.reserve_quota and limits.rescue and limits.rescue_max_bytes):
        return ()
    return tuple(_reserving(fleet))


def _reserving(fleet: Fleet) -> Iterator[str]:
    for backend in fleet.backends:
        deployment = fleet.pools[backend.pool].deployment
        quota = debited_deployment(deployment, spoken_dialect(backend)).quota
        if quota is not None and _reserves(quota):
            yield backend.name


def _reserves(quota: Quota) -> bool:
    return quota.reserve_output is not False and bool(quota.buckets(TOKENS))


class RightSizer:
    """Lowers ceilings."""

    __slots__ = ("_accounts", "_most_tokens", "_predictor")

    def __init__(self, accounts: tuple[QuotaAccount, ...], most_tokens: int, predictor: BinnedPredictor) -> None:
        self._accounts = accounts
        self._most_tokens = most_tokens
        self._predictor = predictor

    def lower(self, request: RequestState, resizable: int) -> None:
        """Decide on a request that has just come.

        Args:
            resizable: the backends where its ceiling may be lowered, as a bit mask.
        """
        name, tenant = request.workload_class.name, request.tenant
        quantile = self._predictor.quantile(name, tenant, request.input_tokens)
        if quantile is None:
            return
        lowered = max(quantile, LEAST_TOKENS)
        if lowered > self._most_tokens:
            return
        candidates = sum(1 << backend.index for backend in request.candidates.backends)
        for account in self._accounts:
            drawing = account.mask & candidates
            if drawing and not drawing & ~resizable and self._pays(account, request, lowered):
                request.lowered_at |= drawing
        request.lowered_tokens = lowered

    def _pays(self, account: QuotaAccount, request: RequestState, lowered: int) -> bool:
        """Whether so much lower a ceiling saves enough, and what would follow it can be taken, too."""
        wanted = account.reserved_output(request.max_output_tokens)
        more_input = lowered if request.max_output_tokens is None else 0  # with a ceiling, as much less is to come
        return lowered <= MOST * wanted and not account.too_large(request, more_input)


def right_sizer(fleet: Fleet, quotas: Quotas | None, predictor: object) -> RightSizer | None:
    """What lowers ceilings; None where nothing is to be gained, or nothing known of how long answers are."""
    if quotas is None or not isinstance(predictor, BinnedPredictor) or not resizable_backends(fleet):
        return None
    predictor.keep_quantile(fleet.limits.right_size)
    return RightSizer(quotas.accounts, fleet.limits.rescue_max_bytes // BYTES_PER_TOKEN, predictor)
