"""Does each model fit where it is deployed? A fault says how many accelerators would hold it."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.errors import Fault
from headrace.fleet import Deployment, Fleet
from headrace.perf import accelerators_needed, has_coefficients, memory_fit

GB = 1e9


def fit_faults(fleet: Fleet) -> Iterator[Fault]:
    """A fault for every deployment whose weights, or one full context, do not fit; or whose speed nobody knows."""
    for deployment in fleet.deployments.values():
        if deployment.accelerator is not None:
            yield from _deployment(f"deployments.{deployment.name}", deployment)


def _deployment(path: str, deployment: Deployment) -> Iterator[Fault]:
    chip = deployment.accelerator
    if chip is None:
        return
    if deployment.calibrated is None and not has_coefficients(chip):
        yield Fault(
            f"{path}.accelerator", f"no speed coefficients for {chip.name!r}; declare one `like` a chip that has"
        )
        return
    fit = memory_fit(deployment)
    if not fit.fits:
        needed = accelerators_needed(deployment)
        yield Fault(
            f"{path}.count",
            f"{deployment.model.name} does not fit on {deployment.count} x {chip.name}: its weights are "
            f"{fit.weight_bytes / GB:.1f} GB and {fit.usable_bytes / GB:.1f} GB of {fit.memory_bytes / GB:.1f} GB are "
            f"usable; {needed} would hold it with one full context",
        )
