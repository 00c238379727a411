"""Policies by name: what a fleet file, an option, a journal and `/admin/state` call them.

The table holds what ships with headrace. A user's own policy is a `Policy` with a maker of its own, found by
`config.load_policy`: looking for installed packages is I/O and has no place here.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.policy.baselines import (
    Cheapest,
    Fastest,
    LeastInFlight,
    LowestLatency,
    PowerOfTwo,
    PrefixAware,
    RoundRobin,
    Static,
)
from headrace.policy.picker import PickerMaker


@dataclass(frozen=True, slots=True)
class Policy:
    """What chooses.

    Attributes:
        about: one line for people.
        maker: makes the picker of one engine; None: prices choose.
        inside: only the steered share's pools (True), only the others (False), or all (None).
        plug_in: where it was found, for messages; None: it ships with headrace.
    """

    name: str
    about: str
    maker: PickerMaker | None = None
    inside: bool | None = None
    plug_in: str | None = None

    @property
    def steers(self) -> bool:
        """Whether shares and limits are kept by prices: there are some, and all pools to choose from."""
        return self.maker is None and self.inside is None


PRICES = Policy("prices", "lowest cost + value of time + risk, with a price for each share and limit")
GPU_ONLY = Policy("gpu_only", "prices, outside the steered share's pools only", inside=False)
FAST_ONLY = Policy("fast_only", "prices, inside the steered share's pools only", inside=True)
STATIC = Policy("static", "a coin sends the share's target to its pools, whatever the request", Static)

POLICIES = {
    policy.name: policy
    for policy in (
        PRICES,
        GPU_ONLY,
        FAST_ONLY,
        STATIC,
        Policy("round_robin", "each backend in turn", RoundRobin),
        Policy("least_in_flight", "fewest attempts in flight", LeastInFlight),
        Policy("power_of_two", "two at random, of which the one with fewer attempts in flight", PowerOfTwo),
        Policy("latency", "lowest latency expected now, as observed", LowestLatency),
        Policy("prefix_aware", "longest prompt beginning held, else fewest attempts in flight", PrefixAware),
        Policy("cheapest", "lowest marginal cost", Cheapest),
        Policy("fastest", "fastest silicon when alone, whatever its load", Fastest),
    )
}
