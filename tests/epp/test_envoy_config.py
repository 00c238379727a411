"""The configuration that is written for Envoy."""

from __future__ import annotations

import subprocess
from pathlib import Path

import requests
from envoy_rig import envoy_binary
from typer.testing import CliRunner

from headrace.cli import app
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


def test_keys_are_told_on_loopback_only_unless_nobody_else_can_ask(examples_dir: Path) -> None:
    asked = ["epp", str(examples_dir / "small.toml"), "--host", "0.0.0.0", "--write-envoy-config"]
    refused = CliRunner().invoke(app, asked)
    assert isinstance(refused.exception, ConfigError)
    assert "--only-envoy" in str(refused.exception)
    assert CliRunner().invoke(app, [*asked, "--only-envoy"]).exit_code == 0
