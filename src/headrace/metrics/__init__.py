"""What we count: records, quantile sketches, shares in windows, and the report of a run. Takes numbers, no I/O."""

from headrace.metrics.feasible import (
    Infeasible,
    Reason,
    WindowDebt,
    WindowWork,
    surely_feasible,
    why_infeasible,
    why_out_of_reach,
)
from headrace.metrics.live import Metric
from headrace.metrics.period import PeriodMeter
from headrace.metrics.record import AttemptRecord, RequestRecord
from headrace.metrics.report import (
    ClassReport,
    CostReport,
    PeriodReport,
    PolicyReport,
    PoolReport,
    PoolShare,
    Quantiles,
    Report,
    Requests,
    ShareReport,
    TaskReport,
    Windows,
    encode_report,
)
from headrace.metrics.share import ShareMeter, WindowSettings, WindowVerdict
from headrace.metrics.sketch import QuantileSketch
from headrace.metrics.summary import ClassTotals, PoolTotals, RunFacts, RunMetrics, TaskTotals
from headrace.metrics.work import PoolRates, Rates, WorkRate

__all__ = [
    "AttemptRecord",
    "ClassReport",
    "ClassTotals",
    "CostReport",
    "Infeasible",
    "Metric",
    "PeriodMeter",
    "PeriodReport",
    "PolicyReport",
    "PoolRates",
    "PoolReport",
    "PoolShare",
    "PoolTotals",
    "QuantileSketch",
    "Quantiles",
    "Rates",
    "Reason",
    "Report",
    "RequestRecord",
    "Requests",
    "RunFacts",
    "RunMetrics",
    "ShareMeter",
    "ShareReport",
    "TaskReport",
    "TaskTotals",
    "WindowDebt",
    "WindowSettings",
    "WindowVerdict",
    "WindowWork",
    "Windows",
    "WorkRate",
    "encode_report",
    "surely_feasible",
    "why_infeasible",
    "why_out_of_reach",
]
