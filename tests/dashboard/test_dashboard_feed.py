"""The feed without a browser: the ring, the fold, the pages' policy, what-if, `headrace top`, many workers."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from math import inf
from pathlib import Path

import msgspec
import pytest
from dashboard_rig import Live

from headrace.config import parse_fleet, sample_fleet_text
from headrace.dashboard import Place, fetch_frame
from headrace.dashboard.asking import Asked
from headrace.dashboard.board import Board
from headrace.dashboard.facts import FleetFacts
from headrace.dashboard.fold import Fold
from headrace.dashboard.pages import page_files
from headrace.dashboard.ring import Ring
from headrace.dashboard.seen import Slice, together
from headrace.dashboard.what_if import TRIED_REQUESTS, answer
from headrace.errors import ConfigError
from headrace.fleet import Fleet
from headrace.policy import Arrived
from headrace.policy.journal import encode_entry
from headrace.sim import SimulationResult, simulate
from headrace.workload import generate_named


def sample_fleet() -> Fleet:
    return parse_fleet(sample_fleet_text(), "sample")


def simulated(ring: Ring, seconds: float = 60.0) -> SimulationResult:
    """The engine's calls of a simulated minute go into the ring."""
    fleet = sample_fleet()
    requests = iter(generate_named(fleet.classes, seconds, 5))
    return simulate(fleet, requests, seed=5, on_step=ring.record)


def test_the_ring_keeps_no_more_than_its_size_and_no_prefix() -> None:
    ring = Ring(10)
    for number in range(100):
        ring.record(float(number), Arrived(number, "chat", 10, prefix=(1, 2, 3)), [])
    taken = ring.take()
    assert [call[0] for call in taken] == [float(number) for number in range(90, 100)]
    assert list(ring.kept) == taken
    assert all(isinstance(event, Arrived) and event.prefix == () for _, event, _ in ring.kept)
    assert ring.take() == []


def test_a_fold_counts_what_the_simulator_counts() -> None:
    ring = Ring(1_000_000)
    result = simulated(ring)
    fold = Fold(FleetFacts(sample_fleet()), "run", 0.0)
    fold.add(ring.take())
    seen = fold.slice(result.end_s)
    assert seen.live == []
    for name, totals in result.metrics.classes.items():
        judged = totals.arrived - totals.outcomes["cancelled"]
        ends = seen.ends.get(name)
        assert (0 if ends is None else ends.judged) == judged
        assert (0 if ends is None else ends.met) == totals.met
    for name, pool in result.metrics.pools.items():
        flows = [by_pool[name] for by_pool in seen.flows.values() if name in by_pool]
        assert sum(flow.output_tokens for flow in flows) == pool.output_tokens
        assert sum(flow.dispatched for flow in flows) == sum(flow.ended for flow in flows) == pool.requests


def test_what_if_says_of_a_simulated_past_what_happened_in_it() -> None:
    ring = Ring(1_000_000)
    result = simulated(ring, 300.0)
    calls = b"".join(encode_entry(*call) for call in ring.take())
    fleet = sample_fleet()
    told = answer(Asked("fast", 0.3, [(0.0, len(calls))]), fleet, [(0.0, calls)], inf)
    real, same, other = told.columns
    shares = result.metrics.shares["fast"]
    assert real.realized == pytest.approx(shares.realized, abs=1e-3)
    assert same.target == fleet.shares["fast"].target
    assert same.realized is not None
    assert other.realized is not None
    assert same.realized < other.realized
    assert sum(real.pools.values()) == sum(pool.requests for pool in result.metrics.pools.values())
    hurried = answer(Asked("fast", 0.3, [(0.0, len(calls))]), fleet, [(0.0, calls)], 0.0)
    assert (hurried.requests, hurried.of) == (TRIED_REQUESTS, told.of), "the newest, of those that there are"


def test_slices_of_workers_add_up(tmp_path: Path) -> None:
    ring, fleet = Ring(), sample_fleet()
    simulated(ring)
    fold = Fold(FleetFacts(fleet), "run", 0.0)
    fold.add(ring.take())
    one = fold.slice(60.0)
    boards = [Board(Place(number, 2, tmp_path)) for number in range(2)]
    assert boards[0].watched() == {}
    boards[1].watch(7)
    boards[1].show(one)
    assert boards[0].watched() == {1: 7}
    (told,) = boards[0].slices()
    assert msgspec.to_builtins(told) == msgspec.to_builtins(one)
    both = together([msgspec.convert(msgspec.to_builtins(one), Slice), told])
    assert len(both.ended) == 2 * len(one.ended)
    for name, ends in one.ends.items():
        assert both.ends[name].judged == 2 * ends.judged


def test_the_page_lets_nothing_in_and_has_no_code_in_its_markup() -> None:
    files = page_files()
    for head, _ in files.values():
        assert b"content-security-policy: default-src 'none'" in head
        assert b"unsafe" not in head
    markup = files[b"/"][1]
    assert re.search(rb"\son[a-z]+=", markup) is None
    assert b"style=" not in markup
    scripts = b"".join(body for path, (_, body) in files.items() if path.endswith(b".js"))
    assert b"innerHTML" not in scripts
    assert b"http://" not in scripts.replace(b"http://www.w3.org/2000/svg", b"")


def test_top_prints_what_the_admin_port_says(live: Live) -> None:
    command = [sys.executable, "-m", "headrace.cli", "top", "--once", "--url", live.url]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    told = subprocess.run([*command, "--json"], check=True, capture_output=True, text=True, timeout=120).stdout
    frame = json.loads(told)
    assert all(pool["name"] in shown for pool in frame["pools"])
    assert frame["requests"]["completed"] == live.metric("headrace_requests_total")


def test_top_says_what_to_do_where_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        dead_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(ConfigError, match="is a gateway up"):
        fetch_frame(dead_url)


@pytest.mark.parametrize(
    ("path", "body", "kind", "status"),
    [
        ("admin/what-if", b'{"share":"fast","target":0.2}', "text/plain", 415),
        ("admin/what-if", b'{"share":"fast","target":2}', "application/json", 400),
        ("admin/what-if", b'{"share":"alternative","target":0.2}', "application/json", 400),
        ("admin/request?id=none", None, "", 404),
        ("dashboard/nothing.js", None, "", 404),
        ("admin/feed", b"", "text/plain", 405),
    ],
)
def test_what_makes_no_sense_is_refused(live: Live, path: str, body: bytes | None, kind: str, status: int) -> None:
    asked = urllib.request.Request(live.url + path, data=body, headers={"content-type": kind} if kind else {})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked, timeout=60)
    assert refused.value.code == status
    assert json.load(refused.value)["error"]["message"]
