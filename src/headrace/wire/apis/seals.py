"""Sealed reasoning across APIs: carried in the other API's sealed field, under a tag that brings it back.

A client of Messages that is answered by a Responses backend gets the backend's encrypted item as a thinking block's
`signature`; when it sends the block back, the item is restored. The other way round works alike. A provider never sees
another provider's seal.
"""

from __future__ import annotations

from headrace.wire.canonical import Seal

_TAG = "headrace"


def carried(seal: Seal, api: str) -> str:
    """The seal as a client of `api` gets it."""
    if seal.api == api:
        return seal.data
    return ".".join((_TAG, seal.api, "r" if seal.redacted else "t", seal.item_id or "", seal.data))


def restored(text: str, api: str, item_id: str | None = None, redacted: bool = False) -> Seal:
    """The seal that a client of `api` sent back."""
    parts = text.split(".", 4)
    if len(parts) == 5 and parts[0] == _TAG:
        return Seal(parts[1], parts[4], parts[3] or None, parts[2] == "r")
    return Seal(api, text, item_id, redacted)
