"""What of a request body is refused before anything is done with it: too many entries, and URLs of forbidden hosts.

A model server fetches the images that a request names, from inside the operator's network. Its URLs are judged by their
form, strictly: where two readers could find two hosts in one URL, it is refused.

    "any"         nothing is looked at
    "public"      http and https to hosts that are public by what they say of themselves; and `data:`
    "data-only"   `data:` alone
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from headrace.errors import RequestError
from headrace.fleet import ImageUrls, Limits
from headrace.fleet.addresses import Reach, reach_of
from headrace.wire import ApiName, Head, decode_head
from headrace.wire.counted_head import SMALLEST_ENTRY_BYTES, counted_head
from headrace.wire.media_urls import media_urls

_PLAIN = re.compile(r"[hH][tT][tT][pP][sS]?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?(?:[/?#][^\\\s]*)?")
_REMEDY = 'send the data itself as a data: URL, or ask who runs this gateway for image_urls = "any" in [limits]'
SHOWN = 100


class BodyGuard:
    """Reads the heads of requests within some limits."""

    def __init__(self, limits: Limits) -> None:
        self._most = limits.max_messages, limits.max_tools
        self._uncounted_bytes = SMALLEST_ENTRY_BYTES * min(self._most)
        self._image_urls = limits.image_urls
        self._looks = limits.image_urls is not ImageUrls.ANY

    def read(self, api: ApiName, body: bytes) -> Head:
        """The head of a request.

        Raises:
            RequestError: it is none of this API, is too much, or names what no backend is to fetch.
        """
        if len(body) < self._uncounted_bytes:
            head = decode_head(api, body)
        else:
            head = counted_head(api, body, *self._most)
        if self._looks:
            for url in media_urls(api, body):
                self._check(url)
        return head

    def _check(self, url: str) -> None:
        if url[:5].lower() == "data:":
            return
        if self._image_urls is ImageUrls.DATA_ONLY:
            raise RequestError(f"images and files are not fetched from URLs here: {_REMEDY}", "image_url")
        if _PLAIN.fullmatch(url) is None:
            said = "is not plainly http://HOST/... or https://HOST/..."
            raise RequestError(f"the URL {url[:SHOWN]!r} of an image or file {said}: {_REMEDY}", "image_url")
        host = urlsplit(url).hostname or ""
        reach = reach_of(host)
        if reach is not Reach.PUBLIC:
            said = f"an image or file is to be fetched from {host!r}, a {reach} host"
            raise RequestError(f"{said}: {_REMEDY}", "image_url")
