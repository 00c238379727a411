"""From a speed curve, and what a deployment says of how it serves, to the model server that lives up to both."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol, runtime_checkable

from headrace.fleet import Deployment, KvCache, Preemption, Replicas, Split
from headrace.modelserver.batching import BatchingServer
from headrace.modelserver.dataflow import DataflowServer
from headrace.modelserver.hosted import HostedServer, ProviderTerms
from headrace.modelserver.paged import PagedServer
from headrace.modelserver.quota import QuotaGate
from headrace.modelserver.replicas import ReplicatedServer
from headrace.modelserver.server import ModelServer
from headrace.modelserver.split import DecodeReplicas, Link, PrefillServer, SplitServer
from headrace.perf import kv_token_bytes, speed_curve
from headrace.perf.speed import Serving, SpeedCurve
from headrace.rng import stream


def model_server(
    curve: SpeedCurve,
    deployment: Deployment | None = None,
    seed: int = 0,
    name: str = "",
    gates: dict[str, QuotaGate] | None = None,
) -> ModelServer:
    """A new, idle model server that serves as `curve` says, with the options of `deployment`.

    Args:
        deployment: whose curve it is; None: no options.
        seed: the run's root seed.
        name: of the backend; what is drawn by chance depends on seed and name only.
        gates: of the quotas that backends share, by name; those that are missing are added.

    Raises:
        ModelRangeError: the curve lacks what that way of serving needs.
    """
    if deployment is not None and deployment.split is not None:
        return _split(curve, deployment, deployment.split)
    if deployment is not None and deployment.replicas is not None:
        return ReplicatedServer(lambda: _replica(curve, deployment), deployment.replicas)
    if curve.serving is Serving.HOSTED:
        draw = stream(seed, f"modelserver.{name}")
        return HostedServer(curve, _terms(deployment), draw, _shared_gate(deployment, gates))
    return _replica(curve, deployment)


def replica_s(server: ModelServer, now_s: float) -> float:
    """Seconds of replicas up to `now_s`: what is paid for by the hour."""
    return server.replica_s(now_s) if isinstance(server, _PaidByReplica) else now_s


@runtime_checkable
class _PaidByReplica(Protocol):
    """A server that counts its replicas itself."""

    def replica_s(self, now_s: float) -> float:
        """Seconds of all replicas up to `now_s`."""


def _replica(curve: SpeedCurve, deployment: Deployment | None) -> ModelServer:
    return DataflowServer(curve) if curve.serving is Serving.DATAFLOW else _batching(curve, deployment)


def _split(curve: SpeedCurve, deployment: Deployment, split: Split) -> SplitServer:
    """The prefill station keeps shared prefixes, the decode station what else is said of the KV cache."""
    settings = deployment.kv_cache or KvCache()
    token_bytes = kv_token_bytes(deployment)
    decoding = replace(settings, prefix_cache=False)
    first = KvCache(prefix_cache=settings.prefix_cache)
    return SplitServer(
        ReplicatedServer(lambda: PrefillServer(curve, first), _fixed(split.prefill_replicas)),
        DecodeReplicas(lambda: PagedServer(curve, decoding, token_bytes), _fixed(split.decode_replicas)),
        Link(split.link_bytes_per_s, token_bytes, split.link_latency_s),
        curve.kv_capacity_tokens,
    )


def _fixed(count: int) -> Replicas:
    return Replicas(count, count)


def kv_room_tokens(deployment: Deployment) -> int | None:
    """Context tokens that a backend of this deployment can hold, over its decoding replicas; None: nobody knows."""
    return speed_curve(deployment).spread(deployment.decoding_replicas).kv_capacity_tokens


def _batching(curve: SpeedCurve, deployment: Deployment | None) -> ModelServer:
    """Paged only where the deployment asks for it: without options nothing is preempted and nothing shared."""
    if deployment is None or deployment.kv_cache is None:
        return BatchingServer(curve)
    swaps = deployment.kv_cache.preemption is Preemption.SWAP
    return PagedServer(curve, deployment.kv_cache, kv_token_bytes(deployment) if swaps else 0.0)


def _shared_gate(deployment: Deployment | None, gates: dict[str, QuotaGate] | None) -> QuotaGate | None:
    quota = None if deployment is None else deployment.quota
    if quota is None or quota.name is None or gates is None:
        return None
    return gates.setdefault(quota.name, QuotaGate(quota))


def _terms(deployment: Deployment | None) -> ProviderTerms | None:
    if deployment is None or deployment.observed is None:
        return None
    point = deployment.observed
    return ProviderTerms(deployment.quota, point.cache_ttl_s, point.ttft_quantiles, point.tpot_quantiles)
