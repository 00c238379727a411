"""Access: who asks, whether they may, and what is counted against whom.

    caller   by the key that came with the request, else by its header or credential (`tenants`)
    permit   model, class and pools: those of the tenant that are also those of the key
    admit    requests and tokens per minute and budgets of both, taken before anything is dispatched
    charge   what every attempt cost; at the request's end the estimate is trued up

Where nobody is told apart all who ask are one caller, who is looked up once. Only who has a limit gets a `Grant`, which
has to be settled. What has no limit is owed by the caller from the end of each attempt and charged once per sweep, so
that a budget that is added tomorrow knows what was spent today.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import TYPE_CHECKING

from headrace.cost import MarginalCost, request_cost_usd
from headrace.errors import Forbidden, HeadraceError, QuotaExceeded, Unauthenticated
from headrace.fleet import Allowance, Fleet
from headrace.fleet.tenants import DEFAULT_TENANT
from headrace.gateway.spending import charged_usd, prices_of
from headrace.gateway.tenants import CREDENTIALS, TenantBook
from headrace.ledger import fleet_terms
from headrace.metrics import Metric
from headrace.telemetry import tell
from headrace.tenancy import Accounts, Amount, Key, KeyWatch, Limiter, Party
from headrace.wire import Usage

if TYPE_CHECKING:
    from headrace.gateway.request import GatewayRequest


FREE = MarginalCost(0.0, 0.0, 0.0)
NOTHING = Amount()
CHALLENGE = b"www-authenticate: Bearer\r\n"  # RFC 9110, 11.6.1: a 401 says how to do better


class Caller:
    """A tenant, or a key of one, as requests of it are treated.

    Attributes:
        key: name of the key; empty: it has none.
        parties: those whose limits a request must meet; others: those that it is charged to all the same.
        models, classes, pools: that it may have; None: all. `confined`: not every model and class.
        unlimited: it has no limits; plain: nothing is said of the value of its time.
    """

    __slots__ = (
        "allowances",
        "classes",
        "confined",
        "key",
        "models",
        "of",
        "others",
        "parties",
        "plain",
        "pools",
        "tenant",
        "unlimited",
    )

    def __init__(self, tenant: str, allowance: Allowance | None, key: Key | None = None) -> None:
        self.tenant = tenant
        self.of = key
        self.key = "" if key is None else key.name
        named = [Party("tenant", tenant, allowance or Allowance())]
        if key is not None:
            named.append(Party("key", key.name, key.allowance))
        self.allowances = tuple(party.allowance for party in named)
        self.parties = tuple(party for party in named if party.allowance.limited)
        self.others = tuple(party for party in named if not party.allowance.limited)
        self.unlimited = not self.parties
        self.plain = all(each.priority == 1.0 and each.value_of_time_usd_per_s is None for each in self.allowances)
        self.models = _both(each.models for each in self.allowances)
        self.classes = _both(each.classes for each in self.allowances)
        self.pools = _both(each.pools for each in self.allowances)
        self.confined = self.models is not None or self.classes is not None

    def allowed(self, models: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the models that it may have."""
        return models if self.models is None else tuple(model for model in models if model in self.models)

    def value_of_time_usd_per_s(self, of_class: float, asked: float | None) -> float | None:
        """What a second of its waiting is worth; None: as its class or the request itself says.

        A value that its tenant or key sets is the most that a request may ask for itself.
        """
        value, priority, said = of_class, 1.0, False
        for each in self.allowances:
            priority *= each.priority
            if each.value_of_time_usd_per_s is not None:
                value, said = each.value_of_time_usd_per_s, True
        if not said:
            return None if priority == 1.0 and asked is None else (value if asked is None else asked) * priority
        return value * priority if asked is None else min(asked, value * priority)


class Grant:
    """What a request was let by with, and what it has used so far."""

    __slots__ = ("caller", "estimate", "tokens", "usd")

    def __init__(self, caller: Caller, estimate: Amount) -> None:
        self.caller = caller
        self.estimate = estimate
        self.tokens = 0.0
        self.usd = 0.0


