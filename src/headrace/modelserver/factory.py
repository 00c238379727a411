"""From a speed curve, and what a deployment says of how it serves, to the model server that lives up to both."""

from __future__ import annotations

from headrace.fleet import Deployment, Preemption
from headrace.modelserver.batching import BatchingServer
from headrace.modelserver.dataflow import DataflowServer
from headrace.modelserver.hosted import HostedServer, ProviderTerms
from headrace.modelserver.paged import PagedServer
from headrace.modelserver.server import ModelServer
from headrace.perf import kv_token_bytes
from headrace.perf.speed import Serving, SpeedCurve
from headrace.rng import stream


def model_server(curve: SpeedCurve, deployment: Deployment | None = None, seed: int = 0, name: str = "") -> ModelServer:
    """A new, idle model server that serves as `curve` says, with the options of `deployment`.

    Args:
        deployment: whose curve it is; None: no options.
        seed: the run's root seed.
        name: of the backend; what is drawn by chance depends on seed and name only.

    Raises:
        ModelRangeError: the curve lacks what that way of serving needs.
    """
    match curve.serving:
        case Serving.BATCHING:
            return _batching(curve, deployment)
        case Serving.DATAFLOW:
            return DataflowServer(curve)
        case Serving.HOSTED:
            return HostedServer(curve, _terms(deployment), stream(seed, f"modelserver.{name}"))


def shares_prefixes(deployment: Deployment) -> bool:
    """Whether a server of this deployment has a use for the hashes of a job's input."""
    kept = deployment.kv_cache is not None and deployment.kv_cache.prefix_cache
    return kept or (deployment.observed is not None and deployment.observed.cache_ttl_s is not None)


def _batching(curve: SpeedCurve, deployment: Deployment | None) -> ModelServer:
    """Paged only where the deployment asks for it: without options nothing is preempted and nothing shared."""
    if deployment is None or deployment.kv_cache is None:
        return BatchingServer(curve)
    swaps = deployment.kv_cache.preemption is Preemption.SWAP
    return PagedServer(curve, deployment.kv_cache, kv_token_bytes(deployment) if swaps else 0.0)


def _terms(deployment: Deployment | None) -> ProviderTerms | None:
    if deployment is None or deployment.observed is None:
        return None
    point = deployment.observed
    return ProviderTerms(deployment.quota, point.cache_ttl_s, point.ttft_quantiles, point.tpot_quantiles)
