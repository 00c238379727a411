"""The configuration that is written for Envoy."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import requests
from envoy_rig import envoy_binary
from typer.testing import CliRunner

from headrace.cli import app
from headrace.config import load_fleet
from headrace.epp import Places, bootstrap
from headrace.errors import ConfigError


def test_envoy_takes_the_configuration_of_a_fleet_with_and_without_tls(tmp_path: Path, examples_dir: Path) -> None:
    binary = envoy_binary()
    text = (examples_dir / "small.toml").read_text()
    secure = text.replace("http://127.0.0.1:18211", "https://localhost:18211").replace("emulated = true", "")
    for name, fleet in (("plain", text), ("tls", secure)):
        (tmp_path / f"{name}.toml").write_text(fleet)
        wanted = ["epp", str(tmp_path / f"{name}.toml"), "--write-envoy-config", "--ca-file", requests.certs.where()]
        written = CliRunner().invoke(app, wanted)
        assert written.exit_code == 0, written.output
        assert ("UpstreamTlsContext" in written.stdout) == (name == "tls")
        config = tmp_path / f"{name}.json"
        config.write_text(written.stdout)
        told = [binary, "--mode", "validate", "--use-dynamic-base-id", "-c", str(config)]
        found = subprocess.run(told, capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stderr[-2000:]


def test_envoy_lets_as_many_requests_through_as_the_fleet_and_the_queues_of_its_pickers_hold(
    examples_dir: Path,
) -> None:
    fleet = load_fleet(examples_dir / "small.toml")
    fleet = replace(fleet, limits=replace(fleet.limits, queue_depth=5000))
    places = Places("127.0.0.1:1", "127.0.0.1:2", ("127.0.0.1:3", "127.0.0.1:4"), "/none")
    clusters = {each["name"]: each for each in bootstrap(fleet, places)["static_resources"]["clusters"]}
    in_flight = sum(backend.max_in_flight for backend in fleet.backends)
    for name, held in (("fleet", in_flight), ("headrace", in_flight + 2 * 5000)):
        (limits,) = clusters[name]["circuit_breakers"]["thresholds"]
        assert set(limits) == {"max_connections", "max_pending_requests", "max_requests"}
        assert min(limits.values()) > held


def test_keys_are_told_on_loopback_only_unless_nobody_else_can_ask(examples_dir: Path) -> None:
    asked = ["epp", str(examples_dir / "small.toml"), "--host", "0.0.0.0", "--write-envoy-config"]
    refused = CliRunner().invoke(app, asked)
    assert isinstance(refused.exception, ConfigError)
    assert "--only-envoy" in str(refused.exception)
    assert CliRunner().invoke(app, [*asked, "--only-envoy"]).exit_code == 0
