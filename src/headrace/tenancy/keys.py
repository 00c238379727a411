"""API keys: made here, shown once, and known afterwards by a hash.

    hr_3f9a1c0e_Q2x5...   "hr_", a public prefix by which people find the key, and 256 bits of chance

Only the SHA-256 of the whole is kept. A slow hash (bcrypt, scrypt, Argon2) is for passwords, which people choose and
others can guess: it makes each guess dear. 2^256 secrets cannot be guessed, however cheap a guess is, so one round of
SHA-256 protects a stolen file just as well, and costs half a microsecond instead of a hundred milliseconds a request.
(NIST SP 800-63B, 5.1.1.2 and 5.1.2.2: look-up secrets with at least 112 bits of entropy need no slow, salted hash.)

A presented key is hashed, and looked up by its digest. How long that takes tells something of the digest at most, which
nobody can steer; the digests are then compared in constant time all the same. What held is remembered as it came, and
compared with what comes next in constant time too, so that a client's second request is hashed no more.

A key is more than its secret: it has a name, under which it is counted and found in the usage ledger, and it may have
several secrets, so that `rotate` gives a new one while the old one holds on for a while.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from hashlib import sha256
from hmac import compare_digest
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from headrace.errors import Unauthenticated
from headrace.fleet import Allowance
from headrace.fleet.tenants import DEFAULT_TENANT

SCHEME = "hr"
PREFIX_BYTES = 4
SECRET_BYTES = 32
BEARER = b"bearer "
_BEARER_LENGTH = len(BEARER)
MOST_KNOWN = 4096

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


class Secret(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One secret of a key: its public `prefix`, its SHA-256, and until when it holds (None: for good)."""

    prefix: str
    sha256: Digest
    created_unix_s: float
    expires_unix_s: float | None = None


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One key: whose it is, what it may do, and its secrets.

    Attributes:
        allowance: what it may do besides what its tenant may.
        revoked_unix_s: since when it holds no more; its name is not given again, because the ledger knows it.
    """

    name: Name
    tenant: Name = DEFAULT_TENANT
    secrets: tuple[Secret, ...] = ()
    allowance: Allowance = Allowance()
    revoked_unix_s: float | None = None


class NewSecret(NamedTuple):
    """A secret as its owner is shown it, once, and as it is kept."""

    text: str
    kept: Secret


def new_secret(now_unix_s: float, expires_unix_s: float | None = None) -> NewSecret:
    """A secret that nobody has had before."""
    prefix = f"{SCHEME}_{secrets.token_hex(PREFIX_BYTES)}"
    text = f"{prefix}_{secrets.token_urlsafe(SECRET_BYTES)}"
    digest = sha256(text.encode()).hexdigest()
    return NewSecret(
        text, Secret(prefix=prefix, sha256=digest, created_unix_s=now_unix_s, expires_unix_s=expires_unix_s)
    )


class _Held(NamedTuple):
    digest: bytes
    expires_unix_s: float | None
    key: Key


class KeyRing:
    """Every key that holds, to be found by what a client presents."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self.keys = tuple(keys)
        self._held: dict[bytes, _Held] = {}
        self._known: dict[int, tuple[bytes, _Held]] = {}  # bearer tokens that held, by Python's hash of them
        for key in self.keys:
            if key.revoked_unix_s is None:
                for secret in key.secrets:
                    digest = bytes.fromhex(secret.sha256)
                    self._held[digest] = _Held(digest, secret.expires_unix_s, key)

    def key_of(self, headers: Mapping[bytes, bytes], now_unix_s: float) -> Key:
        """The key that came with a request: as a bearer token, or in `x-api-key`.

        Raises:
            Unauthenticated: there is none, or none that holds.
        """
        presented = headers.get(b"authorization")
        found = None if presented is None else self._of_bearer(presented)
        if found is None:
            presented = headers.get(b"x-api-key")
            found = None if presented is None else self._find(presented)
        if found is None:
            raise Unauthenticated(_refusal(headers))
        if found.expires_unix_s is not None and found.expires_unix_s <= now_unix_s:
            raise Unauthenticated(f"the key {_prefix(found, found.key)} has expired; ask its issuer for another one")
        return found.key

    def _of_bearer(self, presented: bytes) -> _Held | None:
        known = self._known.get(hash(presented))
        if known is not None and compare_digest(known[0], presented):
            return known[1]
        if presented[:_BEARER_LENGTH].lower() != BEARER:
            return None
        found = self._find(presented[_BEARER_LENGTH:])
        if found is not None:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[hash(presented)] = presented, found
        return found

    def _find(self, presented: bytes) -> _Held | None:
        digest = sha256(presented).digest()
        found = self._held.get(digest)
        return found if found is not None and compare_digest(found.digest, digest) else None


def _prefix(held: _Held, key: Key) -> str:
    return next(each.prefix for each in key.secrets if each.sha256 == held.digest.hex())


def _refusal(headers: Mapping[bytes, bytes]) -> str:
    """What is wrong, without a word of what was presented."""
    if b"authorization" in headers or b"x-api-key" in headers:
        return "the API key is not known here, or was revoked; check it, or ask its issuer for another one"
    return "no API key came with the request; send one as `authorization: Bearer KEY` or `x-api-key: KEY`"
