"""What a URL's host is to the network it is asked from: public, private, this machine, or the link itself.

Link-local addresses are where clouds keep the credentials of their machines (169.254.169.254 and its like), so whoever
can choose a URL that a server asks must not choose those. Hosts are judged as a resolver reads them: `2852039166`,
`0xa9fea9fe` and `169.254.43518` are the same address. A name is judged by its form alone; what it resolves to is not
known here: whoever has connected asks `forbidden` again, with the address at the other end.

Source: RFC 6890 (special-purpose addresses), through `ipaddress`; `inet_aton` for the short forms.
"""

from __future__ import annotations

import re
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address

METADATA_NAMES = (
    "metadata.google.internal",
    "metadata.goog",
    "metadata",
    "instance-data",
    "instance-data.ec2.internal",
)
METADATA_ADDRESSES = ("fd00:ec2::254", "100.100.100.200")
PRIVATE_SUFFIXES = (".internal", ".local", ".localdomain", ".lan", ".home.arpa", ".intranet", ".corp", ".svc")
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+\Z")


class Reach(StrEnum):
    """Who answers at a host."""

    PUBLIC = "public"
    PRIVATE = "private"
    LOOPBACK = "loopback"
    LINK_LOCAL = "link-local"


def reach_of(host: str) -> Reach:
    """Who answers at this host, as far as it says so itself."""
    name = host.rstrip(".").partition("%")[0].lower()
    address = _address(name)
    if address is None:
        return _reach_of_name(name)
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or _behind_nat64(address)
        address = address if inner is None else inner
    if address.is_link_local or str(address) in METADATA_ADDRESSES:
        return Reach.LINK_LOCAL
    if address.is_loopback or address.is_unspecified:
        return Reach.LOOPBACK
    return Reach.PUBLIC if address.is_global and not address.is_multicast else Reach.PRIVATE


def forbidden(host: str) -> str | None:
    """Why no backend may be at this host or address, unless it is said to be there; None: it may."""
    if reach_of(host) is not Reach.LINK_LOCAL:
        return None
    return f"{host!r} is where clouds keep credentials; set link_local = true if a backend is there"


def _reach_of_name(name: str) -> Reach:
    if name in METADATA_NAMES:
        return Reach.LINK_LOCAL
    if name == "localhost" or name.endswith((".localhost", ".localdomain")):
        return Reach.LOOPBACK
    return Reach.PRIVATE if "." not in name or name.endswith(PRIVATE_SUFFIXES) else Reach.PUBLIC


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(name.strip("[]"))
    except ValueError:
        return _short_form(name.split("."))


def _short_form(parts: list[str]) -> IPv4Address | None:
    """An address of one to four numbers, each decimal, octal or hexadecimal; the last fills what is left."""
    if not 1 <= len(parts) <= 4 or any(_NUMBER.match(part) is None for part in parts):
        return None
    try:
        *first, last = (_number(part) for part in parts)
    except ValueError:
        return None
    left = 32 - 8 * len(first)
    if any(number > 255 for number in first) or last >= 1 << left:
        return None
    whole = last
    for place, number in enumerate(first):
        whole |= number << (24 - 8 * place)
    return IPv4Address(whole)


def _number(part: str) -> int:
    if part[:2].lower() == "0x":
        return int(part[2:] or "0", 16)
    return int(part, 8 if part.startswith("0") and len(part) > 1 else 10)


def _behind_nat64(address: IPv6Address) -> IPv4Address | None:
    """The address that a NAT64 gateway would ask (64:ff9b::/96)."""
    return IPv4Address(int(address) & 0xFFFFFFFF) if int(address) >> 32 == 0x0064FF9B << 64 else None
