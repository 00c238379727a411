"""How a gateway tells what it does: bounds of its metrics, its logs, where traces go."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class LogFormat(StrEnum):
    """How words for operators and access log lines are written."""

    HUMAN = "human"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """What is told, and how.

    Attributes:
        max_series: of class, pool and tenant that are told apart in metrics; beyond it new tenants are `other`.
        log_format: of everything on standard error, and of the access log.
        access_log: a line for each request.
        access_log_file: where these lines go; None: to standard error.
        otlp_endpoint: base URL of an OpenTelemetry collector, e.g. `http://127.0.0.1:4318`; None: there is none.
        sampling_ratio: of the requests whose parent has not decided, those that are traced.
        service_name: of this gateway among all that the collector hears of.
        metrics_interval_s: time between two exports of metrics to the collector.
    """

    max_series: int = 200
    log_format: LogFormat = LogFormat.HUMAN
    access_log: bool = False
    access_log_file: str | None = None
    otlp_endpoint: str | None = None
    sampling_ratio: float = 0.01
    service_name: str = "headrace"
    metrics_interval_s: float = 60.0
