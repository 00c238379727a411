"""What ships for Docker and Kubernetes calls headrace as it is: its options, ports, paths, settings and metrics."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from test_docs_site import unknown_words

from headrace.cli import app
from headrace.config import load_fleet
from headrace.fleet import Fleet
from headrace.gateway import bind_faults
from headrace.gateway.metric_table import METRICS
from headrace.gateway.routes import OPEN_PATHS

ROOT = Path(__file__).resolve().parents[2]
DOCKER, KUBERNETES = ROOT / "deploy" / "docker", ROOT / "deploy" / "kubernetes"
YAML = sorted([*DOCKER.rglob("*.y*ml"), *KUBERNETES.rglob("*.y*ml"), *(ROOT / "deploy" / "prometheus").glob("*.yml")])
SETTINGS = [DOCKER / "config" / "fleet.toml", KUBERNETES / "fleet.toml"]
TEXTS = sorted(path for folder in (DOCKER, KUBERNETES) for path in folder.rglob("*") if path.is_file())
LOOKS = 600
ADMIN_KEY = "0123456789abcdef"
PAGE = ROOT / "docs" / "how-to" / "deploy.md"


def read(path: Path) -> Any:
    """The only document of a file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def dockerfile() -> str:
    """Its instructions, each on a line."""
    text = re.sub(r"^#.*\n", "", (DOCKER / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return re.sub(r"\\\n\s*", "", text)


def image_command() -> list[str]:
    found = re.search(r"^CMD (\[.+\])$", dockerfile(), re.MULTILINE)
    assert found is not None
    words: list[str] = yaml.safe_load(found[1])  # JSON is YAML
    return words


def gateway() -> dict[str, Any]:
    service: dict[str, Any] = read(DOCKER / "compose.yaml")["services"]["gateway"]
    return service


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = read(KUBERNETES / "deployment.yaml")["spec"]["template"]["spec"]
    return spec


def container() -> dict[str, Any]:
    (only,) = pod()["containers"]
    assert isinstance(only, dict)
    return only


def commands() -> dict[str, list[str]]:
    """How each of them calls headrace."""
    return {"image": image_command(), "compose": shlex.split(gateway()["command"]), "pod": container()["args"]}


def taken(words: list[str]) -> dict[str, Any]:
    """What `headrace serve` understands of a call; raises for what it does not take."""
    group: Any = typer.main.get_command(app)
    context = group.get_command(None, "serve").make_context("serve", words[1:])
    found: dict[str, Any] = context.params
    return found


def named_ports() -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in container()["ports"]}


def seconds(fleet: Fleet) -> float:
    """The longest drain."""
    return fleet.limits.drain_delay_s + fleet.limits.drain_timeout_s


@pytest.mark.parametrize("path", YAML, ids=lambda path: str(path.relative_to(ROOT / "deploy")))
def test_every_yaml_file_is_yaml(path: Path) -> None:
    assert isinstance(read(path), dict)


@pytest.mark.parametrize("where", ["image", "compose", "pod"])
def test_every_option_exists_and_takes_its_value(where: str) -> None:
    words = commands()[where]
    assert words[0] == "serve"
    assert unknown_words(words) == []
    settings = taken(words)
    assert str(settings["fleet"]) == "/etc/headrace/fleet.toml"
    assert settings["workers"] > 1


def test_the_image_alone_lets_no_stranger_in() -> None:
    settings = taken(image_command())
    assert not settings["behind_proxy"]
    faults = list(bind_faults(load_fleet(None), settings["host"], settings["admin_host"], settings["behind_proxy"]))
    assert len(faults) == 2  # no keys, no TLS


@pytest.mark.parametrize(("where", "file"), [*zip(("compose", "pod"), SETTINGS, strict=True)])
def test_the_fleet_may_listen_where_it_is_told_to(where: str, file: Path) -> None:
    settings, fleet = taken(commands()[where]), load_fleet(file)
    assert list(bind_faults(fleet, settings["host"], settings["admin_host"], settings["behind_proxy"])) == []
    assert list(bind_faults(fleet, settings["host"], settings["admin_host"], False)) != []


def test_ports_are_those_that_the_gateway_is_given() -> None:
    settings = taken(commands()["pod"])
    assert named_ports() == {"http": settings["port"], "admin": settings["admin_port"]}
    settings = taken(commands()["compose"])
    both = {settings["port"], settings["admin_port"]}
    published = [re.fullmatch(r"127\.0\.0\.1:(\d+):(\d+)", port) for port in gateway()["ports"]]
    assert {int(found[2]) for found in published if found} == both
    (exposed,) = re.findall(r"^EXPOSE (.+)$", dockerfile(), re.MULTILINE)
    assert set(map(int, exposed.split())) == both
    (job,) = read(DOCKER / "prometheus.yml")["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"gateway:{settings['admin_port']}"]}]


def probes() -> Iterator[tuple[str, str, int]]:
    """Each probe's kind, path and port."""
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = container()[kind]["httpGet"]
        yield kind, asked["path"], named_ports()[asked["port"]]
    (found,) = re.findall(r"HEALTHCHECK .*http://127\.0\.0\.1:(\d+)(/[\w/]+)", dockerfile())
    yield "HEALTHCHECK", found[1], int(found[0])


def test_probes_ask_what_the_gateway_answers_without_a_key() -> None:
    for kind, path, port in probes():
        assert path.encode() in OPEN_PATHS, kind
        assert path == ("/health/ready" if kind == "readinessProbe" else "/health/live"), kind
        assert port == taken(image_command())["port"], kind


def mount(folder: Path, files: dict[str, str]) -> None:
    """As the kubelet does: files are links into a directory that a link names, and another takes its place at once."""
    version = Path(tempfile.mkdtemp(dir=folder, prefix="..v"))
    for name, text in files.items():
        (version / name).write_text(text, encoding="utf-8")
        (version / name).chmod(0o440)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path("..data") / name)
    (folder / "..next").symlink_to(version.name)
    (folder / "..next").rename(folder / "..data")


def local_fleet(folder: Path) -> str:
    """The pods' fleet file, of which nothing is on another machine or outside of a folder."""
    text = SETTINGS[1].read_text(encoding="utf-8")
    text = re.sub(r"\bhttps?://[^\"]+", "http://127.0.0.1:1", text).replace("redis://redis:6379", "redis://127.0.0.1:1")
    text = re.sub(r"^drain_\w+ = [\d.]+", "", text, flags=re.MULTILINE)
    return text.replace('"/etc/', f'"{folder}/etc/').replace('"/var/', f'"{folder}/var/')


@contextlib.contextmanager
def served(folder: Path, fleet: Path) -> Iterator[dict[str, str]]:
    """The pod's command, on loopback; gives what it says of itself."""
    here = ["--host=127.0.0.1", "--admin-host=127.0.0.1", "--port=0", "--admin-port=0", "--workers=1", "--json=-"]
    given = [
        word for word in container()["args"][2:] if word.partition("=")[0] not in {w.partition("=")[0] for w in here}
    ]
    words = [arg.replace("=/var/", f"={folder}/var/") for arg in given]
    process = subprocess.Popen(
        [sys.executable, "-m", "headrace.cli", "serve", str(fleet), *words, *here],
        env={**os.environ, "HEADRACE_ADMIN_KEY": ADMIN_KEY, "CEREBRAS_API_KEY": "backend-key"},
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        said = b""
        while (line := process.stdout.readline()) and line.rstrip() != b"}":
            said += line
        yield json.loads(said + line)
    finally:
        process.terminate()
        process.communicate()
    assert process.returncode == 0


def answer(url: str, key: str | None = None) -> tuple[int, str]:
    """The status and the body at a URL."""
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as found:
            return found.status, found.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_pod_answers_what_is_asked_of_it_and_takes_on_a_changed_config_map(tmp_path: Path) -> None:
    configured, keys = tmp_path / "etc/headrace", tmp_path / "etc/headrace-keys"
    for folder in (configured, keys, tmp_path / "var/lib/headrace"):
        folder.mkdir(parents=True)
    mount(configured, {"fleet.toml": local_fleet(tmp_path)})
    mount(keys, {"keys.json": '{"schema": 1, "keys": []}'})
    (job,) = read(DOCKER / "prometheus.yml")["scrape_configs"]
    (endpoint,) = read(KUBERNETES / "monitoring" / "pod-monitor.yaml")["spec"]["podMetricsEndpoints"]
    with served(tmp_path, configured / "fleet.toml") as said:
        public, admin = said["url"].removesuffix("/v1"), said["admin_url"].removesuffix("/admin/state")
        assert [(path, answer(public + path)[0]) for _, path, _ in probes()] == [(path, 200) for _, path, _ in probes()]
        assert answer(public + "/v1/models")[0] == 401
        for path in (job["metrics_path"], endpoint["path"]):
            assert (answer(admin + path)[0], answer(admin + path, ADMIN_KEY)[0]) == (401, 200)
            assert answer(public + path)[0] == 404
        mount(configured, {"fleet.toml": local_fleet(tmp_path).replace("0.0003", "0.0004")})
        for _ in range(LOOKS):
            if "headrace_fleet_reloads_total 1" in answer(f"{admin}/metrics", ADMIN_KEY)[1]:
                break
            time.sleep(0.1)
        else:
            pytest.fail("the changed fleet file was not taken on")


@pytest.mark.parametrize("path", [*TEXTS, PAGE], ids=lambda path: path.name)
def test_every_metric_that_is_named_exists(path: Path) -> None:
    assert set(re.findall(r"\bheadrace_[a-z0-9_]+", path.read_text(encoding="utf-8"))) <= set(METRICS)


def test_the_autoscaler_and_the_adapter_name_one_metric_of_what_is_in_flight() -> None:
    (metric,) = read(KUBERNETES / "autoscaler.yaml")["spec"]["metrics"]
    name = metric["pods"]["metric"]["name"]
    assert METRICS[name].text == "Attempts dispatched and not ended."
    (rule,) = read(KUBERNETES / "monitoring" / "prometheus-adapter.yaml")["rules"]["custom"]
    assert rule["seriesQuery"].partition("{")[0] == name


def test_whoever_stops_a_gateway_waits_longer_than_it_drains() -> None:
    compose, kubernetes = (load_fleet(file) for file in SETTINGS)
    assert int(gateway()["stop_grace_period"].removesuffix("s")) > seconds(compose)
    assert pod()["terminationGracePeriodSeconds"] > seconds(kubernetes)
    assert "preStop" not in container().get("lifecycle", {})  # drain_delay_s is for that
    probe = container()["readinessProbe"]
    assert kubernetes.limits.drain_delay_s > probe["periodSeconds"] * probe["failureThreshold"]


@pytest.mark.parametrize("file", SETTINGS, ids=lambda file: file.parent.name)
def test_every_secret_that_the_fleet_file_names_is_given(file: Path) -> None:
    fleet = load_fleet(file)
    wanted = {fleet.admin.key_env, *(backend.api_key_env for backend in fleet.backends)} - {None}
    assert wanted
    if file.is_relative_to(DOCKER):
        assert wanted <= set(gateway()["environment"])
        return
    assert wanted <= set(re.findall(r"[A-Z][A-Z_]+(?==%s)", PAGE.read_text(encoding="utf-8")))
    (endpoint,) = read(KUBERNETES / "monitoring" / "pod-monitor.yaml")["spec"]["podMetricsEndpoints"]
    assert endpoint["authorization"]["credentials"]["key"] == fleet.admin.key_env


def test_what_a_pod_mounts_is_what_the_fleet_file_and_the_command_name() -> None:
    mounted = {mount["mountPath"]: mount for mount in container()["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    assert set(volumes) == {mount["name"] for mount in mounted.values()}
    assert not any("subPath" in mount for mount in mounted.values())  # it would never change
    fleet, settings = load_fleet(SETTINGS[1]), taken(commands()["pod"])
    assert str(Path(settings["fleet"]).parent) in mounted
    assert str(Path(fleet.tenants.keys or "").parent) in mounted
    for written in (Path(settings["ledger"]), Path(fleet.admin.audit or "")):
        assert not mounted[str(written.parent)].get("readOnly", False)
    made = read(KUBERNETES / "kustomization.yaml")
    assert made["generatorOptions"]["disableNameSuffixHash"] is True  # else a change would start other pods
    (from_file,) = made["configMapGenerator"]
    assert from_file == {"name": volumes["fleet"]["configMap"]["name"], "files": [SETTINGS[1].name]}
    secrets = {secret["name"] for secret in made["secretGenerator"]}
    assert secrets == {volumes["keys"]["secret"]["secretName"], container()["envFrom"][0]["secretRef"]["name"]}


def test_everything_in_the_cluster_means_the_same_pods() -> None:
    labels = read(KUBERNETES / "deployment.yaml")["spec"]["template"]["metadata"]["labels"]
    assert read(KUBERNETES / "service.yaml")["spec"]["selector"] == labels
    for name, key in (
        ("deployment", "selector"),
        ("disruption-budget", "selector"),
        ("network-policy", "podSelector"),
        ("monitoring/pod-monitor", "selector"),
    ):
        assert read(KUBERNETES / f"{name}.yaml")["spec"][key] == {"matchLabels": labels}
    (port,) = read(KUBERNETES / "service.yaml")["spec"]["ports"]
    assert port["targetPort"] == "http"
    resources = read(KUBERNETES / "kustomization.yaml")["resources"]
    assert {*resources, "kustomization.yaml"} == {path.name for path in KUBERNETES.glob("*.yaml")}


def test_the_admin_port_is_for_prometheus_alone() -> None:
    rules = read(KUBERNETES / "network-policy.yaml")["spec"]["ingress"]
    by_port = {port["port"]: rule for rule in rules for port in rule["ports"]}
    assert set(by_port) == set(named_ports())
    assert by_port["admin"]["from"]


def test_every_file_that_compose_mounts_is_there() -> None:
    compose = read(DOCKER / "compose.yaml")
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert (DOCKER / source).exists() if source.startswith(".") else source in compose["volumes"], volume


def test_the_image_is_built_from_what_there_is() -> None:
    for line in re.findall(r"^COPY (?!--)(.+)$", dockerfile(), re.MULTILINE):
        assert all((ROOT / name).exists() for name in line.split()[:-1]), line
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (extras,) = re.findall(r"\.whl\)\[([\w,]+)\]", dockerfile())
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    assert set(re.findall(r"'([\w-]+>=[\d.]+)'", dockerfile())) == set(project["optional-dependencies"]["compile"])
    users = re.findall(r"^USER (\d+):", dockerfile(), re.MULTILINE)
    assert [int(user) for user in users] == [pod()["securityContext"]["runAsUser"]]
    assert users != ["0"]
