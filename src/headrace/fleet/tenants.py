"""Tenants: how the gateway tells those apart who share it."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_TENANT = "default"
OTHER_TENANTS = "other"


@dataclass(frozen=True, slots=True)
class Tenants:
    """By what a request's tenant is known; by nothing, all are `DEFAULT_TENANT`.

    Attributes:
        header: lower-case name of the header that names the tenant, set by whoever authenticates clients; None: none.
        by_credential: a request without that header belongs to the tenant of its credential, named by its hash.
        most: tenants that are told apart; those that come later are `OTHER_TENANTS` together.
    """

    header: str | None = None
    by_credential: bool = False
    most: int = 64
