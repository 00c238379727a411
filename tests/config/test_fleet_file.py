"""The fleet file: the shipped ones load, and every fault of a bad one is reported at once with its path."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.config import load_fleet, parse_fleet, sample_fleet_text
from headrace.config.build import build_fleet
from headrace.config.deployment_tables import DeploymentTable
from headrace.config.document import AcceleratorTable, ClassTable, MatchTable, ModelTable, SloTable
from headrace.config.limits_table import LimitsTable
from headrace.cost import marginal_cost
from headrace.errors import ConfigError, Fault
from headrace.fleet import Hourly, Limits, Memory, Model, PerToken, ShareUnit, Speculation, catalog
from headrace.fleet.check import fleet_warnings
from headrace.perf import Serving, speed_curve, work_rate
from headrace.workload import Slo

BASE = """
schema = 1
default_class = "chat"

[models.gpt-oss-120b]

[accelerators.H100-water]
like = "H100"
source = "our own meter"
all_in_w = 1500

[deployments.gpu]
model = "gpt-oss-120b"
accelerator = "H100-water"
count = 8

[deployments.service]
model = "gpt-oss-120b"
observed = { ttft_s = 0.2, input_tokens_per_s = 10000.0, tpot_s = 0.001 }

[pools.gpu]
deployment = "gpu"
price = { type = "hourly", usd_per_accelerator_hour = 1.3, electricity_usd_per_kwh = 0.08 }
[[pools.gpu.backends]]
name = "gpu-1"
url = "http://10.0.0.1:8000"
[[pools.gpu.backends]]
name = "gpu-2"
url = "http://10.0.0.2:8000"

[pools.fast]
deployment = "service"
price = { type = "per_token", input_usd_per_mtok = 0.35, output_usd_per_mtok = 0.75 }
[[pools.fast.backends]]
name = "fast-1"
url = "https://api.example.com/openai"
api_key_env = "FAST_KEY"

[classes.chat]
value_of_time_usd_per_s = 0.0003

[classes.coding]
value_of_time_usd_per_s = 0.002
slo = { ttft_s = 1.0, attainment = 0.9 }
match = { headers = { X-Class = "coding" }, model_aliases = ["coder"] }

[shares.fast]
pools = ["fast"]
target = 0.1
of = "compute"
reference = "gpu"

