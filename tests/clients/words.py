"""What the emulated models say to SDKs: JSON, so that it can be parsed, two parallel calls, and an end."""

from __future__ import annotations

from typing import Any

WORD = "headrace"
TEXT = f'{{"word": "{WORD}", "why": "one two three four five six seven"}}'
CALLS = [["look_up", "mill"], ["look_up", "race"]]
AFTER = "Both were found."
SCRIPT: list[dict[str, Any]] = [
    {"text": TEXT, "calls": [{"name": name, "arguments": {"word": word}} for name, word in CALLS]},
    {"text": AFTER},
]
