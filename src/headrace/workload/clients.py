"""Clients that give themselves away by their headers, so that a fleet need not say how.

The names are those of `[classes.NAME.match] clients`. Where no class says any, the classes of the names `coding` and
`agent` get those that are such. Source of the headers: recalled from each client's own
code.
"""

from __future__ import annotations

from typing import NamedTuple


class Mark(NamedTuple):
    """A header that tells a client: its value begins with `prefix` (empty: whatever it is)."""

    header: str
    prefix: str = ""


CLIENTS: dict[str, tuple[Mark, ...]] = {
    "codex": (Mark("originator", "codex"), Mark("user-agent", "codex")),
    "claude-code": (Mark("user-agent", "claude-cli/"),),
    "opencode": (Mark("user-agent", "opencode/"),),
    "qwen-code": (Mark("user-agent", "QwenCode/"),),
    "a2a": (Mark("a2a-version"), Mark("a2a-extensions"), Mark("x-a2a-extensions")),
    "traceparent": (Mark("traceparent"),),
}
DEFAULT_CLIENTS: dict[str, tuple[str, ...]] = {
    "coding": ("codex", "claude-code", "opencode", "qwen-code"),
    "agent": ("a2a", "traceparent"),
}