[[routes]]
pools = ["gpu", "fast"]
model = "gpt-oss-120b"
"""


def faults_of(text: str) -> tuple[Fault, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_fleet(text, "test.toml")
    return caught.value.faults


def changed(old: str, new: str) -> str:
    assert old in BASE, f"{old!r} is not in the base document"
    return BASE.replace(old, new)


def test_the_base_document_is_a_fleet() -> None:
    fleet = parse_fleet(BASE, "base")
    assert [backend.name for backend in fleet.backends] == ["gpu-1", "gpu-2", "fast-1"]
    assert fleet.shares["fast"].of is ShareUnit.COMPUTE
    assert fleet.shares["fast"].reference is fleet.deployments["gpu"]
    assert fleet.classes["coding"].match.headers == (("x-class", "coding"),)
    assert fleet.pools["fast"].price == PerToken(0.35, 0.75)
    assert fleet.pools["gpu"].price == Hourly(1.3, 0.08)
    chip = fleet.deployments["gpu"].accelerator
    assert chip is not None
    assert (chip.name, chip.power_w, chip.speed_as) == ("H100-water", 1500, "H100")
    assert fleet.limits == Limits()


FAULTS = [
    ("schema = 1", "", "schema", "missing; this version reads schema = 1"),
    ("schema = 1", "schema = 2", "schema", "2 is not supported"),
    ("schema = 1", "schema = 1\npool = 3", "pool", "did you mean 'pools'"),
    ("[models.gpt-oss-120b]", "[models.gpt-oss-12b]", "models.gpt-oss-12b", "did you mean 'gpt-oss-120b'"),
    ("[models.gpt-oss-120b]", "[models.gpt-oss-120b]\nlayers = 3", "models.gpt-oss-120b.parameters", "missing"),
    ('like = "H100"', 'like = "H10"', "accelerators.H100-water.like", "did you mean 'H100'"),
    ("all_in_w = 1500", "all_in_w = 0", "accelerators.H100-water.all_in_w", "> 0"),
    ('"H100-water"\n', '"h100"\n', "deployments.gpu.accelerator", "did you mean 'H100'"),
    ("count = 8", "count = 0", "deployments.gpu.count", ">= 1"),
    ("count = 8", "count = 1\nweight_bits = 16", "deployments.gpu.count", "4 would hold it"),
    ("count = 8", 'count = "8"', "deployments.gpu.count", "expected `int`, got `str`"),
    ("count = 8", "count = 8\nweight_bits = 0", "deployments.gpu.weight_bits", ">= 1"),
    ("count = 8", "count = 8\nwidth = 3", "deployments.gpu.width", "unknown setting"),
    ('accelerator = "H100-water"\n', "", "deployments.gpu", "none is set"),
    ("observed = {", 'accelerator = "H100"\nobserved = {', "deployments.service", "more than one is set"),
    ("tpot_s = 0.001", "tpot_s = 0", "deployments.service.observed.tpot_s", "> 0"),
    ("tpot_s = 0.001", "tpot_s = nan", "deployments.service.observed.tpot_s", "not a finite number"),
    ('deployment = "gpu"', 'deployment = "gpus"', "pools.gpu.deployment", "did you mean 'gpu'"),
    ('type = "hourly"', 'type = "daily"', "pools.gpu.price.type", "write one of"),
    ('type = "per_token", ', "", "pools.fast.price.type", "missing; write one of"),
    ("output_usd_per_mtok = 0.75", "output_usd_per_mtok = -1", "pools.fast.price.output_usd_per_mtok", ">= 0"),
    (", electricity_usd_per_kwh = 0.08", "", "pools.gpu.price.electricity_usd_per_kwh", "missing"),
    ("http://10.0.0.1:8000", "ftp://10.0.0.1", "pools.gpu.backends[0].url", "scheme 'ftp'"),
    ("http://10.0.0.1:8000", "10.0.0.1", "pools.gpu.backends[0].url", "use http or https"),
    ("http://10.0.0.1:8000", "http://", "pools.gpu.backends[0].url", "names no host"),
    ("http://10.0.0.1:8000", "http://a:99999", "pools.gpu.backends[0].url", "is not a URL"),
    ("http://10.0.0.1:8000", "http://[::1", "pools.gpu.backends[0].url", "is not a URL"),
    ("http://10.0.0.1:8000", "http://a/v1", "pools.gpu.backends[0].url", "ends with /v1"),
    ("http://10.0.0.1:8000", "http://a/?k=1", "pools.gpu.backends[0].url", "query"),
    ('api_key_env = "FAST_KEY"', "emulated = true", "pools.fast.backends[0].url", "plain HTTP"),
    ('"gpu-2"', '"gpu-1"', "pools.gpu.backends[1].name", "is taken by pools.gpu.backends[0].name"),
    ('"gpu-2"', '"gpu\\r\\n2"', "pools.gpu.backends[1].name", "cannot be a name"),
    ('name = "fast-1"', 'name = "fast-1"\nmax_in_flight = 0', "pools.fast.backends[0].max_in_flight", "less than 1"),
    ('name = "fast-1"\n', "", "pools.fast.backends[0].name", "missing"),
    ("value_of_time_usd_per_s = 0.0003", "", "classes.chat.value_of_time_usd_per_s", "missing"),
    (
        "value_of_time_usd_per_s = 0.0003",
        "value_of_time_usd_per_s = -1",
        "classes.chat.value_of_time_usd_per_s",
        ">= 0",
    ),
    ("attainment = 0.9", "attainment = 95", "classes.coding.slo.attainment", "outside (0, 1]"),
    ("attainment = 0.9", "attainment = 0", "classes.coding.slo.attainment", "outside (0, 1]"),
    ('X-Class = "coding"', "X-Class = 3", "classes.coding.match.headers[...]", "expected `str`"),
    ('["coder"]', '["coder", "coder"]', "classes.coding.match.model_aliases", "too"),
    ('default_class = "chat"', 'default_class = "cat"', "default_class", "did you mean 'chat'"),
    ('pools = ["fast"]', 'pools = ["fats"]', "shares.fast.pools[0]", "did you mean 'fast'"),
    ('pools = ["fast"]', "pools = []", "shares.fast.pools", "is empty"),
    ('pools = ["fast"]', 'pools = ["fast", "fast"]', "shares.fast.pools[1]", "named twice"),
    ('pools = ["fast"]', 'pools = ["fast", "gpu"]', "shares.fast.pools", "every pool"),
    ("target = 0.1", "target = 10", "shares.fast.target", "outside (0, 1)"),
    ("target = 0.1", "target = 0", "shares.fast.target", "outside (0, 1)"),
    ('of = "compute"\n', "", "shares.fast.of", "missing"),
    ('of = "compute"', 'of = "spend"', "shares.fast.reference", "only meant for"),
    ('of = "compute"', 'of = "tokens"', "shares.fast.of", "no unit of work"),
    ('of = "compute"', 'of = "requests"', "shares.fast.reference", "only meant for"),
    ('reference = "gpu"\n', "", "shares.fast.reference", "missing"),
    ('reference = "gpu"', 'reference = "gpus"', "shares.fast.reference", "did you mean 'gpu'"),
    ('pools = ["gpu", "fast"]', 'pools = ["gpu", "slow"]', "routes[0].pools[1]", "no pool 'slow'"),
    ("[[routes]]", '[[routes]]\nworkload_class = "code"', "routes[0].workload_class", "did you mean 'coding'"),
    ("[[routes]]", "[routes]", "routes", "array of tables"),
    ("[[routes]]", "[limits]\nmax_attempts = 0\n[[routes]]", "limits.max_attempts", ">= 1"),
    ("[[routes]]", "[limits]\nbreaker_cooldown_s = 90\n[[routes]]", "limits.breaker_cooldown_max_s", "less than"),
    ("[[routes]]", "[limits]\nqueue = 1\n[[routes]]", "limits.queue", "did you mean 'queue_depth'"),
]


@pytest.mark.parametrize(("old", "new", "path", "message"), [case for case in FAULTS if case[2]])
def test_each_fault_is_reported_once_with_its_path(old: str, new: str, path: str, message: str) -> None:
    faults = faults_of(changed(old, new))
    assert [fault.path for fault in faults].count(path) >= 1, faults
    assert any(fault.path == path and message in fault.message for fault in faults), faults


SINGLE = [case for case in FAULTS if case[2] and case[1] not in ("[routes]", "[models.gpt-oss-12b]")]


@pytest.mark.parametrize(("old", "new"), [case[:2] for case in SINGLE])
def test_one_mistake_does_not_cascade(old: str, new: str) -> None:
    """The base model's full table misses many settings; every other mistake is one fault, or the two it really is."""
    faults = faults_of(changed(old, new))
    sections = {fault.path.split(".")[0].split("[")[0] for fault in faults}
    assert len(sections) == 1, faults


