"""Named random streams: one seed, one independent stream per subsystem.

A subsystem that draws one number more must not change what another one draws, so every subsystem asks for a stream
by name. The stream's seed is a hash of (root seed, name); Python's own `hash` is salted per process and is not used.
"""

from __future__ import annotations

import hashlib
from random import Random


def stream(seed: int, name: str) -> Random:
    """A random stream that depends on `seed` and `name` only.

    Args:
        seed: the run's root seed.
        name: the subsystem that draws from it, e.g. `workload.coding.arrivals`.
    """
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return Random(int.from_bytes(digest[:8], "big"))
