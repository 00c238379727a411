"""Rate-limit headers: what a provider says is left, and when there will be more.

Names differ: `x-ratelimit-remaining-requests` (OpenAI, Groq), the same with the window at the end (Cerebras:
`...-requests-day`), `anthropic-ratelimit-input-tokens-remaining`. The same name means different windows at different
providers (Groq's requests are per day, OpenAI's per minute), so a window is only given where the name says it.

A reset comes in four encodings: float seconds (`33011.38`), a Go duration (`2m59.56s`), an absolute time (RFC 3339),
and in `retry-after` also an HTTP date. All become seconds from now.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from email.utils import mktime_tz, parsedate_tz

import msgspec

_SUFFIXED = re.compile(r"x-ratelimit-(limit|remaining|reset)-(.+)")
_PREFIXED = re.compile(r"anthropic-(?:ratelimit-|)(.+)-(limit|remaining|reset)")
_RETRY = ("retry-after", "retry-after-ms", "x-should-retry")
_WINDOW = re.compile(r"(.+)-(second|minute|hour|day)")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_GO_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|us|µs|ns|m|s)")
_GO_DURATION = re.compile(rf"(?:{_GO_PART.pattern})+")
_GO_UNIT_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_RFC_3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(\.\d+)?(?:[Zz]|([+-])(\d\d):(\d\d))")


class RateLimit(msgspec.Struct, frozen=True):
    """One limit as the headers state it.

    Attributes:
        of: what is counted: `requests`, `tokens`, `input-tokens`, `priority-input-tokens` ...
        window: `second`, `minute`, `hour` or `day` where the header's name says so.
        reset_s: seconds until the window is full again.
    """

    of: str
    window: str | None = None
    limit: float | None = None
    remaining: float | None = None
    reset_s: float | None = None


def rate_limit_headers(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """The headers that speak of rate limits, as they came; names in lower case."""
    texts = {name.decode("latin-1").lower(): value.decode("latin-1").strip() for name, value in headers.items()}
    return {name: text for name, text in sorted(texts.items()) if name in _RETRY or _parts(name) is not None}


def rate_limits(headers: Mapping[str, str], now_unix_s: float) -> tuple[RateLimit, ...]:
    """The limits that `rate_limit_headers` found, parsed; what cannot be read is left out.

    Args:
        now_unix_s: the present, as seconds since 1970: absolute resets are measured from it.
    """
    found: dict[tuple[str, str | None], dict[str, float | None]] = {}
    for name, text in headers.items():
        parts = _parts(name)
        if parts is None:
            continue
        figure, of, window = parts
        value = reset_s(text, now_unix_s) if figure == "reset" else _number(text)
        found.setdefault((of, window), {})["reset_s" if figure == "reset" else figure] = value
    return tuple(RateLimit(of, window, **figures) for (of, window), figures in found.items())


def retry_after_s(headers: Mapping[str, str], now_unix_s: float) -> float | None:
    """Seconds that the provider asks to wait: `retry-after-ms` before `retry-after`; None where it asks nothing."""
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000.0
    return reset_s(headers.get("retry-after", ""), now_unix_s)


def reset_s(text: str, now_unix_s: float) -> float | None:
    """Seconds from now that a reset stands for, at least 0; None if it is in no encoding known here."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    if _GO_DURATION.fullmatch(text):
        return sum(float(value) * _GO_UNIT_S[unit] for value, unit in _GO_PART.findall(text))
    at_unix_s = _rfc_3339_s(text) or _http_date_s(text)
    return None if at_unix_s is None else max(0.0, at_unix_s - now_unix_s)


def _parts(name: str) -> tuple[str, str, str | None] | None:
    """(limit, remaining or reset; what of; window) of a header's name."""
    if match := _SUFFIXED.fullmatch(name):
        figure, of = match[1], match[2]
    elif match := _PREFIXED.fullmatch(name):
        figure, of = match[2], match[1]
    else:
        return None
    window = _WINDOW.fullmatch(of)
    return (figure, of, None) if window is None else (figure, window[1], window[2])


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text.strip()) else None


def _rfc_3339_s(text: str) -> float | None:
    match = _RFC_3339.fullmatch(text)
    if match is None:
        return None
    fields = tuple(int(each) for each in match.groups()[:6])
    offset_s = 0
    if match[8]:
        offset_s = (int(match[9]) * 3600 + int(match[10]) * 60) * (1 if match[8] == "+" else -1)
    return calendar.timegm((*fields, 0, 0, 0)) + float(match[7] or 0.0) - offset_s


def _http_date_s(text: str) -> float | None:
    parsed = parsedate_tz(text)
    return None if parsed is None else float(mktime_tz(parsed))
