"""/metrics: every metric is in the table, what is told is what happened, and no client can make it grow."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from gateway_rig import STREAM, WHOLE, Rig, RunRig, ScriptedBackend, error_response, post
from prometheus_client.parser import text_string_to_metric_families

from headrace import rng
from headrace.fleet import Fleet
from headrace.fleet.tenants import OTHER_TENANTS
from headrace.gateway.counters import HISTOGRAMS, Counters
from headrace.gateway.metric_table import METRICS
from headrace.policy import DispatchReason, PolicyEngine

ROOT = Path(__file__).resolve().parents[2]
SERIES = ("class", "pool", "tenant")
WHERE_WRITTEN = {"headrace_records_dropped_total"}  # only where something is to be written down


def engine_of(fleet: Fleet) -> PolicyEngine:
    return PolicyEngine(fleet, rng.stream(1, "policy"))


async def page_of(rig: Rig) -> str:
    raw = b"GET /metrics HTTP/1.1\r\nhost: h\r\n\r\n"
    status, headers, body, _ = await rig.ask(raw, rig.gateway.admin_port)
    assert (status, headers[b"content-type"]) == (200, b"text/plain; version=0.0.4; charset=utf-8")
    return body.decode()


def parsed(page: str) -> dict[str, tuple[str, str, list[Any]]]:
    """By name as in the text: kind, help and samples."""
    found = {}
    for family in text_string_to_metric_families(page):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = (family.type, family.documentation, family.samples)
    return found


def values(page: str, name: str) -> dict[tuple[str, ...], float]:
    """Samples of a name by their labels' values."""
    samples = (sample for _, _, samples in parsed(page).values() for sample in samples)
    return {tuple(sample.labels.values()): sample.value for sample in samples if sample.name == name}


def test_the_page_is_what_the_table_says(run_rig: RunRig) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.ask(post(stream=True))
        page = await page_of(rig)
        found = parsed(page)
        own = {name: each for name, each in found.items() if not name.startswith("process_")}
        absent = set(METRICS) - set(own)
        where_set_up = ("headrace_ledger_postgres_", "headrace_key_file_")
        assert {name for name in absent if not name.startswith(where_set_up)} == WHERE_WRITTEN
        for name, (kind, text, samples) in own.items():
            assert (kind, text) == (METRICS[name].kind, METRICS[name].text), name
            for sample in samples:
                assert set(sample.labels) - {"le"} == set(METRICS[name].labels), name
        assert {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"} <= set(found)

    run_rig(scenario, ScriptedBackend(STREAM), engine_for=engine_of)


def test_the_table_names_what_the_ledger_ships() -> None:
    source = (ROOT / "src/headrace/ledger/postgres.py").read_text()
    shipped = re.findall(r'text = "(.*)"\n *yield Metric\("(headrace_\w+)", "(\w+)"', source)
    assert len(shipped) == 3
    for text, name, kind in shipped:
        assert (METRICS[name].kind, METRICS[name].text) == (kind, text)


def test_names_follow_the_conventions() -> None:
    for name, each in METRICS.items():
        assert re.fullmatch(r"headrace_[a-z0-9_]+", name)
        assert name.endswith("_total") == (each.kind == "counter"), name
        assert not name.endswith(("_ms", "_s", "_us", "_kb", "_mb", "_percent")), name
        if each.kind == "histogram":
            assert (name.endswith("_seconds"), each.labels) == (True, SERIES), name


def test_what_is_told_is_what_happened(run_rig: RunRig) -> None:
    async def scenario(rig: Rig) -> None:
        assert (await rig.ask(post(stream=True)))[0] == 200
        assert (await rig.ask(post()))[0] == 200
        page = await page_of(rig)
        of = ("chat", "p1", "default")
        assert values(page, "headrace_requests_total") == {("chat", "completed"): 2}
        assert values(page, "headrace_dispatches_total") == {("p0", "first"): 2, ("p1", "first"): 2}
        assert values(page, "headrace_time_to_first_token_seconds_count")[of] == 1
        assert values(page, "headrace_time_per_output_token_seconds_count")[of] == 1
        assert values(page, "headrace_request_duration_seconds_count")[of] == 2
        assert values(page, "headrace_queue_duration_seconds_count") == {of: 2, ("chat", "p0", "default"): 2}
        usd = (12 * 0.1 + 5 * 0.4) / 1e6  # list prices of the rig; both answers say 12 and 5 tokens, 3 of one cached
        assert values(page, "headrace_spent_usd_total")[of] == pytest.approx(2 * usd)

    run_rig(scenario, ScriptedBackend(error_response(500)), ScriptedBackend(STREAM, WHOLE))


def test_promtool_finds_nothing_to_say_of_the_page(run_rig: RunRig) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is missing: apt-get install prometheus")

    async def scenario(rig: Rig) -> None:
        await rig.ask(post(stream=True))
        page = await page_of(rig)
        checked = subprocess.run([promtool, "check", "metrics"], input=page, text=True, capture_output=True)
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")

    run_rig(scenario, ScriptedBackend(STREAM), engine_for=engine_of)


def test_tenants_beyond_the_cap_share_a_name() -> None:
    counters = Counters(most=3)
    for number in range(50):
        counters.of("chat", "p", f"t{number}").ttft.observe(0.1)
    assert len(counters.series) == 4
    assert sum(counters.of("chat", "p", OTHER_TENANTS).ttft.counts) == 47
    assert sum(sum(each.ttft.counts) for each in counters.series.values()) == 50


def test_counters_of_several_workers_add_up() -> None:
    one, other, both = Counters(9), Counters(9), Counters(9)
    for counters, latency_s in ((one, 0.1), (other, 7.0)):
        counters.know_backends(("b",))
        counters.used["b"].attempts["completed"] += 1
        counters.used["b"].input_tokens += 10
        counters.used["b"].cached_input_tokens += 2
        counters.used["b"].output_tokens += 5
        counters.requests["chat", "completed"] = 3
        counters.rescues["ended"] = 1
        counters.later_dispatches["p", DispatchReason.RETRY] = 1
        series = counters.of("chat", "p", "t")
        series.spent_usd += 0.5
        for name in HISTOGRAMS:
            getattr(series, name).observe(latency_s)
    both.add(one.snapshot())
    both.add(other.snapshot())
    assert both.requests == {("chat", "completed"): 6}
    used = both.used["b"]
    assert (used.input_tokens, used.cached_input_tokens, used.output_tokens) == (20, 4, 10)
    assert both.attempts == {("b", "completed"): 2}
    assert both.dispatches == {("p", "first"): 2, ("p", "retry"): 2}
    assert both.rescues == {"ended": 2}
    series = both.of("chat", "p", "t")
    assert series.spent_usd == 1.0
    for name in HISTOGRAMS:
        assert (sum(getattr(series, name).counts), getattr(series, name).total) == (2, 7.1)
