"""A written fleet reads back to an equal one, whatever it holds, and carries its comments."""

from __future__ import annotations

import datetime
import math
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.config import fleet_text, load_fleet, parse_fleet
from headrace.config.fleet_writer import fleet_document
from headrace.config.toml_text import toml_text
from headrace.errors import ConfigError
from headrace.fleet import (
    Backend,
    Budget,
    Commitment,
    CommittedUnit,
    Deployment,
    Fleet,
    Hourly,
    KvCache,
    KvPolicy,
    Limits,
    OperatingPoint,
    Per,
    PerToken,
    Pool,
    Quantiles,
    Quota,
    Replicas,
    Route,
    Share,
    ShareUnit,
    Spares,
    Speculation,
    Split,
    catalog,
)
from headrace.workload import Match, Slo, WorkloadClass

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True)
ANY_TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
POSITIVE = st.floats(1e-9, 1e12)
MODEL = catalog.model("gpt-oss-120b")
H100 = catalog.accelerator("H100")


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


@st.composite
def services(draw: st.DrawFn, name: str) -> Deployment:
    quantiles = maybe(st.just(Quantiles((0.5, 0.9, 0.99), (0.1, 0.2, 0.9))))
    point = OperatingPoint(
        draw(st.floats(0.0, 1.0)),
        draw(POSITIVE),
        draw(st.floats(1e-4, 1.0)),
        draw(st.integers(1, 64)),
        draw(maybe(st.floats(1.0, 3600.0))),
        draw(quantiles),
        draw(quantiles),
    )
    quota = maybe(
        st.builds(
            Quota, POSITIVE, maybe(POSITIVE), POSITIVE, assumed_output_tokens=st.integers(0, 9), true_up=st.booleans()
        )
    )
    return Deployment(name, MODEL, observed=point, max_batch=draw(st.integers(1, 4096)), quota=draw(quota))


@st.composite
def predicted(draw: st.DrawFn, name: str) -> Deployment:
    chip = draw(
        st.just(H100)
        | st.builds(lambda w: replace(H100, name="own", speed_as="H100", tdp_w=w, unverified=()), POSITIVE)
    )
    replicas = st.builds(lambda n: Replicas(n, n + 2, 8.0, 30.0), st.integers(1, 4)) | st.just(Replicas(2, 2))
    behind = draw(st.sampled_from(("one replica", "replicas", "split", "spares")))
    return Deployment(
        name,
        MODEL,
        chip,
        count=8,
        weight_bits=draw(maybe(st.just(8))),
        max_batch=draw(st.integers(1, 256)),
        software=draw(maybe(st.sampled_from(("vllm", "sglang")))),
        attention_ranks=draw(st.sampled_from((1, 2))),
        expert_parallel=draw(st.booleans()),
        speculation=draw(st.just(False) | st.builds(Speculation, st.floats(0, 1), st.integers(1, 8), st.floats(0, 1))),
        kv_cache=draw(maybe(st.builds(KvCache, st.sampled_from(KvPolicy), prefix_cache=st.booleans()))),
        replicas=draw(replicas) if behind == "replicas" else None,
        split=Split(2, 1, 1e11, 0.001) if behind == "split" else None,
        spares=Spares(1, 60.0, 3600.0) if behind == "spares" else None,
    )


@st.composite
def pools(draw: st.DrawFn, name: str, deployment: Deployment, port: int) -> Pool:
    own = deployment.accelerator is not None
    hourly = st.builds(Hourly, POSITIVE, st.floats(0.0, 1.0), st.floats(1.0, 2.0))
    per_token = st.builds(PerToken, st.floats(0, 99), st.floats(0, 99), maybe(st.floats(0, 9)))
    backends = tuple(
        Backend(
            f"{name}-{n}",
            name,
            f"http://127.0.0.1:{port + n}",
            api_key_env=draw(maybe(ANY_TEXT)),
            max_in_flight=n + 7,
            emulated=draw(st.booleans()),
            served_model_name=draw(maybe(st.sampled_from(("maker/it", 'a "b"')))),
        )
        for n in range(draw(st.integers(1, 3)))
    )
    limit = draw(maybe(st.floats(0.1, 1.0))) if own else None
    start = draw(st.floats(0.0, 1.0)) if limit is not None else 0.0
    price = draw(hourly | per_token if own else per_token)
    return Pool(name, deployment, price, backends, limit, start, draw(POSITIVE))


