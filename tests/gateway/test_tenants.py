"""Tenants are told apart by a header or a credential, and never become more than a few."""

from __future__ import annotations

from headrace.fleet import Tenants
from headrace.gateway.tenants import TenantBook

KEY = {b"authorization": b"Bearer secret"}


def test_nothing_declared_is_one_tenant() -> None:
    assert TenantBook(Tenants()).name({b"x-tenant": b"a", **KEY}) == "default"


def test_a_header_goes_before_the_credential_whose_name_does_not_tell_it() -> None:
    book = TenantBook(Tenants("x-tenant", by_credential=True))
    assert book.name({b"x-tenant": b"acme", **KEY}) == "acme"
    name = book.name(KEY)
    assert name.startswith("key-")
    assert "secret" not in name
    assert book.name(dict(KEY)) == name != book.name({b"x-api-key": b"another"})
    assert book.name({}) == "default"


def test_tenants_beyond_the_most_share_one_name() -> None:
    book = TenantBook(Tenants("x-tenant", most=2))
    names = [book.name({b"x-tenant": b"t%d" % (number % 5)}) for number in range(20)]
    assert set(names) == {"t0", "t1", "other"}
    assert len(book.name({b"x-tenant": b"x" * 10_000})) <= 64
