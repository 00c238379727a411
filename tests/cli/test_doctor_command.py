"""`headrace doctor` finds what is broken, says where and what to do, and the most important first."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from headrace.bench.live_check import Listing
from headrace.cli.build import Build
from headrace.cli.diagnosis import (
    Finding,
    Severity,
    aged_findings,
    backend_findings,
    clock_findings,
    credential_findings,
    file_limit_findings,
    installation_findings,
    ledger_findings,
    port_findings,
    service_findings,
    share_findings,
)
from headrace.cli.diagnosis.finding import important_first
from headrace.cli.endpoints import Seen
from headrace.config import load_fleet
from headrace.fleet import Backend, Fleet, Peers, Route

Command = Callable[..., tuple[int, str, str]]
PLAIN = Listing(200, ("gpt-oss-120b",), (), emulated=False, unix_s=None)


@pytest.fixture
def fleet() -> Fleet:
    return load_fleet()


@pytest.fixture
def backend(fleet: Fleet) -> Backend:
    return replace(fleet.backends[0], emulated=False)


def with_backend(fleet: Fleet, backend: Backend) -> Fleet:
    pool = replace(fleet.pools[backend.pool], backends=(backend,))
    return replace(fleet, pools={**fleet.pools, pool.name: pool})


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_an_installation_without_a_fault_exits_with_0(command: Command) -> None:
    code, out, _ = command("doctor", "--port", "0", "--admin-port", "0", "--json", "-")
    found = json.loads(out)
    assert [each for each in found["findings"] if each["severity"] != "advice"] == []
    assert code == 0


def test_a_fault_of_the_fleet_file_stops_and_exits_with_1(command: Command) -> None:
    Path("bad.toml").write_text("schema = 1\n[models.none]\n")
    code, out, _ = command("doctor", "bad.toml", "--port", "0", "--admin-port", "0", "--json", "-")
    found = json.loads(out)["findings"]
    assert code == 1
    assert found[0]["severity"] == "stops"
    assert any("models.none" in each["where"] for each in found)


def test_what_stops_comes_before_what_impairs_and_advice_last() -> None:
    found = [Finding(severity, "", "", "") for severity in (Severity.ADVICE, Severity.STOPS, Severity.IMPAIRS)]
    assert [each.severity for each in important_first(found)] == list(Severity)


def test_a_stale_extension_stops() -> None:
    (found,) = installation_findings(Build(["headrace.a"], ["headrace.a"]), command="")
    assert (found.severity, "make compiled" in found.remedy) == (Severity.STOPS, True)


def test_a_key_that_is_not_in_the_environment_is_named(fleet: Fleet, backend: Backend) -> None:
    keyed = with_backend(fleet, replace(backend, api_key_env="SOME_KEY"))
    (found,) = credential_findings(keyed, {})
    assert "SOME_KEY" in found.what
    assert list(credential_findings(keyed, {"SOME_KEY": "k"})) == []
    assert "k y" not in str(list(credential_findings(keyed, {"SOME_KEY": "k y"})))


def test_a_key_file_that_others_may_read_stops(fleet: Fleet, backend: Backend, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("k")
    keyed = with_backend(fleet, replace(backend, api_key_file=str(file)))
    file.chmod(0o644)
    assert [found.severity for found in credential_findings(keyed, {})] == [Severity.STOPS]
    file.chmod(0o600)
    assert list(credential_findings(keyed, {})) == []


def test_a_backend_that_does_not_answer_impairs_and_if_none_does_stops(fleet: Fleet, backend: Backend) -> None:
    dead, alive = Seen(backend, None, "refused"), Seen(backend, PLAIN, "")
    assert [found.severity for found in backend_findings(fleet, [dead, alive])] == [Severity.IMPAIRS]
    assert [found.severity for found in backend_findings(fleet, [dead])] == [Severity.STOPS]


def test_another_model_and_another_dialect_are_found(fleet: Fleet, backend: Backend) -> None:
    other = Seen(replace(backend, dialect="sglang"), PLAIN._replace(models=("m",), owners=("vllm",)), "")
    model, dialect = backend_findings(fleet, [other])
    assert "not gpt-oss-120b" in model.what
    assert 'dialect = "vllm"' in dialect.remedy


def test_a_backend_with_a_name_of_its_own_is_to_have_it_in_the_file(fleet: Fleet, backend: Backend) -> None:
    seen = Seen(backend, PLAIN._replace(models=("m", "openai/gpt-oss-120b")), "")
    (found,) = backend_findings(fleet, [seen])
    assert 'served_model_name = "openai/gpt-oss-120b"' in found.remedy
    named = replace(backend, served_model_name="openai/gpt-oss-120b")
    assert list(backend_findings(with_backend(fleet, named), [seen._replace(backend=named)])) == []


def test_fewer_files_than_connections_impair(fleet: Fleet) -> None:
    (found,) = file_limit_findings(fleet, soft=1024)
    assert found.severity is Severity.IMPAIRS
    assert list(file_limit_findings(fleet, soft=10**6)) == []


def test_a_clock_that_is_off_is_found_by_what_backends_say(backend: Backend) -> None:
    now = 2e9
    seen = [Seen(backend, PLAIN._replace(unix_s=now - 300.0), "")]
    (found,) = clock_findings(seen, now)
    assert "300 s ahead of" in found.what
    assert list(clock_findings(seen, now - 290.0)) == []


def test_a_taken_port_is_found(taken_port: int) -> None:
    (found,) = port_findings(taken_port)
    assert found.where == f"port {taken_port}"


def test_a_ledger_where_there_is_no_folder_to_write_is_found(fleet: Fleet, tmp_path: Path) -> None:
    assert list(ledger_findings(fleet, tmp_path / "ledger.jsonl")) == []
    (found,) = ledger_findings(fleet, Path("/proc/ledger.jsonl"))
    assert found.severity is Severity.STOPS


def test_a_redis_that_does_not_answer_impairs(fleet: Fleet) -> None:
    pytest.importorskip("redis")
    (found,) = service_findings(replace(fleet, peers=Peers(redis="redis://127.0.0.1:9/0")), {})
    assert found.where == "peers.redis"


def test_a_share_that_no_route_reaches_or_that_all_routes_are_bound_to_cannot_be_kept(fleet: Fleet) -> None:
    share = fleet.steered_share()
    assert share is not None
    assert list(share_findings(fleet)) == []
    (shut,) = share_findings(replace(fleet, routes=(Route(("h100",)),)))
    assert "stays at 0" in shut.what
    (bound,) = share_findings(replace(fleet, routes=(Route(share.pools),)))
    assert "stays at 1" in bound.what


def test_old_prices_are_told(fleet: Fleet) -> None:
    assert list(aged_findings(fleet, date(2026, 11, 26))) == []
    (found,) = aged_findings(fleet, date(2028, 1, 1))
    assert found.severity is Severity.ADVICE
