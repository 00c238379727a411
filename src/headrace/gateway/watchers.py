"""Watchers: what the fleet file's `[telemetry]` asks for beyond metrics, started and ended with a gateway."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from headrace.errors import ConfigError, Fault
from headrace.fleet import TelemetrySettings
from headrace.gateway.telemetry import Telemetry
from headrace.telemetry import AccessLog, GenAiMetrics, Recorder, Sampler, Sink


class Watchers:
    """Those that write down what has ended, and export what was counted."""

    def __init__(self, telemetry: Telemetry, settings: TelemetrySettings, run_id: str) -> None:
        """
        Args:
            run_id: names this worker among all.

        Raises:
            ConfigError: the access log cannot be opened, or the extra `otel` is not installed.
        """
        self._closes: list[Callable[[], None]] = []
        sinks: list[Sink] = []
        if settings.access_log:
            sinks.append(_access_log(settings).record)
            telemetry.logs_all = True
        if settings.otlp_endpoint is not None:
            sinks.append(self._export(telemetry, settings, settings.otlp_endpoint, run_id))
        if sinks:
            recorder = telemetry.recorder = Recorder(sinks)
            telemetry.sources.append(recorder.metrics)
            self._closes.insert(0, recorder.close)

    def close(self) -> None:
        """Write and export what waits, and stop."""
        for close in self._closes:
            close()

    def _export(self, telemetry: Telemetry, settings: TelemetrySettings, endpoint: str, run_id: str) -> Sink:
        try:
            from headrace.telemetry import otlp
        except ImportError as error:
            message = f"needs OpenTelemetry ({error.name} is missing): pip install 'headrace[otel]'"
            raise ConfigError("fleet", [Fault("telemetry.otlp_endpoint", message)]) from error
        whose = otlp.resource(settings.service_name, run_id)
        spans = otlp.SpanWriter(endpoint, whose)
        telemetry.sampler = Sampler(settings.sampling_ratio, Random())
        telemetry.gen_ai = GenAiMetrics()
        metrics = otlp.MetricWriter(endpoint, whose, telemetry.gen_ai, settings.metrics_interval_s)
        self._closes += [spans.close, metrics.close]
        return spans.record


def _access_log(settings: TelemetrySettings) -> AccessLog:
    try:
        return AccessLog(settings.access_log_file, settings.log_format)
    except OSError as error:
        message = f"cannot be opened: {error.strerror}; check the path and its permissions"
        raise ConfigError("fleet", [Fault("telemetry.access_log_file", message)]) from error
