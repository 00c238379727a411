"""What a request's head must satisfy beyond what the parser checks, and the one form of its target.

The parser (llhttp) refuses what is not HTTP/1: bare line ends, folded lines, lengths that contradict each other. What
is left here is what it takes for well-formed and two servers may read differently. Whoever stands in front of this
server may have read it the other way, so it is refused: more than one host, a transfer encoding of HTTP/1.0, a version
that is not spoken, a target that names nothing here.

Source: RFC 9112, sections 2.3 (version), 3.2 (target and host), 6.1 (transfer encoding).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from headrace.http.limits import HttpLimits

VERSIONS = ("1.1", "1.0")
_HOST = re.compile(rb"(?:[A-Za-z0-9._~%!$&'()*+;=-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?\Z")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)([^#]*)\Z", re.IGNORECASE)


MAX_KNOWN_HOSTS = 1024
MAX_KNOWN_HOST_BYTES = 256
_known_hosts: set[bytes] = set()  # clients name the same one again and again


class Refused(Exception):
    """Stops the parser; carries the status and the message."""


def check_head(method: bytes, version: str, headers: Mapping[bytes, bytes]) -> None:
    """Whether a complete head can be taken; lengths are the parser's affair.

    Raises:
        Refused: it cannot.
    """
    if version not in VERSIONS:
        raise Refused(505, "the versions of HTTP that are spoken here are 1.1 and 1.0")
    if method == b"CONNECT":
        raise Refused(501, "this server is no tunnel: CONNECT is not offered")
    encoding = headers.get(b"transfer-encoding")
    if encoding is not None and (encoding.lower() != b"chunked" or version == "1.0"):
        raise Refused(400, "the only transfer encoding understood is chunked, of HTTP/1.1")
    host = headers.get(b"host")
    if host is None:
        if version == "1.1":
            raise Refused(400, "the host header is missing")
    elif host not in _known_hosts:
        _check_host(host)


def _check_host(host: bytes) -> None:
    if _HOST.match(host) is None:
        raise Refused(400, "the host header must name one host")
    if len(host) <= MAX_KNOWN_HOST_BYTES:
        if len(_known_hosts) >= MAX_KNOWN_HOSTS:
            _known_hosts.clear()
        _known_hosts.add(host)


def check_size(target: bytes, headers: Mapping[bytes, bytes], limits: HttpLimits) -> None:
    """Raises Refused: the head is larger than it may be."""
    if len(target) + sum(len(name) + len(value) + 4 for name, value in headers.items()) > limits.max_head_bytes:
        raise Refused(431, "the request head is too large")


def check_lines(count: int, limits: HttpLimits) -> None:
    """Raises Refused: the head has more lines than it may have."""
    if count > limits.max_header_lines:
        raise Refused(431, f"the request head has more than {limits.max_header_lines} lines")


def origin_form(method: bytes, target: bytes, headers: dict[bytes, bytes]) -> bytes:
    """The target as a path with its query; an absolute one names the host, whatever the header says.

    Raises:
        Refused: it is neither.
    """
    if target.startswith(b"/") and target.find(b"#") < 0:  # `in` first takes the bytes for a number, which is slow
        return target
    if target == b"*" and method == b"OPTIONS":
        return target
    absolute = _ABSOLUTE.match(target)
    if absolute is None or _HOST.match(absolute[1]) is None:
        raise Refused(400, "the target must be a path, with nothing after a `#`")
    headers[b"host"] = absolute[1]
    return absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