class Access:
    """Access to one gateway.

    Attributes:
        keys: who asks needs one of these; None: nobody needs one.
        counts: something is counted.
    """

    def __init__(
        self,
        fleet: Fleet,
        keys: KeyWatch | None = None,
        accounts: Accounts | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            accounts: of all workers; None: nothing is counted.
            clock: the same for all processes of the machine.
        """
        self.keys = keys
        self._limiter = None if accounts is None else Limiter(accounts)
        self._book = TenantBook(fleet.tenants)
        self._clock = clock
        self._wall = wall
        self._owed: dict[Caller, float] = defaultdict(float)  # USD of what has no limit, since the last sweep
        self._overruns = 0
        self._callers: dict[str, Caller] = {}
        self.use(fleet)

    def use(self, fleet: Fleet) -> None:
        """From now on requests are of this fleet, and tenants may what it says. Names that were given out stay."""
        self._fleet = fleet
        self._allowances = fleet.tenants.allowances
        self.counts = self._limiter is not None and (self.keys is not None or bool(self._allowances))
        self._callers.clear()
        apart = self.keys is not None or self._book.declared
        self._everybody = None if apart else self._new_caller(DEFAULT_TENANT)
        self._of_key: dict[str, Caller] = {}
        terms = {each.backend: each for each in fleet_terms(fleet)} if self.counts else {}
        self._prices = {name: prices_of(each) for name, each in terms.items()}
        self._dearest: dict[str, MarginalCost] = {}
        for each in terms.values():
            before = self._dearest.get(each.model, FREE)
            self._dearest[each.model] = MarginalCost(*map(max, before, prices_of(each)))

    # who

    def caller(self, headers: Mapping[bytes, bytes]) -> Caller:
        """Who asks.

        Raises:
            Unauthenticated: a key is needed, and none that holds came with the request.
        """
        if self._everybody is not None:
            return self._everybody
        if self.keys is None:
            name = self._book.name(headers)
            return self._callers.get(name) or self._new_caller(name)
        key = self.keys.ring.key_of(headers, self._wall())
        found = self._of_key.get(key.name)
        if found is None or found.of is not key:
            found = self._of_key[key.name] = Caller(key.tenant, self._allowances.get(key.tenant), key)
        return found

    def _new_caller(self, name: str) -> Caller:
        """The book gives out only so many names, so that these do not grow with who knocks."""
        found = self._callers[name] = Caller(name, self._allowances.get(name))
        return found

    # whether

    def permit(self, caller: Caller, model: str, workload_class: str) -> None:
        """Raise Forbidden where the caller, who is `confined`, may not have this model or class."""
        if caller.models is not None and model not in caller.models:
            there = ", ".join(sorted(caller.models)) or "none"
            raise Forbidden(f"this key or tenant may not use the model {model!r}; it may use: {there}", "model")
        if caller.classes is not None and workload_class not in caller.classes:
            there = ", ".join(sorted(caller.classes)) or "none"
            raise Forbidden(f"this key or tenant may not ask in class {workload_class!r}; it may in: {there}")

    def admit(self, request: GatewayRequest) -> bytes:
        """Take what a request is estimated to use; the header lines that say how its limits stand then.

        Raises:
            QuotaExceeded: a limit leaves no room, or a budget nothing.
        """
        limiter, caller = self._limiter, request.caller
        if limiter is None or caller is None or caller.unlimited:
            return b""
        estimate = self._estimate(request)
        standing = limiter.admit(caller.parties, estimate, self._clock(), self._wall())
        request.grant = Grant(caller, estimate)
        self._overruns += standing.usd_left is not None and standing.usd_left <= 0.0
        return stated_lines(standing.headers())

    def value_of_time_usd_per_s(self, request: GatewayRequest) -> float | None:
        """What a second of its waiting is worth; None: as its class says."""
        controls, caller = request.controls, request.caller
        asked = None if controls is None else controls.value_of_time_usd_per_s
        if caller is None or caller.plain:
            return asked
        return caller.value_of_time_usd_per_s(
            self._fleet.classes[request.workload_class].value_of_time_usd_per_s, asked
        )

    def _estimate(self, request: GatewayRequest) -> Amount:
        ceiling = request.max_output_tokens
        expected = self._fleet.classes[request.workload_class].expected_output_tokens
        prices = self._dearest.get(request.model, FREE)
        if request.api == "embeddings":
            return Amount(request.input_tokens, request_cost_usd(prices, request.input_tokens, 0))
        tokens = request.input_tokens + min(expected, inf if ceiling is None else ceiling)
        most = self._fleet.output_ceiling(request.model) if ceiling is None else ceiling
        return Amount(tokens, request_cost_usd(prices, request.input_tokens, most))

    # what

    def charge(
        self, request: GatewayRequest, backend: str, status: str, usage: Usage | None, delivered_tokens: int
    ) -> None:
        """An attempt has ended: what it used is the request's, or its caller's where that has no limit."""
        grant, prices = request.grant, self._prices.get(backend, FREE)
        usd = charged_usd(prices, status, usage, request.input_tokens, delivered_tokens)
        if grant is None:
            if usd and request.caller is not None:
                self._owed[request.caller] += usd
            return
        grant.usd += usd
        if usage is not None:
            grant.tokens += usage.input_tokens + usage.output_tokens
        elif delivered_tokens:
            grant.tokens += request.input_tokens + delivered_tokens

    def settle(self, request: GatewayRequest) -> None:
        """A request has ended, and will not be asked again of another model: its estimate is trued up."""
        grant, limiter = request.grant, self._limiter
        if grant is None or limiter is None:
            return
        request.grant = None
        used = Amount(grant.tokens, grant.usd)
        limiter.settle(grant.caller.parties, grant.estimate, used, self._clock(), self._wall())
        if grant.usd and grant.caller.others:
            self._owed[grant.caller] += grant.usd

    def sweep(self) -> None:
        """About once a second: charge what has no limit."""
        if self._owed and self._limiter is not None:
            owed, self._owed = self._owed, defaultdict(float)
            try:
                for caller, usd in owed.items():
                    self._limiter.settle(caller.others, NOTHING, Amount(0.0, usd), self._clock(), self._wall())
            except HeadraceError as error:
                tell(f"what tenants without limits spend is not counted: {error}")

    # shown

    def metrics(self) -> Iterable[Metric]:
        """Figures of the keys and budgets."""
        if self.keys is not None:
            text = "Whether the key file as it is cannot be read, so that the keys that were read last hold on."
            yield Metric("headrace_key_file_faulty", "gauge", text, float(bool(self.keys.fault)))
            text = "Looks at a key file that could not be read."
            yield Metric("headrace_key_file_faults_total", "counter", text, self.keys.faults)
        text = "Requests that were let by over a soft budget."
        yield Metric("headrace_soft_budget_overruns_total", "counter", text, self._overruns)

    def standings(self) -> list[dict[str, object]]:
        """How every tenant and key of the fleet file and the key file stands."""
        if self._limiter is None:
            return []
        names = dict.fromkeys(self._allowances)
        keys = () if self.keys is None else self.keys.ring.keys
        names |= dict.fromkeys(key.tenant for key in keys)
        parties = [Party("tenant", name, self._allowances.get(name) or Allowance()) for name in names]
        parties += [Party("key", key.name, key.allowance) for key in keys if key.revoked_unix_s is None]
        return [self._standing(self._limiter, party) for party in parties]

    def _standing(self, limiter: Limiter, party: Party) -> dict[str, object]:
        standing, account = limiter.standing(party, self._clock(), self._wall())
        kind, _, name = party.account.partition("/")
        return {
            kind: name,
            "allowance": party.allowance,
            "headers": dict(standing.headers()),
            "day_usd": account.day_usd,
            "month_usd": account.month_usd,
            "reserved_usd": account.reserved_usd,
        }


def stated_lines(stated: Iterable[tuple[str, str]]) -> bytes:
    """Header lines that say how limits stand."""
    return "".join(f"{name}: {value}\r\n" for name, value in stated).encode()


def owner_of(caller: Caller, headers: Mapping[bytes, bytes]) -> bytes:
    """Whose the answers are that are stored for a request: its key's, whichever secret of that came with it.

    Without keys, the credential's, whatever it is; empty without one.
    """
    if caller.key:
        return caller.key.encode()
    return next((found for name in CREDENTIALS if (found := headers.get(name)) is not None), b"")


def refusal_lines(error: HeadraceError) -> bytes:
    """Header lines that go with a refusal besides those that all have."""
    if isinstance(error, Unauthenticated):
        return CHALLENGE
    return stated_lines(error.stated) if isinstance(error, QuotaExceeded) else b""


def _both(lists: Iterable[tuple[str, ...]]) -> frozenset[str] | None:
    """What all lists allow; an empty one allows everything."""
    found: frozenset[str] | None = None
    for names in lists:
        if names:
            found = frozenset(names) if found is None else found & frozenset(names)
    return found
