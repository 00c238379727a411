"""The admin port's own key: one secret of the operator's, from the environment or a file that others cannot read.

It comes as a bearer token or, so that a browser can ask for it, as the password of HTTP Basic (any user name). Health
is open to everybody, because those who probe it have no keys.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path

from headrace.errors import ConfigError, Fault
from headrace.fleet import Admin
from headrace.http import Exchange, Handler
from headrace.tenancy import ExposedSecret, read_secret

SHORTEST = 16  # characters: 32 hexadecimal ones would be 128 bits
OPEN_PATHS = frozenset((b"/health", b"/health/live", b"/health/ready"))
CHALLENGE = b'www-authenticate: Basic realm="headrace"\r\ncontent-type: text/plain\r\n'
REFUSAL = b"the admin port needs its key: send `authorization: Bearer KEY`, or it as the password of HTTP Basic\n"


class AdminKey:
    """Knows the key by its hash."""

    def __init__(self, secret: str) -> None:
        self._digest = sha256(secret.encode()).digest()

    def opens(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether it came with these headers."""
        presented = _presented(headers.get(b"authorization", b""))
        return presented is not None and compare_digest(sha256(presented).digest(), self._digest)

    def guard(self, handler: Handler) -> Handler:
        """The handler behind the key."""

        def guarded(exchange: Exchange) -> None:
            if exchange.path in OPEN_PATHS or self.opens(exchange.headers):
                handler(exchange)
            else:
                exchange.respond(401, CHALLENGE, REFUSAL)

        return guarded


def admin_key(settings: Admin, environment: Mapping[str, str] = os.environ) -> AdminKey | None:
    """The key that a fleet file names; None: it names none.

    Raises:
        ConfigError: it is not where the file says, others may read it, or it is too short.
    """
    if settings.key_env is not None:
        where, secret = "admin.key_env", environment.get(settings.key_env, "")
        if not secret:
            raise ConfigError("fleet", [Fault(where, f"set {settings.key_env} in the environment")])
    elif settings.key_file is not None:
        where, secret = "admin.key_file", _read(settings.key_file)
    else:
        return None
    if len(secret) < SHORTEST:
        raise ConfigError("fleet", [Fault(where, f"the key has fewer than {SHORTEST} characters; take a longer one")])
    return AdminKey(secret)


def _read(name: str) -> str:
    try:
        return read_secret(Path(name)).decode().strip()
    except ExposedSecret as error:
        raise ConfigError("fleet", [Fault("admin.key_file", str(error))]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("fleet", [Fault("admin.key_file", f"{name} cannot be read: {error}")]) from error


def _presented(authorization: bytes) -> bytes | None:
    scheme, _, value = authorization.partition(b" ")
    match scheme.lower():
        case b"bearer":
            return value.strip()
        case b"basic":
            try:
                return base64.b64decode(value, validate=True).partition(b":")[2]
            except binascii.Error:
                return None
    return None
