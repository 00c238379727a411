"""`headrace perf`: what can be asked of it, what it refuses, and what it does not load."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., tuple[int, str, str]]
SPECULATING = "H100:8 speculation=0.7,4,0.05"
DISAGGREGATED = "2xH100:4 prefill + 3xH100:8 decode"


def rows_of(command: Command, *arguments: str) -> dict[str, dict[str, Any]]:
    """The rows by place, at one client."""
    code, out, err = command("perf", *arguments, "--concurrency", "1", "--json", "-")
    assert (code, err) == (0, "")
    return {row["on"]: row for row in json.loads(out)["rows"]}


def test_a_disaggregated_place_shares_its_throughput_and_price_among_all_its_accelerators(command: Command) -> None:
    rows = rows_of(command, "gpt-oss-120b", "--on", "H100:8", "--on", DISAGGREGATED)
    mixed, split = rows["H100:8"], rows[DISAGGREGATED]
    assert (mixed["accelerators"], mixed["split"]) == (8, None)
    assert split["accelerators"] == 2 * 4 + 3 * 8
    assert split["split"] == {"decode_replicas": 3, "prefill_replicas": 2, "prefill_count": 4, "prefill_ranks": 1}
    request_s = split["ttft_s"]["value"] + 499 * split["tpot_s"]["value"]
    assert split["tokens_per_s_chip"] == pytest.approx(500 / request_s / 32)
    per_hour = split["usd_per_mtok_output"] * split["tokens_per_s_chip"] * 3600 / 1e6
    assert per_hour == pytest.approx(mixed["usd_per_mtok_output"] * mixed["tokens_per_s_chip"] * 3600 / 1e6)


def test_speculation_is_part_of_a_place_and_of_its_row(command: Command) -> None:
    known = "WSE-3:4 speculation=true"
    rows = rows_of(command, "gpt-oss-120b", "--on", "H100:8", "--on", SPECULATING, "--on", known)
    assert rows[SPECULATING]["speculation"] == {"acceptance": 0.7, "draft_tokens": 4, "draft_cost": 0.05}
    assert rows[SPECULATING]["tpot_s"]["value"] < rows["H100:8"]["tpot_s"]["value"]
    assert (rows["H100:8"]["speculation"], rows[known]["speculation"]) == (False, True)


def test_the_table_names_every_place_in_full(command: Command) -> None:
    code, out, err = command("perf", "gpt-oss-120b", "--on", SPECULATING, "--on", DISAGGREGATED)
    assert (code, err) == (0, "")
    assert out.count(SPECULATING) == out.count(DISAGGREGATED) == 4


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("H100", "write ACCELERATOR:COUNT, for instance H100:8"),
        ("H100:0", "write ACCELERATOR:COUNT"),
        ("h100:8", "no accelerator 'h100'; did you mean 'H100'"),
        ("2xH100:8", "leave out 2x"),
        ("H100:8 prefill", "it takes both"),
        ("H100:8 prefill + H100:8", "it takes both"),
        ("H100:8 prefill + H100:8 prefill", "it takes both"),
        ("H100:8 prefill + H100:8 decode + H100:8 decode", "it takes both"),
        ("H100:8 prefill + B200:8 decode", "different accelerators are not modelled"),
        ("H100:8 prefill speculation=0.7,4,0.05 + H100:8 decode", "prefill drafts nothing"),
        ("H100:8 fast", "'fast' is not understood"),
        ("H100:8 prefill decode", "'decode' is not understood"),
        ("H100:8 speculation=0.7", "takes three numbers"),
        ("H100:8 speculation=0.7,4.5,0", "takes three numbers"),
        ("H100:8 speculation=1.1,4,0", "acceptance lies in 0 to 1"),
        ("H100:8 speculation=nan,4,0", "acceptance lies in 0 to 1"),
        ("H100:8 speculation=0.7,65,0", "draft tokens in 0 to 64"),
        ("H100:8 speculation=0.7,4,-1", "the cost from 0"),
        ("H100:8 speculation=0.7,4,inf", "the cost from 0"),
    ],
)
def test_a_place_that_cannot_be_is_refused_with_what_to_write(command: Command, place: str, message: str) -> None:
    code, out, err = command("perf", "gpt-oss-120b", "--on", place)
    assert (code, out) == (2, "")
    assert f"--on {place}" in err
    assert message in err


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("H100:8 speculation=true", "what speculation brings on 'H100' is not known; declare"),
        ("SN40L:16 speculation=0.7,4,0.05", "known with the draft that was measured only"),
        ("WSE-3:4 prefill + WSE-3:4 decode", "prefill apart from decode is not known on 'WSE-3'"),
        ("TPU v5e:1 prefill + TPU v5e:8 decode", "do not fit on 1 x TPU v5e"),
    ],
)
def test_a_place_that_nothing_is_known_of_says_so(command: Command, place: str, message: str) -> None:
    code, _, err = command("perf", "gpt-oss-120b", "--on", place, "--concurrency", "1")
    assert code == 2
    assert message in err
    assert "none of these can serve this" in err


# Silicon, models and deployments of a fleet file

SILICON = """
schema = 1

[accelerators.Dream]
like = "B200"
memory_bandwidth_bytes_per_s = 30e12
source = "a guess"

