"""Which policies a study may name: headrace's own, those of installed packages, and the simulator's oracle."""

from __future__ import annotations

from headrace.config import policy_names
from headrace.policy import STATIC, Policy
from headrace.sim import ORACLE
from headrace.study.compare import load_simulated_policy


def known_policies() -> tuple[str, ...]:
    """Their names."""
    return (*policy_names(), ORACLE.name)


def policy_named(name: str) -> Policy:
    """The policy of this name, one of `known_policies`."""
    return load_simulated_policy(name)


def sees_no_share(name: str) -> bool:
    """Whether a policy is known to take no notice of the share's target: it is a reference, then."""
    policy = policy_named(name)
    if policy.plug_in is not None or policy is STATIC:
        return False
    return not policy.steers
