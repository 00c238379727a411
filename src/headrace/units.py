"""Unit conversions at the edge. Inside headrace everything is seconds, bytes, watts and USD."""

from __future__ import annotations

TOKENS_PER_MTOK = 1_000_000
SECONDS_PER_MINUTE = 60.0
SECONDS_PER_HOUR = 3600.0
SECONDS_PER_DAY = 86400.0
HOURS_PER_YEAR = 8760.0
WATTS_PER_KW = 1e3
WATTS_PER_MW = 1e6
JOULES_PER_KWH = 3.6e6


def usd_per_token(usd_per_mtok: float) -> float:
    """USD per token from USD per million tokens."""
    return usd_per_mtok / TOKENS_PER_MTOK


def energy_usd(power_w: float, duration_s: float, usd_per_kwh: float) -> float:
    """USD for `power_w` watts drawn for `duration_s` seconds at `usd_per_kwh`."""
    return power_w * duration_s / JOULES_PER_KWH * usd_per_kwh
