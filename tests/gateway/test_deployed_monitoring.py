"""What ships for Prometheus and Grafana fits what a gateway says, by the word of the real tools."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gateway_rig import WHOLE, Rig, RunRig, ScriptedBackend, post

from headrace import rng
from headrace.fleet import Fleet, Share, ShareUnit
from headrace.gateway.metric_table import METRICS
from headrace.policy import PolicyEngine

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
RULES, RULE_TESTS = DEPLOY / "prometheus/headrace.rules.yml", DEPLOY / "prometheus/headrace.rules.test.yml"
BOARD = DEPLOY / "grafana/headrace.json"
NAME = re.compile(r"\b(?:headrace|process)_[a-z0-9_]+")
PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes"}


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        reason = f"{name} is missing: apt-get install prometheus"
        if os.environ.get("HEADRACE_REQUIRE_PROMETHEUS"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def expressions() -> list[str]:
    """What the dashboard asks, as Prometheus is asked it."""
    found = []
    for panel in json.loads(BOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            asked = target["expr"].replace("$__rate_interval", "5m")
            found.append(re.sub(r"\$\w+", ".+", asked))
    return found


def base_name(name: str) -> str:
    """Of a histogram's series, the histogram."""
    bare = re.sub(r"_(bucket|sum|count)$", "", name)
    return bare if bare in METRICS and METRICS[bare].kind == "histogram" else name


@pytest.mark.parametrize("path", [RULES, BOARD], ids=lambda path: path.name)
def test_every_metric_that_is_named_exists(path: Path) -> None:
    named = {base_name(name) for name in NAME.findall(path.read_text())}
    assert len(named) > 10
    assert not named - set(METRICS) - PROCESS


def test_every_label_that_is_chosen_by_exists() -> None:
    chosen = 0
    for text in (*expressions(), RULES.read_text()):
        for name, labels in re.findall(r"\b(headrace_[a-z0-9_]+)\{([^}]*)\}", text):
            known = {*METRICS[base_name(name)].labels, "job", "instance"}
            for label in re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)", labels):
                chosen += 1
                assert label in known, (name, label)
    assert chosen > 50


def test_the_dashboard_can_be_imported_anywhere() -> None:
    board = json.loads(BOARD.read_text())
    panels: list[dict[str, Any]] = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(taken)) == len(taken), "panels lie on each other"


def test_promtool_takes_the_rules_and_their_tests_pass(tmp_path: Path) -> None:
    promtool = tool("promtool")
    for command in (["check", "rules", str(RULES)], ["test", "rules", str(RULE_TESTS)]):
        done = subprocess.run([promtool, *command], capture_output=True, text=True, cwd=RULES.parent)
        assert done.returncode == 0, done.stdout + done.stderr
    asked = [{"record": f"asked:{number}", "expr": text} for number, text in enumerate(expressions())]
    path = tmp_path / "board.rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "board", "rules": asked}]}))  # JSON is YAML
    done = subprocess.run([promtool, "check", "rules", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(asked)} rules found" in done.stdout


class Prometheus:
    """The real one, which scrapes one gateway and knows the rules that ship."""

    def __init__(self, binary: str, folder: Path, target: str) -> None:
        self._binary = binary
        self._folder = folder
        config = {
            "global": {"scrape_interval": "200ms", "evaluation_interval": "200ms"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "headrace", "static_configs": [{"targets": [target]}]}],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))
        self.url = ""

    async def __aenter__(self) -> Prometheus:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        server.close()
        self.url = f"http://{address}"
        self._process = await asyncio.create_subprocess_exec(
            self._binary,
            f"--config.file={self._folder}/prometheus.yml",
            f"--storage.tsdb.path={self._folder}/data",
            f"--web.listen-address={address}",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._process.terminate()
        await self._process.wait()

    async def ask(self, path: str, **query: str) -> Any:
        """The data of an answer; None while it does not listen."""
        asked = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with await asyncio.to_thread(urllib.request.urlopen, asked, timeout=5) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    async def value(self, query: str) -> float | None:
        data = await self.ask("query", query=query)
        return float(data["result"][0]["value"][1]) if data and data["result"] else None


def test_a_real_prometheus_knows_the_true_share(run_rig: RunRig, tmp_path: Path) -> None:
    binary = tool("prometheus")

    def engine_of(fleet: Fleet) -> PolicyEngine:
        pools = tuple(fleet.pools)
        share = Share("fast", pools[:1], 0.25, ShareUnit.REQUESTS)
        return PolicyEngine(replace(fleet, shares={share.name: share}), rng.stream(3, "policy"))

    async def scenario(rig: Rig) -> None:
        for _ in range(40):
            assert (await rig.ask(post()))[0] == 200
        async with Prometheus(binary, tmp_path, f"127.0.0.1:{rig.gateway.admin_port}") as prometheus:
            while await prometheus.value("headrace_requests_live") is None:
                await asyncio.sleep(0.1)
            (share,) = rig.engine.view().shares
            assert share.realized is not None
            assert await prometheus.value("headrace_share_realized") == pytest.approx(share.realized)
            assert await prometheus.value("sum(headrace_requests_total)") == 40
            (target,) = (await prometheus.ask("targets"))["activeTargets"]
            assert (target["health"], target["lastError"]) == ("up", "")
            groups = (await prometheus.ask("rules"))["groups"]
            assert all(rule["health"] in ("ok", "unknown") for group in groups for rule in group["rules"])

    run_rig(scenario, ScriptedBackend(WHOLE), ScriptedBackend(WHOLE), engine_for=engine_of, seconds=60)
