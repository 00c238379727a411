"""Thinning a trace: whole tasks stay or go, by a hash of their name, so a sample is the same wherever it is drawn.

A task is kept if hash(seed, name) falls below the fraction. Samples nest: what is in a sample of 1 % is in one of 10 %.
Requests on their own are named by their place in the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

from headrace.workload import Item, Task

_HASH_BYTES = 8


def sampled(items: Iterator[Item], fraction: float, seed: int, name: str) -> Iterator[Item]:
    """The kept fraction of a trace's tasks and requests.

    Args:
        name: of the trace's class; two traces are thinned independently.
    """
    threshold = int(fraction * (1 << (8 * _HASH_BYTES)))
    key = f"{seed}/{name}".encode()[:64]
    for number, item in enumerate(items):
        label = item.id if type(item) is Task else str(number)
        digest = blake2b(label.encode(), digest_size=_HASH_BYTES, key=key).digest()
        if int.from_bytes(digest, "big") < threshold:
            yield item