def test_every_fault_is_reported_at_once() -> None:
    wrong = BASE
    edits = [
        ("schema = 1", "schema = 9"),
        ("count = 8", "count = -1\nspeed = 3"),
        ("http://10.0.0.2:8000", "ws://10.0.0.2"),
        ('"gpu-2"', '"fast-1"'),
        ("target = 0.1", "target = 1.5"),
        ('pools = ["fast"]', 'pools = ["fst"]'),
        ("attainment = 0.9", "attainment = 0.0"),
        ('default_class = "chat"', 'default_class = "chatter"'),
    ]
    for old, new in edits:
        assert old in wrong
        wrong = wrong.replace(old, new)
    with pytest.raises(ConfigError) as caught:
        parse_fleet(wrong, "wrong.toml")
    paths = {fault.path for fault in caught.value.faults}
    assert {
        "schema",
        "deployments.gpu.count",
        "deployments.gpu.speed",
        "pools.gpu.backends[1].url",
        "shares.fast.target",
        "shares.fast.pools[0]",
        "classes.coding.slo.attainment",
        "default_class",
    } <= paths
    assert str(caught.value).startswith("wrong.toml: ")
    for path in paths:
        assert path in str(caught.value)


def test_a_broken_pool_is_not_reported_again_where_it_is_named() -> None:
    faults = faults_of(changed('deployment = "service"', "deployment = 3"))
    assert [fault.path for fault in faults] == ["pools.fast.deployment"]