@st.composite
def classes(draw: st.DrawFn, name: str) -> WorkloadClass:
    priced = draw(st.booleans())
    start = draw(st.floats(0.0, 1.0)) if priced else 0.0
    slo = Slo(draw(POSITIVE), draw(maybe(POSITIVE)), draw(st.floats(0.1, 0.99)), priced, start)
    headers = draw(st.dictionaries(ANY_TEXT.map(str.lower), st.text(max_size=9), max_size=2))
    rules = st.lists(ANY_TEXT, max_size=2).map(tuple)
    match = Match(tuple(headers.items()), draw(rules), draw(rules), (f"alias of {name}",))
    return WorkloadClass(name, draw(st.floats(0.0, 1.0)), slo, match, draw(POSITIVE), draw(POSITIVE))


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    names = draw(st.lists(NAMES, min_size=4, max_size=6, unique=True))
    made = [draw(predicted(name) if draw(st.booleans()) else services(name)) for name in names]
    chips = [each for each in made if each.accelerator is not None and each.accelerator.name == "own"]
    deployments = {d.name: replace(d, accelerator=chips[0].accelerator) if d in chips else d for d in made}
    of_pool = {
        name: draw(pools(name, deployment, 9000 + 10 * n)) for n, (name, deployment) in enumerate(deployments.items())
    }
    some_pools = st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True).map(tuple)
    some_classes = st.lists(st.sampled_from(names[:2]), max_size=2, unique=True).map(tuple)
    day, per = maybe(st.integers(-700_000, 2_900_000).map(lambda days: 86400.0 * days)), st.sampled_from(Per)
    unit = draw(st.sampled_from(ShareUnit))
    reference = next(iter(deployments.values())) if unit is ShareUnit.COMPUTE else None
    share = Share("s", draw(some_pools), 0.1, unit, reference, draw(st.booleans()), draw(st.floats(-1.0, 1.0)))
    committed = st.builds(
        Commitment, st.just("c"), some_pools, POSITIVE, st.sampled_from(CommittedUnit), per, day, st.floats(-1.0, 0.0)
    )
    budget = st.builds(
        Budget, st.just("b"), POSITIVE, per, some_pools, some_classes, st.booleans(), day, st.floats(0.0, 1.0)
    )
    return Fleet(
        models={MODEL.name: MODEL},
        deployments=deployments,
        pools=of_pool,
        classes={name: draw(classes(name)) for name in names[:2]},
        shares={"s": share} if draw(st.booleans()) else {},
        routes=(Route(tuple(names), MODEL.name, draw(maybe(ANY_TEXT)), names[0]), Route(tuple(names[:1]))),
        limits=draw(st.builds(Limits, queue_depth=st.integers(0, 9), retry_budget=st.floats(0, 1))),
        default_class=names[1],
        policy=draw(st.sampled_from(("prices", "static"))),
        commitments={"c": draw(committed)} if draw(st.booleans()) else {},
        budgets={"b": draw(budget)} if draw(st.booleans()) else {},
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fleets())
def test_a_written_fleet_reads_back_to_an_equal_one(fleet: Fleet) -> None:
    assert parse_fleet(fleet_text(fleet), "written") == fleet


def test_every_shipped_fleet_reads_back_to_an_equal_one(examples_dir: Path) -> None:
    read = 0
    for path in sorted(examples_dir.glob("*.toml")):
        if "pools" in tomllib.loads(path.read_text()):  # else a scenario, or a grid
            fleet = load_fleet(path)
            assert parse_fleet(fleet_text(fleet, folder=path.parent), str(path), path.parent) == fleet
            read += 1
    assert read >= 4


def test_a_calibration_is_named_relative_to_the_file(tmp_path: Path, examples_dir: Path) -> None:
    (tmp_path / "calibration.toml").write_text(CALIBRATION)
    text = (examples_dir / "azure-acceptance.toml").read_text()
    text = text.replace("[deployments.gpu.observed]", "[deployments.other.observed]")
    text = text.replace('[deployments.gpu]\nmodel = "gpt-oss-120b"\nmax_batch = 4096', CALIBRATED)
    (tmp_path / "fleet.toml").write_text(text)
    fleet = load_fleet(tmp_path / "fleet.toml")
    assert fleet_document(fleet, tmp_path)["deployments"]["gpu"] == {  # type: ignore[index]
        "model": "gpt-oss-120b",
        "calibrated": "calibration.toml",
    }
    (tmp_path / "again.toml").write_text(fleet_text(fleet, folder=tmp_path))
    assert load_fleet(tmp_path / "again.toml") == fleet


