"""From a speed curve to the model server that lives up to it."""

from __future__ import annotations

from headrace.modelserver.batching import BatchingServer
from headrace.modelserver.dataflow import DataflowServer
from headrace.modelserver.hosted import HostedServer
from headrace.modelserver.server import ModelServer
from headrace.perf.speed import Serving, SpeedCurve


def model_server(curve: SpeedCurve) -> ModelServer:
    """A new, idle model server that serves as `curve` says.

    Raises:
        ModelRangeError: the curve lacks what that way of serving needs.
    """
    match curve.serving:
        case Serving.BATCHING:
            return BatchingServer(curve)
        case Serving.DATAFLOW:
            return DataflowServer(curve)
        case Serving.HOSTED:
            return HostedServer(curve)
