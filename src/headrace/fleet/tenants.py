"""Tenants: how the gateway tells those apart who share it, and what each may do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from msgspec import Meta

DEFAULT_TENANT = "default"
OTHER_TENANTS = "other"

Positive = Annotated[float, Meta(gt=0)]
AtLeastOne = Annotated[float, Meta(ge=1)]  # a bucket that holds less than one would never let anybody by


class Allowance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What a tenant, or one of its keys, may do: a table of the fleet file, and a part of every key in a key file.

    Attributes:
        models, classes, pools: names of those that are allowed; empty: all.
        requests_per_minute, tokens_per_minute: token buckets that hold one minute's worth; None: no limit.
        usd_per_day, usd_per_month: budgets of the calendar's days and months, in UTC; None: none.
        hard: requests over a budget are refused; False: they pass, and are counted.
        priority: the value of time of each request is multiplied by it.
        value_of_time_usd_per_s: instead of that of the request's class; None: the class's.
    """

    models: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    requests_per_minute: AtLeastOne | None = None
    tokens_per_minute: AtLeastOne | None = None
    usd_per_day: Positive | None = None
    usd_per_month: Positive | None = None
    hard: bool = True
    priority: Positive = 1.0
    value_of_time_usd_per_s: Annotated[float, Meta(ge=0)] | None = None

    @property
    def budgeted(self) -> bool:
        """Whether there is a budget."""
        return self.usd_per_day is not None or self.usd_per_month is not None

    @property
    def limited(self) -> bool:
        """Whether something is counted before a request may go on."""
        return self.requests_per_minute is not None or self.tokens_per_minute is not None or self.budgeted


@dataclass(frozen=True, slots=True)
class Tenants:
    """By what a request's tenant is known; by nothing, all are `DEFAULT_TENANT`.

    Attributes:
        header: lower-case name of the header that names the tenant, set by whoever authenticates clients; None: none.
        by_credential: a request without that header belongs to the tenant of its credential, named by its hash.
        most: tenants that are told apart; those that come later are `OTHER_TENANTS` together.
        keys: path of the key file: who asks needs a key of it, which says the tenant; None: nobody needs one.
        allowances: what tenants may do, by their names; one that is not named may do everything.
    """

    header: str | None = None
    by_credential: bool = False
    most: int = 64
    keys: str | None = None
    allowances: dict[str, Allowance] = field(default_factory=dict)
