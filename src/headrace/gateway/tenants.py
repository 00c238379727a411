"""Whose request it is: by a header, or by the credential that came with it.

A name from outside is never trusted to be one of few: beyond `most` tenants those that come later share one name, so
that nothing that is kept by tenant (queues, predicted lengths) grows with who knocks. A credential is never kept in
clear: its tenant's name is the beginning of its SHA-256.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from headrace.fleet.tenants import DEFAULT_TENANT, OTHER_TENANTS, Tenants

LONGEST = 64  # bytes of a name
HASH_DIGITS = 12
CREDENTIALS = (b"authorization", b"x-api-key")


class TenantBook:
    """Names the tenants of one gateway."""

    def __init__(self, settings: Tenants) -> None:
        self._header = None if settings.header is None else settings.header.encode()
        self._by_credential = settings.by_credential
        self._most = settings.most
        self._names: dict[bytes, str] = {}
        self.declared = settings.header is not None or settings.by_credential

    def name(self, headers: Mapping[bytes, bytes]) -> str:
        """The tenant of a request with these headers."""
        if not self.declared:
            return DEFAULT_TENANT
        said = None if self._header is None else headers.get(self._header)
        if said:
            return self._known(said[:LONGEST], said[:LONGEST].decode("latin-1"))
        if self._by_credential:
            for each in CREDENTIALS:
                if each in headers:
                    digest = sha256(headers[each])
                    return self._known(digest.digest(), f"key-{digest.hexdigest()[:HASH_DIGITS]}")
        return DEFAULT_TENANT

    def _known(self, key: bytes, name: str) -> str:
        found = self._names.get(key)
        if found is None:
            if len(self._names) >= self._most:
                return OTHER_TENANTS
            found = self._names[key] = name
        return found
