"""AWS Signature Version 4, for one kind of request: a POST or GET with its whole body at hand and no query.

    key       = HMAC(HMAC(HMAC(HMAC("AWS4" + secret, date), region), service), "aws4_request")
    canonical = method, path (each segment percent-encoded again), "", "name:value" of the signed headers, their names,
                SHA-256 of the body, one a line
    signature = HMAC(key, "AWS4-HMAC-SHA256" + timestamp + scope + SHA-256(canonical))

Source: AWS General Reference, "Create a signed AWS API request"; held against the published test suite's first vector.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from email.utils import formatdate, parsedate_tz
from typing import NamedTuple
from urllib.parse import quote

_REGION = re.compile(r"\.([a-z]{2}(?:-[a-z]+)+-\d)\.")
ALGORITHM = "AWS4-HMAC-SHA256"


class AwsKeys(NamedTuple):
    """Whose signature it is; `session_token` only with temporary keys."""

    access_key: str
    secret_key: str
    session_token: str | None = None


def region_of(host: str) -> str | None:
    """The region in an AWS host name, e.g. `bedrock-runtime.us-east-1.amazonaws.com`; None: it names none."""
    found = _REGION.search(f".{host}.")
    return found[1] if found else None


def sign(
    keys: AwsKeys,
    region: str,
    service: str,
    *,
    method: str,
    host: str,
    path: str,
    body: bytes,
    now_unix_s: float,
) -> bytes:
    """The header lines that authorise a request, each ended by CRLF.

    Args:
        path: as it goes on the wire, without a query.
        now_unix_s: seconds since 1970; AWS takes a signature for five minutes.
    """
    stamp = _stamp(now_unix_s)
    headers = {"host": host, "x-amz-date": stamp}
    if keys.session_token is not None:
        headers["x-amz-security-token"] = keys.session_token
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in sorted(headers))
    canonical = "\n".join((method, quote(path, safe="/-_.~"), "", lines, names, hashlib.sha256(body).hexdigest()))
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    text = "\n".join((ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    signature = hmac.new(_key(keys.secret_key, scope), text.encode(), hashlib.sha256).hexdigest()
    authorization = f"{ALGORITHM} Credential={keys.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    sent = {name: value for name, value in headers.items() if name != "host"} | {"authorization": authorization}
    return "".join(f"{name}: {value}\r\n" for name, value in sent.items()).encode()


def _stamp(now_unix_s: float) -> str:
    """The time in AWS's form, `20150830T123600Z`."""
    parts = parsedate_tz(formatdate(now_unix_s, usegmt=True))
    assert parts is not None  # it was written a moment ago
    year, month, day, hour, minute, second = parts[:6]
    return f"{year:04d}{month:02d}{day:02d}T{hour:02d}{minute:02d}{second:02d}Z"


def _key(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
