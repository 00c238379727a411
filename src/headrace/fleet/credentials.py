"""A backend's credentials as header lines. The environment, key files and the time are given; nothing is read here.

No credential is ever shown: not by `repr`, and not to a client whose backend repeats it in an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from headrace.fleet.dialect_check import auth_of
from headrace.fleet.fleet import Backend
from headrace.wire.dialects import Auth, AwsKeys, region_of, sign

ANTHROPIC_VERSION = b"2023-06-01"
AWS_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
AWS_SESSION = "AWS_SESSION_TOKEN"
AWS_SERVICE = "bedrock"
REDACTED = b"[redacted]"


def credential_variables(backend: Backend) -> tuple[str, ...]:
    """The environment variables that the backend's credentials are in."""
    if auth_of(backend) is Auth.SIGV4:
        return AWS_VARIABLES
    return () if backend.api_key_env is None else (backend.api_key_env,)


def unsendable(value: str) -> bool:
    """Whether a credential is empty, or has a character that no header can carry: a line end, for one."""
    return not value or not value.isascii() or not value.isprintable() or " " in value


class Credentials:
    """Authorises requests to one backend.

    Attributes:
        lines: header lines that are the same for each request, each ended by CRLF; empty where each is signed.
        signs: each request is signed: ask `sign`.
    """

    __slots__ = ("_host", "_keys", "_region", "_secrets", "lines", "signs")

    def __init__(self, backend: Backend, environment: Mapping[str, str], file_key: str | None = None) -> None:
        """
        Args:
            environment: holds `credential_variables`.
            file_key: what `api_key_file` holds, if there is one.
        """
        parts, auth = urlsplit(backend.url), auth_of(backend)
        self.signs = auth is Auth.SIGV4
        self.lines = b""
        self._secrets: tuple[bytes, ...] = ()
        if self.signs:
            access_key, secret_key = (environment[name] for name in AWS_VARIABLES)
            self._keys = AwsKeys(access_key, secret_key, environment.get(AWS_SESSION))
            self._secrets = tuple(each.encode() for each in (secret_key, environment.get(AWS_SESSION)) if each)
            self._region = backend.aws_region or region_of(parts.hostname or "") or ""
            self._host = parts.netloc.rpartition("@")[2]
        elif file_key is not None or backend.api_key_env is not None:
            key = (file_key or "" if backend.api_key_env is None else environment[backend.api_key_env]).encode()
            self._secrets = (key,)
            if auth is Auth.X_API_KEY:
                self.lines = b"x-api-key: %b\r\nanthropic-version: %b\r\n" % (key, ANTHROPIC_VERSION)
            else:
                self.lines = _bearer(key)

    def use_token(self, token: str) -> None:
        """Send this bearer token from now on."""
        self.lines = _bearer(token.encode())
        self._secrets = (token.encode(),)

    def redacted(self, body: bytes) -> bytes:
        """The body of an error, without the credential that the backend may have repeated in it."""
        for secret in self._secrets:
            if secret in body:
                body = body.replace(secret, REDACTED)
        return body

    def sign(self, method: bytes, path: bytes, body: bytes, now_unix_s: float) -> bytes:
        """The header lines that authorise this one request."""
        at = {"method": method.decode(), "host": self._host, "path": path.decode()}
        return sign(self._keys, self._region, AWS_SERVICE, body=body, now_unix_s=now_unix_s, **at)


def _bearer(key: bytes) -> bytes:
    return b"authorization: Bearer %b\r\n" % key
