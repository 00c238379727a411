"""Images and files on their way between APIs: as URL, `data:` URL, or base64 with its media type; never decoded."""

from __future__ import annotations

from typing import NamedTuple


class Inline(NamedTuple):
    """Media inside a request: its type and its bytes in base64."""

    media_type: str
    data: str


def inline(url: str) -> Inline | None:
    """The parts of a base64 `data:` URL (RFC 2397); None for any other URL."""
    head, comma, data = url.partition(",")
    if not (comma and head[:5].lower() == "data:" and head.lower().endswith(";base64")):
        return None
    return Inline(head[5:-7] or "text/plain", data)


def data_url(media_type: str, data: str) -> str:
    """The `data:` URL of base64 data."""
    return f"data:{media_type};base64,{data}"


def said_detail(detail: str | None) -> str | None:
    """An image's `detail`, unless it is the default."""
    return None if detail == "auto" else detail
