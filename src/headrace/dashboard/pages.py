"""The page's files, as they are sent: read once, and under a policy that lets nothing in from anywhere else.

No script and no style stands in the page itself, nothing is evaluated, no frame may hold it, and the browser may talk
to this port alone. So what a request, a tenant or a backend is called can never become code, whatever it is called.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from headrace.http import header_lines

KINDS: Final = {
    "html": b"text/html; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "svg": b"image/svg+xml",
}
POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SAFE: Final = header_lines(
    (b"content-security-policy", POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
)
PREFIX: Final = "/dashboard/"


def page_files() -> dict[bytes, tuple[bytes, bytes]]:
    """Header lines and body of every file, by its path on the admin port."""
    found: dict[bytes, tuple[bytes, bytes]] = {}
    for file in sorted(files("headrace.dashboard").joinpath("page").iterdir(), key=lambda each: each.name):
        kind = KINDS.get(file.name.rpartition(".")[2])
        if kind is not None:
            path = "/" if file.name == "index.html" else PREFIX + file.name
            found[path.encode()] = header_lines((b"content-type", kind)) + SAFE, file.read_bytes()
    return found