CALIBRATED = """[deployments.gpu]
model = "gpt-oss-120b"
calibrated = "calibration.toml"
[deployments.other]
model = "gpt-oss-120b"
"""
_S, _TOKEN = 'unit = "s" }', 'unit = "s per token" }'
CALIBRATION = f"""schema = 1
name = "x"
[origin]
endpoint = "http://127.0.0.1:1"
model = "m"
probes = ["probe.json"]
measured = "2026-11-01"
fitted = "2026-11-02"
[coefficients]
ttft_overhead_s = {{ value = 0.1, low = 0.1, high = 0.2, n = 3, {_S}
prefill_fixed_s = {{ value = 0.0, low = 0.0, high = 0.0, n = 0, {_S}
prefill_s_per_token = {{ value = 1e-4, low = 1e-4, high = 1e-4, n = 3, {_TOKEN}
prefill_s_per_token_squared = {{ value = 0.0, low = 0.0, high = 0.0, n = 0, {_TOKEN}
kv_s_per_token = {{ value = 0.0, low = 0.0, high = 0.0, n = 0, {_TOKEN}
max_batch = {{ value = 8, low = 8, high = 8, n = 3, unit = "sequences" }}
chunk_tokens = {{ value = 512, low = 512, high = 512, n = 0, unit = "tokens" }}
[[decode_step_s]]
batch = 1
value = 0.01
low = 0.01
high = 0.01
n = 3
unit = "s"
[fit]
ttft = {{ n = 3, median = 0.01, p90 = 0.02 }}
tpot = {{ n = 3, median = 0.01, p90 = 0.02 }}
"""


def test_comments_stand_where_they_belong() -> None:
    fleet = load_fleet()
    comments = {
        "": "A plan\nof two lines",
        "pools": "What there is",
        "pools.h100": "the bulk",
        "pools.h100.backends[1]": "the second node",
        "shares.fast.target": "ten percent",
        "limits.max_attempts": "never written",
    }
    with pytest.raises(ConfigError, match=r"limits\.max_attempts: the document has no such"):
        fleet_text(fleet, comments)
    del comments["limits.max_attempts"]
    text = fleet_text(fleet, comments)
    assert text.startswith("# A plan\n# of two lines\nschema = 1\n")
    assert "# What there is\n\n# the bulk\n[pools.h100]\n" in text
    assert '# the second node\n[[pools.h100.backends]]\nname = "h100-2"\n' in text
    assert "target = 0.1  # ten percent\n" in text
    assert parse_fleet(text, "written") == fleet


def test_what_no_fleet_file_can_say_is_refused() -> None:
    fleet = load_fleet()
    name, deployment = next(iter(fleet.deployments.items()))
    other = replace(H100, memory_bytes=1e9)
    with pytest.raises(ConfigError, match="two different chips"):
        fleet_text(
            replace(fleet, deployments=fleet.deployments | {"x": replace(deployment, name="x", accelerator=other)})
        )
    bare = replace(H100, name="bare", memory_bandwidth_bytes_per_s=None, flops_bf16=None, all_in_w=None, tdp_w=None)
    bare = replace(bare, price_usd_per_h=None, scale_up_bandwidth_bytes_per_s=None, sram_bytes=None, price_basis=None)
    with pytest.raises(ConfigError, match="no chip of the catalog lacks"):
        fleet_text(replace(fleet, deployments={name: replace(deployment, accelerator=bare)}))
    point = OperatingPoint(0.1, 1e4, 0.01, ttft_quantiles=Quantiles((0.42,), (1.0,)))
    with pytest.raises(ConfigError, match=r"is at 0\.42"):
        fleet_text(replace(fleet, deployments={name: Deployment(name, MODEL, observed=point)}))


VALUES = (
    st.text(st.characters(codec="utf-8"))
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.dates()
)
KEYS = st.text(st.characters(codec="utf-8"), max_size=8)
TABLES = st.recursive(
    st.dictionaries(KEYS, VALUES | st.lists(VALUES, max_size=3), max_size=3),
    lambda inner: st.dictionaries(KEYS, inner | VALUES | st.lists(inner, min_size=1, max_size=2), max_size=3),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(TABLES)
def test_any_document_reads_back_as_it_was(document: dict[str, object]) -> None:
    assert same(tomllib.loads(toml_text(document)), document)


def same(one: object, other: object) -> bool:
    """Equal, and of one type: 1, 1.0 and true are three things in TOML."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return type(one) is type(other) and one == other


def test_a_date_is_written_as_one() -> None:
    assert toml_text({"from": datetime.date(2026, 12, 1)}) == "from = 2026-12-01\n"
