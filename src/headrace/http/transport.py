"""What both sides of the data plane ask of a transport."""

from __future__ import annotations

import socket
from asyncio import Transport


def send_at_once(transport: Transport) -> None:
    """Let the kernel hold back no small segment: the next token may be long in coming."""
    raw = transport.get_extra_info("socket")
    if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def address_of(transport: Transport) -> str:
    """The other side's IP address; empty where it has none."""
    name = transport.get_extra_info("peername")
    return name[0] if isinstance(name, tuple) else ""
