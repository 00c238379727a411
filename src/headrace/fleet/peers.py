"""Other engines over the same fleet: how often they tell each other what they do, and by what."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Peers:
    """Workers of one gateway tell each other through memory, several gateways through a Redis or Valkey server.

    Attributes:
        interval_s: time between two reports.
        dead_after_s: who has said nothing for so long is gone.
        redis: URL of the server without a password, e.g. `redis://10.0.0.5:6379/0`; None: this gateway has no others
            beside it.
        password_env: environment variable that holds its password; None: it asks for none.
        fleet_name: gateways with the same one are peers.
    """

    interval_s: float = 0.25
    dead_after_s: float = 3.0
    redis: str | None = None
    password_env: str | None = None
    fleet_name: str = "headrace"