def test_two_steered_shares_cannot_hold_the_same_pool() -> None:
    other = '[shares.other]\npools = ["fast"]\ntarget = 0.2\nof = "requests"\n[[routes]]'
    assert [fault.path for fault in faults_of(changed("[[routes]]", other))] == ["shares.other.pools"]
    parse_fleet(changed("[[routes]]", other.replace("target", "report_only = true\ntarget")), "reported only")


def test_an_accelerator_without_a_power_figure_cannot_be_hourly() -> None:
    faults = faults_of(changed('accelerator = "H100-water"', 'accelerator = "TPU v6e"'))
    assert [fault.path for fault in faults] == ["pools.gpu.price.type"]
    assert "no power figure" in faults[0].message


def test_a_service_cannot_be_hourly() -> None:
    faults = faults_of(changed('deployment = "gpu"', 'deployment = "service"'))
    assert [fault.path for fault in faults] == ["pools.gpu.price.type"]


def test_a_model_that_fits_nowhere_is_a_fault_that_says_how_many_chips_hold_it() -> None:
    faults = faults_of(changed('accelerator = "H100-water"\ncount = 8', 'accelerator = "LPU"\ncount = 72'))
    assert [fault.path for fault in faults] == ["deployments.gpu.count"]
    assert "does not fit on 72 x LPU" in faults[0].message
    count = int(faults[0].message.split("usable; ")[1].split(" ")[0])
    parse_fleet(changed('accelerator = "H100-water"\ncount = 8', f'accelerator = "LPU"\ncount = {count}'), "enough")


def test_a_route_without_a_model_cannot_mix_models() -> None:
    llama = BASE.replace("[models.gpt-oss-120b]", "[models.gpt-oss-120b]\n[models.llama-3_1-8b]")
    text = llama.replace("llama-3_1-8b", '"llama-3.1-8b"').replace(
        '[deployments.service]\nmodel = "gpt-oss-120b"', '[deployments.service]\nmodel = "llama-3.1-8b"'
    )
    assert [fault.path for fault in faults_of(text)] == ["routes[0].pools"]
    assert [fault.path for fault in faults_of(text.replace('"fast"]\nmodel = "gpt-oss-120b"', '"fast"]'))] == [
        "routes[0]"
    ]


def test_a_route_to_an_unknown_model_is_a_fault() -> None:
    faults = faults_of(changed('"fast"]\nmodel = "gpt-oss-120b"', '"fast"]\nmodel = "gpt-oss-20b"'))
    assert ("routes[0].model", True) in [(fault.path, "gpt-oss-120b" in fault.message) for fault in faults]


def test_emulated_backends_need_one_address_each() -> None:
    text = BASE.replace('name = "gpu-', 'emulated = true\nname = "gpu-').replace("10.0.0.2", "10.0.0.1")
    assert [fault.path for fault in faults_of(text)] == ["pools.gpu.backends[1].url"]


def test_an_empty_document_says_what_it_lacks() -> None:
    paths = [fault.path for fault in faults_of("")]
    assert {"schema", "models", "pools", "classes", "routes"} <= set(paths)


@pytest.mark.parametrize("section", ["models", "deployments", "pools", "classes", "shares", "accelerators", "limits"])
def test_a_section_that_is_no_table_is_a_fault(section: str) -> None:
    assert section in [fault.path for fault in faults_of(f"schema = 1\n{section} = 3\n")]


def test_a_syntax_error_names_line_and_column() -> None:
    (fault,) = faults_of('schema = 1\n[pools.gpu\ndeployment = "x"\n')
    assert fault.path == "syntax"
    assert "line 2" in fault.message
    assert "column" in fault.message


def test_a_file_that_cannot_be_read_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_fleet(tmp_path / "absent.toml")
    (tmp_path / "latin.toml").write_bytes(b"schema = 1 # \xff")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_fleet(tmp_path / "latin.toml")


# The shipped fleets


def test_the_sample_fleet_in_the_package_is_the_one_in_the_examples(examples_dir: Path) -> None:
    assert sample_fleet_text() == (examples_dir / "fleet.toml").read_text(encoding="utf-8")
    assert load_fleet() == load_fleet(examples_dir / "fleet.toml")


