"""What a deployment says of how it serves: it reaches the model server, and what acts on nothing is a fault."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_fleet_file import BASE, changed, faults_of

from headrace.config import parse_fleet
from headrace.config.deployment_tables import (
    KvCacheTable,
    ObservedTable,
    QuotaTable,
    ReplicasTable,
    SparesTable,
    SplitTable,
)
from headrace.config.document import Table
from headrace.fleet import KvCache, KvPolicy, Preemption, Quantiles, Quota, Replicas, Spares, Split
from headrace.modelserver import BatchingServer, HostedServer, Job, PagedServer, SplitServer, model_server, replica_s
from headrace.perf import kv_token_bytes, speed_curve

GPU = "count = 8"
SERVICE = "observed = { ttft_s = 0.2, input_tokens_per_s = 10000.0, tpot_s = 0.001 }"


def gpu(setting: str) -> str:
    return changed(GPU, f"{GPU}\n{setting}")


def service(more: str, observed: str = "") -> str:
    return changed(SERVICE, SERVICE.replace(" }", f"{observed} }}") + f"\n{more}")


def test_a_deployment_without_options_reserves_and_shares_nothing() -> None:
    fleet = parse_fleet(BASE, "x")
    deployment = fleet.deployments["gpu"]
    assert (deployment.kv_cache, fleet.deployments["service"].quota) == (None, None)
    assert type(model_server(speed_curve(deployment), deployment)) is BatchingServer


def test_a_kv_cache_that_grows_swaps_and_shares_prefixes() -> None:
    setting = (
        'kv_cache = { policy = "grow", preemption = "swap", watermark = 0.02, prefix_cache = true, '
        "swap_bytes = 32e9, swap_bytes_per_s = 25e9 }"
    )
    deployment = parse_fleet(gpu(setting), "x").deployments["gpu"]
    assert deployment.kv_cache == KvCache(KvPolicy.GROW, Preemption.SWAP, 0.02, True, 32e9, 25e9)
    assert type(model_server(speed_curve(deployment), deployment)) is PagedServer


def test_a_service_with_limits_a_cache_and_scatter() -> None:
    text = service(
        "quota = { requests_per_day = 14400, tokens_per_minute = 60000, assumed_output_tokens = 16384 }",
        ", cache_ttl_s = 300, ttft_quantiles_s = { p50 = 0.2, p99 = 1.1 }",
    )
    deployment = parse_fleet(text, "x").deployments["service"]
    assert deployment.quota == Quota(requests_per_day=14400, tokens_per_minute=60000, assumed_output_tokens=16384)
    assert deployment.observed is not None
    assert deployment.observed.cache_ttl_s == 300
    assert deployment.observed.ttft_quantiles == Quantiles((0.5, 0.99), (0.2, 1.1))
    assert type(model_server(speed_curve(deployment), deployment)) is HostedServer


def test_replicas_and_a_split_reach_the_model_server() -> None:
    scaled = parse_fleet(gpu("replicas = { min_replicas = 2, start_s = 90 }"), "x").deployments["gpu"]
    assert scaled.replicas == Replicas(2, 2, start_s=90.0)
    server = model_server(speed_curve(scaled), scaled)
    assert replica_s(server, 10.0) == 20.0
    setting = "split = { prefill_replicas = 1, decode_replicas = 3, link_bytes_per_s = 50e9 }"
    apart = parse_fleet(gpu(setting), "x").deployments["gpu"]
    assert apart.split == Split(1, 3, 50e9)
    server = model_server(speed_curve(apart), apart)
    assert (type(server), replica_s(server, 10.0)) == (SplitServer, 40.0)
    server.submit(10.0, Job(1, 4000, 100))
    together = model_server(speed_curve(apart))
    together.submit(10.0, Job(1, 4000, 100))
    first, last = server.advance(100.0)
    alone = together.advance(100.0)
    transfer_s = 4000 * kv_token_bytes(apart) / 50e9
    assert first.at_s == pytest.approx(alone[0].at_s)
    assert last.at_s == pytest.approx(alone[1].at_s + transfer_s)


def test_defaults_of_the_file_are_those_of_the_fleet() -> None:
    assert KvCacheTable() == KvCacheTable(**{name: getattr(KvCache(), name) for name in KvCacheTable.__struct_fields__})
    assert QuotaTable() == QuotaTable(**{name: getattr(Quota(), name) for name in QuotaTable.__struct_fields__})


def test_a_deployment_says_what_stands_by_for_a_lost_accelerator() -> None:
    deployment = parse_fleet(gpu("spares = { count = 1, recover_s = 60, repair_s = 3600 }"), "x").deployments["gpu"]
    assert deployment.spares == Spares(1, 60.0, 3600.0)


FAULTS = [
    (gpu("spares = { count = 1, recover_s = 60 }"), "deployments.gpu.spares.repair_s", "missing"),
    (service("spares = { recover_s = 60, repair_s = 60 }"), "deployments.service.spares", "no accelerator"),
    (
        gpu("spares = { recover_s = 60, repair_s = 60 }\nreplicas = { min_replicas = 2 }"),
        "deployments.gpu.spares",
        "one replica",
    ),
    (gpu('kv_cache = { policy = "growing" }'), "deployments.gpu.kv_cache.policy", "invalid enum value 'growing'"),
    (gpu("kv_cache = { watermark = 1.0 }"), "deployments.gpu.kv_cache.watermark", "< 1"),
    (gpu("kv_cache = { block = 16 }"), "deployments.gpu.kv_cache.block", "unknown setting"),
    (gpu("kv_cache = { swap_bytes = 1e9 }"), "deployments.gpu.kv_cache.swap_bytes", "only meant for"),
    (
        gpu('kv_cache = { preemption = "swap", swap_bytes = 1e9, swap_bytes_per_s = 1e9 }'),
        "deployments.gpu.kv_cache.preemption",
        'set policy = "grow"',
    ),
    (
        gpu('kv_cache = { policy = "grow", preemption = "swap" }'),
        "deployments.gpu.kv_cache.swap_bytes",
        "host memory for KV",
    ),
    (gpu("quota = { requests_per_minute = 5 }"), "deployments.gpu.quota", "use it with [observed]"),
    (service("kv_cache = { prefix_cache = true }"), "deployments.service.kv_cache", "observed.cache_ttl_s"),
    (gpu("replicas = { min_replicas = 2, max_replicas = 1 }"), "deployments.gpu.replicas.max_replicas", "is less than"),
    (gpu("replicas = { max_replicas = 3 }"), "deployments.gpu.replicas.target_in_flight", "in flight per replica"),
    (service("replicas = { min_replicas = 2 }"), "deployments.service.replicas", "remove it"),
    (gpu("split = { prefill_replicas = 1, decode_replicas = 1 }"), "deployments.gpu.split.link_bytes_per_s", "missing"),
    (
        gpu("split = { prefill_replicas = 1, decode_replicas = 1, link_bytes_per_s = 1e9 }\nreplicas = {}"),
        "deployments.gpu.split",
        "remove replicas",
    ),
    (service("quota = {}"), "deployments.service.quota", "sets no limit"),
    (
        service("quota = { requests_per_day = 9, true_up = false }"),
        "deployments.service.quota.true_up",
        "no limit on tokens",
    ),
    (
        service("", ", tpot_quantiles_s = { p50 = 0.2, p90 = 0.1 }"),
        "deployments.service.observed.tpot_quantiles_s.p90",
        "do not fall",
    ),
    (
        service("", ", ttft_quantiles_s = {}"),
        "deployments.service.observed.ttft_quantiles_s",
        "holds no quantile",
    ),
    (service("", ", cache_ttl_s = 0"), "deployments.service.observed.cache_ttl_s", "> 0"),
]


@pytest.mark.parametrize(("text", "path", "message"), FAULTS)
def test_every_fault_has_its_path_and_a_remedy(text: str, path: str, message: str) -> None:
    found = [fault for fault in faults_of(text) if fault.path == path]
    assert found, faults_of(text)
    assert any(message in fault.message for fault in found), found


def test_a_pipeline_of_sram_chips_has_no_such_cache() -> None:
    text = changed('accelerator = "H100-water"\ncount = 8', 'accelerator = "WSE-3"\ncount = 4\nkv_cache = {}')
    assert any("reserves KV and shares nothing" in fault.message for fault in faults_of(text))


PAGE = (Path(__file__).resolve().parents[2] / "docs/model-servers.md").read_text()
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("]")[0].strip("["))
def test_what_the_documentation_declares_is_a_fleet(block: str) -> None:
    base = changed(SERVICE, "") if "observed" in block else BASE
    assert parse_fleet(f"{base}\n{block}", "docs").pools


@pytest.mark.parametrize("table", [KvCacheTable, QuotaTable, ReplicasTable, SparesTable, SplitTable, ObservedTable])
def test_every_option_is_documented(table: type[Table]) -> None:
    written = set(re.findall(r"^(\w+) = ", "\n".join(BLOCKS), re.MULTILINE))
    assert set(table.__struct_fields__) - {"batch"} <= written
