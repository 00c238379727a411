"""Where prompts begin alike: ids of the blocks of a request's body, each standing for its block and all before it.

The policy keeps a session where its beginning is cached (`policy/prefix.py`): it needs to know which prompts share one.
A gateway does not tokenize; but whoever sends a longer version of an earlier prompt sends the same bytes first. So the
body is cut into blocks of bytes from where its prompt begins, and each gets an id that depends on all before it:

    id_k = checksum of blocks 1 to k               as vLLM's prefix caching and Mooncake hash their token blocks

Two checksums of 32 bits, since they are fast: whoever makes two prompts collide spoils a guess, and nothing else.

What varies from turn to turn (a limit, a seed) often stands before the prompt: that is why blocks begin at the prompt's
own field, the first of those that an API has. A client that writes its fields in another order from turn to turn shares
nothing, and is treated as if nothing were known of it.
"""

from __future__ import annotations

from typing import Final
from zlib import adler32, crc32

BLOCK_BYTES: Final = 2048
BLOCK_TOKENS: Final = 512  # of so many bytes: about four to a token

FIELDS: Final = (b'"messages"', b'"input"', b'"prompt"', b'"system"', b'"instructions"', b'"tools"')
LOOKED_AT: Final = 4096  # bytes from the start of a body in which its prompt begins, or is taken to


def prompt_blocks(body: bytes) -> tuple[int, ...]:
    """Ids of the body's whole blocks, from where its prompt begins; none of a short one."""
    if len(body) < BLOCK_BYTES:
        return ()
    ids: list[int] = []
    crc, adler = 0, 1
    for at in range(_start(body), len(body) - BLOCK_BYTES + 1, BLOCK_BYTES):
        block = body[at : at + BLOCK_BYTES]
        crc, adler = crc32(block, crc), adler32(block, adler)
        ids.append(crc << 32 | adler)
    return tuple(ids)


def _start(body: bytes) -> int:
    """Where the first field of the prompt stands; 0 if none is near the beginning."""
    found = [at for field in FIELDS if (at := body.find(field, 0, LOOKED_AT)) >= 0]
    return min(found, default=0)