def test_the_sample_fleet_holds_every_system_of_the_mission() -> None:
    fleet = load_fleet()
    chips = {name: pool.deployment.accelerator for name, pool in fleet.pools.items()}
    assert {name: chip.name for name, chip in chips.items() if chip is not None} == {
        "h100": "H100",
        "b200": "B200",
        "mi355x": "MI355X",
        "tpu-v6e": "TPU v6e",
        "trainium2": "Trainium2",
        "inferentia2": "Inferentia2",
        "cerebras": "WSE-3",
        "groq": "LPU",
    }
    share = fleet.steered_share()
    assert share is not None
    assert (share.name, share.pools, share.target, share.of) == ("fast", ("cerebras", "groq"), 0.1, ShareUnit.COMPUTE)
    assert fleet.shares["alternative"].report_only
    assert set(fleet.shares["alternative"].pools) == set(fleet.pools) - {"h100", "b200"}
    assert all(backend.emulated for backend in fleet.backends)


def test_every_pool_of_the_sample_fleet_has_a_speed_and_a_price() -> None:
    for pool in load_fleet().pools.values():
        curve = speed_curve(pool.deployment)
        chip = pool.deployment.accelerator
        assert chip is not None
        assert (curve.serving is Serving.DATAFLOW) == (chip.memory is Memory.SRAM)
        assert marginal_cost(pool, curve).usd_per_output_token > 0


def test_hourly_prices_of_the_sample_fleet_are_those_of_the_catalog() -> None:
    for pool in load_fleet().pools.values():
        chip = pool.deployment.accelerator
        if isinstance(pool.price, Hourly) and chip is not None:
            assert pool.price.usd_per_accelerator_hour == catalog.accelerator(chip.name).price_usd_per_h


def test_token_prices_of_the_sample_fleet_are_in_the_price_table() -> None:
    listed = {
        (row["input_usd_per_mtok"], row["cached_input_usd_per_mtok"], row["output_usd_per_mtok"])
        for row in catalog.table("prices.csv")
    }
    known = {tuple(float(cell) if cell else None for cell in row) for row in listed}
    for pool in load_fleet().pools.values():
        if isinstance(pool.price, PerToken):
            price = pool.price
            assert (price.input_usd_per_mtok, price.cached_input_usd_per_mtok, price.output_usd_per_mtok) in known


def test_the_acceptance_fleet_has_its_fixed_operating_points(examples_dir: Path) -> None:
    fleet = load_fleet(examples_dir / "azure-acceptance.toml")
    gpu, fast = (speed_curve(fleet.pools[name].deployment) for name in ("gpu", "fast"))
    assert gpu.ttft_s(3000) == pytest.approx(0.25 + 3000 / 15_000)
    assert fast.ttft_s(3000) == pytest.approx(0.2 + 3000 / 10_000)
    assert (gpu.tpot_s(1), gpu.tpot_s(4096), fast.tpot_s(9)) == (0.0154, 0.0154, 0.001)
    assert fleet.pools["gpu"].price == PerToken(0.09, 0.36)
    assert fleet.pools["fast"].price == PerToken(0.35, 0.75)
    assert work_rate(fleet.shares["fast"]).work(3000, 32) == pytest.approx(3000 / 15_000 + 0.0154)
    assert fleet.shares["fast"].target == 0.1
    values = {name: each.value_of_time_usd_per_s for name, each in fleet.classes.items()}
    assert values == {"coding": 0.002, "chat": 0.0003}
    assert fleet_warnings(fleet) == ()


def test_warnings_name_unverified_figures_and_mixed_price_bases() -> None:
    paths = [warning.path for warning in fleet_warnings(load_fleet())]
    assert "deployments.inferentia2-x12.accelerator" in paths
    assert "pools" in paths


# Laws

DOCUMENT = tomllib.loads(BASE)
junk = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(), st.text(max_size=3), st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)  # fmt: skip


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document that a value could be put."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(list(places(DOCUMENT))), junk)
def test_whatever_is_wrong_is_a_config_error(place: tuple[Any, ...], value: Any) -> None:
    document = copy.deepcopy(DOCUMENT)
    node: Any = document
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    try:
        build_fleet(document, "junk")
    except ConfigError as error:
        faults = error.faults
    else:
        return
    assert faults
    assert all(fault.path and fault.message for fault in faults)


