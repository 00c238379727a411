"""Limits of an HTTP server: each is a setting with a default."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What a server puts up with.

    Attributes:
        max_body_bytes: largest request body; larger ones get 413.
        max_head_bytes: largest request head; larger ones get 431.
        max_header_lines: most header lines of a request; one with more gets 431.
        head_timeout_s: a request's head, and then its body, must be complete within this; else 408.
        keep_alive_timeout_s: an idle connection is closed after this.
        write_timeout_s: a client that takes no bytes for this long is cut off.
        max_connections: connections beyond this are closed as they are accepted.
        max_connections_per_address: the same for those from one address; None: all may come from one, as they do behind
            a load balancer.
        sweep_interval_s: how often the time guards look.
    """

    max_body_bytes: int = 16 * 1024 * 1024
    max_head_bytes: int = 32 * 1024
    max_header_lines: int = 256
    head_timeout_s: float = 10.0
    keep_alive_timeout_s: float = 75.0
    write_timeout_s: float = 120.0
    max_connections: int = 16_384
    max_connections_per_address: int | None = None
    sweep_interval_s: float = 1.0
