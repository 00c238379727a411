"""What a deployment may say of how it serves: every option must have something that it acts on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields

from headrace.errors import Fault
from headrace.fleet.accelerator import Memory
from headrace.fleet.deployment import Deployment
from headrace.fleet.kv_cache import KvCache, KvPolicy, Preemption
from headrace.fleet.quota import Quantiles, Quota
from headrace.fleet.replicas import Replicas

LIMITS = ("requests_per_minute", "requests_per_day", "tokens_per_minute", "tokens_per_day", "max_in_flight")


def serving_faults(path: str, deployment: Deployment) -> Iterator[Fault]:
    """Every fault of the deployment's serving options; `path` is the deployment's own."""
    if deployment.kv_cache is not None:
        yield from _kv_cache(f"{path}.kv_cache", deployment, deployment.kv_cache)
    if deployment.quota is not None:
        yield from _quota(f"{path}.quota", deployment, deployment.quota)
    if deployment.replicas is not None:
        yield from _replicas(f"{path}.replicas", deployment, deployment.replicas)
    if deployment.split is not None:
        yield from _split(f"{path}.split", deployment)
    if deployment.spares is not None:
        yield from _spares(f"{path}.spares", deployment)
    observed = deployment.observed
    if observed is not None:
        yield from _quantiles(f"{path}.observed.ttft_quantiles_s", observed.ttft_quantiles)
        yield from _quantiles(f"{path}.observed.tpot_quantiles_s", observed.tpot_quantiles)


def _kv_cache(path: str, deployment: Deployment, settings: KvCache) -> Iterator[Fault]:
    chip = deployment.accelerator
    if deployment.observed is not None:
        yield Fault(
            path, "a service that is only observed manages its own cache; set observed.cache_ttl_s, or remove it"
        )
        return
    if chip is not None and chip.memory is Memory.SRAM:
        yield Fault(path, f"{chip.name!r} serves as a pipeline, which reserves KV and shares nothing; remove it")
        return
    if settings.preemption is Preemption.SWAP:
        yield from _swap(path, deployment, settings)
        return
    for name in ("swap_bytes", "swap_bytes_per_s"):
        if getattr(settings, name):
            yield Fault(f"{path}.{name}", 'only meant for preemption = "swap"; set that, or remove it')


def _swap(path: str, deployment: Deployment, settings: KvCache) -> Iterator[Fault]:
    if settings.policy is not KvPolicy.GROW:
        yield Fault(f"{path}.preemption", 'nothing is preempted where policy = "reserve"; set policy = "grow"')
    if deployment.accelerator is None:
        yield Fault(f"{path}.preemption", "how many bytes are swapped is not known without an accelerator; name it")
    for name, meaning in (
        ("swap_bytes", "host memory for KV, e.g. 32e9"),
        ("swap_bytes_per_s", "bandwidth of the host link, e.g. 25e9"),
    ):
        if not getattr(settings, name):
            yield Fault(f"{path}.{name}", f'missing; preemption = "swap" needs the {meaning}')


def _replicas(path: str, deployment: Deployment, settings: Replicas) -> Iterator[Fault]:
    if deployment.observed is not None:
        yield Fault(path, "what stands behind a service that is only observed is not known; remove it")
    if settings.max_replicas < settings.min_replicas:
        yield Fault(
            f"{path}.max_replicas", f"{settings.max_replicas} is less than min_replicas = {settings.min_replicas}"
        )
    if settings.max_replicas > settings.min_replicas and not settings.target_in_flight:
        yield Fault(f"{path}.target_in_flight", "missing; scaling aims at so many requests in flight per replica")


def _split(path: str, deployment: Deployment) -> Iterator[Fault]:
    chip = deployment.accelerator
    if chip is None:
        yield Fault(path, "how many bytes of KV are moved is not known without an accelerator; name it, or remove it")
    elif chip.memory is Memory.SRAM:
        yield Fault(path, f"{chip.name!r} serves as a pipeline with a prefill lane of its own; remove it")
    if deployment.replicas is not None:
        yield Fault(path, "says itself how many replicas there are; remove replicas")


def _spares(path: str, deployment: Deployment) -> Iterator[Fault]:
    if deployment.accelerator is None:
        yield Fault(path, "no accelerator of it is known that could be lost; name it, or remove spares")
    if deployment.replicas is not None or deployment.split is not None:
        yield Fault(path, "stand by for one replica; give each replica a backend of its own, or remove spares")


def _quota(path: str, deployment: Deployment, quota: Quota) -> Iterator[Fault]:
    if deployment.observed is None:
        yield Fault(path, "rate limits are those of a service; use it with [observed], or remove it")
    if all(getattr(quota, name) is None for name in LIMITS):
        yield Fault(path, f"sets no limit; give at least one of {', '.join(LIMITS)}")
    unlimited = quota.tokens_per_minute is None and quota.tokens_per_day is None
    defaults = {field.name: field.default for field in fields(Quota)}
    for name in ("assumed_output_tokens", "true_up", "count_cached", "reserve_output"):
        if unlimited and getattr(quota, name) != defaults[name]:
            yield Fault(f"{path}.{name}", "there is no limit on tokens that it could act on; set one, or remove it")


def shared_quota_faults(deployments: Iterable[Deployment]) -> Iterator[Fault]:
    """Quotas of one name that say different things."""
    first: dict[str, Deployment] = {}
    for deployment in deployments:
        quota = deployment.quota
        if quota is not None and quota.name is not None:
            other = first.setdefault(quota.name, deployment)
            if other.quota != quota:
                path = f"deployments.{deployment.name}.quota"
                also = f"deployments.{other.name}.quota"
                yield Fault(path, f"shares the limits of {quota.name!r} and says other than {also}; make them equal")


def _quantiles(path: str, quantiles: Quantiles | None) -> Iterator[Fault]:
    if quantiles is None:
        return
    if not quantiles.values:
        yield Fault(path, "holds no quantile; give some, e.g. { p50 = 0.2, p99 = 1.1 }, or remove it")
    pairs = zip(quantiles.values, quantiles.values[1:], strict=False)
    for index, (low, high) in enumerate(pairs):
        if high < low:
            yield Fault(
                f"{path}.p{round(quantiles.levels[index + 1] * 100)}",
                f"{high:g} is less than the quantile below it, {low:g}; quantiles do not fall",
            )
