"""Does each model fit where it is deployed? A fault says how many accelerators would hold it."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.errors import Fault
from headrace.fleet import Accelerator, Deployment, Fleet, Speculation
from headrace.perf import accelerators_needed, declares_speculation, is_predictable, memory_fit, releases, speculates

GB = 1e9


def fit_faults(fleet: Fleet) -> Iterator[Fault]:
    """A fault for every deployment whose weights, or one full context, do not fit; or whose speed nobody knows."""
    for deployment in fleet.deployments.values():
        if deployment.accelerator is not None:
            yield from deployment_faults(f"deployments.{deployment.name}", deployment)


def deployment_faults(path: str, deployment: Deployment) -> Iterator[Fault]:
    """The same of one deployment; `path` is its own."""
    chip = deployment.accelerator
    if chip is None:
        return
    if deployment.calibrated is None and not is_predictable(chip):
        yield Fault(
            f"{path}.accelerator",
            f"no speed is known of {chip.name!r}: declare its bandwidth and FLOP/s, or one `like` a known chip",
        )
        return
    yield from _software(path, deployment, chip)
    fit = memory_fit(deployment)
    if not fit.fits:
        needed = accelerators_needed(deployment)
        yield Fault(
            f"{path}.count",
            f"{deployment.model.name} does not fit on {deployment.count} x {chip.name}: its weights are "
            f"{fit.weight_bytes / GB:.1f} GB and {fit.usable_bytes / GB:.1f} GB of {fit.memory_bytes / GB:.1f} GB are "
            f"usable; {needed} would hold it with one full context",
        )


def _software(path: str, deployment: Deployment, chip: Accelerator) -> Iterator[Fault]:
    known, release = releases(chip), deployment.release
    if release is not None and not known:
        yield Fault(f"{path}.release", f"the speed of {chip.name!r} is known for one release only; remove it")
    elif release is not None and release < known[0]:
        yield Fault(
            f"{path}.release", f"{release!r} is older than the first known of {chip.name!r}: {', '.join(known)}"
        )
    yield from _speculation(f"{path}.speculation", deployment, chip)


def _speculation(path: str, deployment: Deployment, chip: Accelerator) -> Iterator[Fault]:
    known, own = speculates(chip), isinstance(deployment.speculation, Speculation)
    if own and deployment.calibrated is not None:
        yield Fault(path, "the calibration has it in already; remove it")
    elif own and not declares_speculation(chip):
        yield Fault(path, f"on {chip.name!r} it is known as measured only; write true")
    elif deployment.speculation is True and not known:
        figures = "{ acceptance = A, draft_tokens = K, draft_cost = C }"
        said = f"give its figures, {figures}, or remove it" if declares_speculation(chip) else "remove it"
        yield Fault(path, f"what it brings on {chip.name!r} is not known; {said}")
