"""Which policies a study may name: whatever the simulator offers."""

from __future__ import annotations

from headrace.sim import SimulatedPolicy

_NO_SHARE = frozenset({SimulatedPolicy.GPU_ONLY, SimulatedPolicy.FAST_ONLY})


def known_policies() -> tuple[str, ...]:
    """Their names."""
    return tuple(policy.value for policy in SimulatedPolicy)


def policy_named(name: str) -> SimulatedPolicy:
    """The policy of this name, one of `known_policies`."""
    return SimulatedPolicy(name)


def sees_no_share(name: str) -> bool:
    """Whether a policy is known to take no notice of the share's target: it is a reference, then."""
    return policy_named(name) in _NO_SHARE