def test_a_backend_has_its_pool_s_name_of_the_model_where_it_has_none_itself() -> None:
    """And none at all where that is the fleet's own: then there is nothing to replace."""
    gpu = changed("[pools.gpu]\n", '[pools.gpu]\nserved_model_name = "ours"\n')
    gpu = gpu.replace('name = "gpu-2"\n', 'name = "gpu-2"\nserved_model_name = "gpt-oss-120b"\n')
    fleet = parse_fleet(gpu.replace('name = "fast-1"\n', 'name = "fast-1"\nserved_model_name = "a/b"\n'), "test.toml")
    assert {each.name: each.served_model_name for each in fleet.backends} == {
        "gpu-1": "ours",
        "gpu-2": None,
        "fast-1": "a/b",
    }
    asked = [fleet.pools[each.pool].model_name_at(each) for each in fleet.backends]
    assert asked == ["ours", "gpt-oss-120b", "a/b"]
    (fault,) = faults_of(changed('name = "gpu-2"\n', 'name = "gpu-2"\nserved_model_name = ""\n'))
    assert fault.path == "pools.gpu.backends[1].served_model_name"


def test_the_document_has_a_setting_for_every_field_of_what_it_builds() -> None:
    assert set(LimitsTable.__struct_fields__) == set(Limits.__dataclass_fields__)
    assert set(ModelTable.__struct_fields__) == set(Model.__dataclass_fields__) - {"name"}
    assert {"value_of_time_usd_per_s", "timeout_s", "ttft_timeout_s", "expected_output_tokens", "slo", "match"} == set(
        ClassTable.__struct_fields__
    )
    assert set(SloTable.__struct_fields__) == set(Slo.__dataclass_fields__)
    assert set(MatchTable.__struct_fields__) == {"headers", "api_key_envs", "paths", "model_aliases", "clients"}
    assert "max_batch" in DeploymentTable.__struct_fields__
    assert "like" in AcceleratorTable.__struct_fields__


# Software


def with_settings(chip: str, count: int, *settings: str) -> str:
    return changed(
        'accelerator = "H100-water"\ncount = 8', f'accelerator = "{chip}"\ncount = {count}\n' + "\n".join(settings)
    )


def test_a_deployment_names_its_release_and_whether_it_speculates() -> None:
    fleet = parse_fleet(with_settings("WSE-3", 4, 'release = "2024-10"', "speculation = true"), "x")
    (place,) = (each for each in fleet.deployments.values() if each.accelerator and each.accelerator.name == "WSE-3")
    assert (place.release, place.speculation) == ("2024-10", True)


FIGURES = "{ acceptance = 0.7, draft_tokens = 4, draft_cost = 0.05 }"


@pytest.mark.parametrize(("chip", "count"), [("H100", 8), ("WSE-3", 4), ("LPU", 576)])
def test_a_deployment_declares_what_its_draft_brings(chip: str, count: int) -> None:
    fleet = parse_fleet(with_settings(chip, count, f"speculation = {FIGURES}"), "x")
    places = [each for each in fleet.deployments.values() if each.accelerator and each.accelerator.name == chip]
    assert Speculation(0.7, 4, 0.05) in [each.speculation for each in places]


@pytest.mark.parametrize(
    ("chip", "count", "setting", "path", "message"),
    [
        ("WSE-3", 4, 'release = "2023"', "release", "older than the first known of 'WSE-3': 2024-08"),
        ("WSE-3", 4, 'release = "newest"', "release", "regex"),
        ("H100", 8, 'release = "2025"', "release", "one release only"),
        ("H100", 8, "speculation = true", "speculation", "not known; give its figures"),
        ("H100", 8, 'speculation = "yes"', "speculation", "expected a table, got a string"),
        ("H100", 8, "speculation = { acceptance = 1.2, draft_tokens = 4, draft_cost = 0 }", "acceptance", "<= 1"),
        ("H100", 8, "speculation = { acceptance = 1, draft_tokens = 65, draft_cost = 0 }", "draft_tokens", "<= 64"),
        ("H100", 8, "speculation = { acceptance = 0.7, draft_tokens = 4 }", "draft_cost", "missing"),
        ("SN40L", 16, f"speculation = {FIGURES}", "speculation", "known as measured only; write true"),
    ],
)
def test_software_that_nothing_is_known_of_is_a_fault(
    chip: str, count: int, setting: str, path: str, message: str
) -> None:
    (fault,) = faults_of(with_settings(chip, count, setting))
    assert fault.path.endswith(path), fault
    assert message in fault.message
