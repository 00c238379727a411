"""On a real trace, the share holds in every window and the fast pool goes to the requests that gain most."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.config import load_fleet
from headrace.metrics import Report, encode_report
from headrace.policy import PRICES, STATIC
from headrace.sim import ORACLE
from headrace.study import simulate_and_compare
from headrace.traces import TraceOptions, open_traces

REQUESTS = 20_927


@pytest.fixture(scope="module")
def reports(data_dir: Path, examples_dir: Path) -> dict[str, Report]:
    folder = data_dir / "traces" / "azure-llm-2023"
    traces = {
        "coding": folder / "AzureLLMInferenceTrace_code.csv",
        "chat": folder / "AzureLLMInferenceTrace_conv.csv",
    }
    fleet = load_fleet(examples_dir / "azure-acceptance.toml")
    return {
        policy.name: simulate_and_compare(fleet, lambda: open_traces(traces), policy, seed=0)
        for policy in (PRICES, STATIC, ORACLE)
    }


@pytest.mark.parametrize("policy", ["prices", "oracle"])
def test_share_of_compute_holds_in_every_window(reports: dict[str, Report], policy: str) -> None:
    report = reports[policy]
    share = report.shares["fast"]
    assert report.requests.arrived == report.requests.completed == REQUESTS
    assert share.windows.judged == share.windows.feasible > 200
    assert share.worst_5min_error_pp is not None
    assert share.worst_5min_error_pp <= 0.5


def test_prices_capture_what_lengths_allow(reports: dict[str, Report]) -> None:
    regret = {name: report.policy.regret for name, report in reports.items()}
    assert regret["prices"] is not None
    assert regret["prices"] <= 0.26
    assert regret["oracle"] is not None
    assert 0.0 <= regret["oracle"] <= 0.02
    captured = {name: report.policy.value_captured_usd or 0.0 for name, report in reports.items()}
    assert captured["prices"] >= 2.5 * captured["static"]


def test_same_seed_gives_the_same_bytes(data_dir: Path, examples_dir: Path) -> None:
    trace = data_dir / "traces" / "azure-llm-2023" / "AzureLLMInferenceTrace_code.csv"
    fleet = load_fleet(examples_dir / "fleet.toml")
    first, second = (
        encode_report(
            simulate_and_compare(
                fleet,
                lambda: open_traces({"coding": trace}, TraceOptions(duration_s=600.0)),
                STATIC,
                seed=7,
            )
        )
        for _ in range(2)
    )
    assert first == second
