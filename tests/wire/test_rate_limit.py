"""Rate-limit headers of every provider, in every encoding of a reset, as seconds from now."""

from __future__ import annotations

import pytest

from headrace.wire import RateLimit, rate_limit_headers, rate_limits, reset_s, retry_after_s

NOON_UNIX_S = 1_795_608_000.0  # 2026-11-25 12:00:00 UTC


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("33011.382867", 33011.382867),
        ("2", 2.0),
        ("2m59.56s", 179.56),
        ("6m0s", 360.0),
        ("285ms", 0.285),
        ("1h2m3s", 3723.0),
        ("2026-11-25T12:00:07Z", 7.0),
        ("2026-11-25T13:00:07.5+01:00", 7.5),
        ("2026-11-25T11:00:00Z", 0.0),
        ("Wed, 25 Nov 2026 12:01:00 GMT", 60.0),
        ("soon", None),
        ("", None),
    ],
)
def test_a_reset_is_read_in_every_encoding(text: str, seconds: float | None) -> None:
    found = reset_s(text, NOON_UNIX_S)
    assert found == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("headers", "limits"),
    [
        (  # Cerebras: the window is in the name
            {
                b"x-ratelimit-limit-requests-day": b"14400",
                b"x-ratelimit-remaining-requests-day": b"14399",
                b"x-ratelimit-reset-requests-day": b"33011.38",
                b"X-RateLimit-Remaining-Tokens-Minute": b"60000",
            },
            {
                RateLimit("requests", "day", 14400.0, 14399.0, 33011.38),
                RateLimit("tokens", "minute", remaining=60000.0),
            },
        ),
        (  # Groq and OpenAI: the same names, a Go duration
            {b"x-ratelimit-remaining-tokens": b"5900", b"x-ratelimit-reset-tokens": b"1m0.5s"},
            {RateLimit("tokens", None, None, 5900.0, 60.5)},
        ),
        (  # Anthropic: input and output apart, an absolute time
            {
                b"anthropic-ratelimit-input-tokens-limit": b"50000",
                b"anthropic-ratelimit-input-tokens-reset": b"2026-11-25T12:00:30Z",
                b"anthropic-priority-output-tokens-remaining": b"1000",
            },
            {
                RateLimit("input-tokens", None, 50000.0, None, 30.0),
                RateLimit("priority-output-tokens", remaining=1000.0),
            },
        ),
        ({b"content-type": b"text/plain", b"x-request-id": b"1"}, set()),
    ],
)
def test_each_provider_s_headers_are_read(headers: dict[bytes, bytes], limits: set[RateLimit]) -> None:
    assert set(rate_limits(rate_limit_headers(headers), NOON_UNIX_S)) == limits


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "3", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "Wed, 25 Nov 2026 12:00:10 GMT"}, 10.0),
        ({}, None),
    ],
)
def test_how_long_to_wait_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, NOON_UNIX_S) == seconds