[models.ours]
source = "our own config.json"
parameters = 12.2e9
active_parameters = 12.2e9
weight_bytes = 12.2e9
native_weight_bits = 8
layers = 40
hidden_size = 5120
attention_heads = 32
kv_heads = 8
head_size = 128
ffn_size = 14336
context_tokens = 131072
vocabulary = 131072
aliases = ["our-alias"]

[deployments.plain]
model = "ours"
accelerator = "B200"

[deployments.drafting]
model = "ours"
accelerator = "B200"
speculation = { acceptance = 0.7, draft_tokens = 4, draft_cost = 0.05 }

[deployments.service]
model = "ours"
observed = { ttft_s = 0.2, input_tokens_per_s = 2000, tpot_s = 0.01 }
"""


@pytest.fixture
def silicon(tmp_path: Path) -> str:
    """A file of silicon only: no pools, no classes, no routes."""
    path = tmp_path / "silicon.toml"
    path.write_text(SILICON)
    return str(path)


def test_silicon_models_and_deployments_of_a_file_are_named_beside_the_catalog(command: Command, silicon: str) -> None:
    places = ("B200:1", "Dream:1", "plain", "drafting", "B200:1 speculation=0.7,4,0.05")
    rows = rows_of(command, "Our-Alias", "--fleet", silicon, *(word for each in places for word in ("--on", each)))
    tpot_s = {on: row["tpot_s"]["value"] for on, row in rows.items()}
    assert tpot_s["plain"] == tpot_s["B200:1"] > tpot_s["Dream:1"]
    assert tpot_s["drafting"] == tpot_s["B200:1 speculation=0.7,4,0.05"] < tpot_s["plain"]
    catalog_too = rows_of(command, "gpt-oss-120b", "--fleet", silicon, "--on", "Dream:8", "--on", "WSE-3:4")
    assert set(catalog_too) == {"Dream:8", "WSE-3:4"}


@pytest.mark.parametrize(
    ("model", "place", "message"),
    [
        ("gpt-oss-120b", "plain", "this deployment serves 'ours', not 'gpt-oss-120b'"),
        ("ours", "plane", "deployments of the fleet file: plain, drafting, service"),
        ("ours", "dream:1", "did you mean 'Dream'"),
        ("ours", "service", "known by observation only"),
        ("theirs", "plain", "no model 'theirs'"),
    ],
)
def test_what_the_file_does_not_have_is_refused(
    command: Command, silicon: str, model: str, place: str, message: str
) -> None:
    code, _, err = command("perf", model, "--fleet", silicon, "--on", place)
    assert code == 2
    assert message in err


def test_every_fault_of_the_file_is_reported(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "faulty.toml"
    path.write_text(SILICON.replace('like = "B200"', 'like = "B2000"').replace("layers = 40\n", ""))
    code, _, err = command("perf", "ours", "--fleet", str(path), "--on", "plain")
    assert code == 2
    assert "accelerators.Dream.like" in err
    assert "models.ours.layers" in err


def test_the_example_of_own_silicon_answers(command: Command, examples_dir: Path) -> None:
    file = str(examples_dir / "own-silicon.toml")
    rows = rows_of(command, "our-12b", "--fleet", file, "--on", "b200", "--on", "successor")
    assert rows["successor"]["tpot_s"]["value"] < rows["b200"]["tpot_s"]["value"]


def documented(examples_dir: Path) -> list[list[str]]:
    """The arguments of every command on the page about the speed model; the charts are left out."""
    page = (examples_dir.parent / "docs" / "speed-model.md").read_text()
    blocks = page.replace("\\\n", " ").split("```")[1::2]
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("headrace ")]
    found = [
        shlex.split(line.replace("examples/", f"{examples_dir}/").replace("--plot perf.html", "")) for line in lines
    ]
    return [words[1:] for words in found]


def test_every_command_of_the_page_about_the_speed_model_answers(command: Command, examples_dir: Path) -> None:
    commands = documented(examples_dir)
    assert {words[0] for words in commands} == {"perf"}
    for words in commands:
        code, out, err = command(*words)
        assert (code, err) == (0, ""), words
        assert all(place in out for flag, place in pairwise(words) if flag == "--on"), words


# A cold start is imports: none that the answer does not need

NEVER = (
    *("asyncio", "http.client", "httptools", "plotly", "polars", "prometheus_client", "pydantic", "scipy", "uvloop"),
    *("headrace.bench", "headrace.config", "headrace.gateway", "headrace.metrics", "headrace.sim", "headrace.study"),
    "headrace.workload",
)
LISTING = """
import sys
from headrace.cli import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
print("\\n".join(sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize(("arguments", "more"), [(["--json", "-"], {"rich.console", "rich.table"}), ([], set())])
def test_an_answer_loads_nothing_that_it_does_not_need(arguments: list[str], more: set[str]) -> None:
    asked = ["perf", "gpt-oss-120b", "--on", SPECULATING, "--on", DISAGGREGATED, "--on", "WSE-3:4", *arguments]
    run = subprocess.run([sys.executable, "-c", LISTING, *asked], capture_output=True, text=True, check=True)
    loaded = set(run.stderr.splitlines())
    assert {"headrace.perf", "numpy", "typer"} <= loaded
    assert loaded & ({*NEVER} | more) == set()
