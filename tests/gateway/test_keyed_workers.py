"""Four workers are one gateway to its tenants: one limit, one budget, one key file, before and after a crash.

One story is told of them (a start takes seconds of a processor), and looked at by every test.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from gateway_rig import post
from served_rig import MODEL, Served, StreamingBackend, fleet_text, served, until

from headrace.fleet import Allowance
from headrace.ledger import read_ledger
from headrace.tenancy import Change, Key, changing, new_secret, read_audit

WORKERS = 4
STORY_TIMEOUT_S = 300.0
TOKENS = 5
USD = 7 * 0.1e-6 + TOKENS * 0.4e-6  # of an answer of the backend, at the fleet's prices
PER_MINUTE = 30
BUDGET_USD = 20.5 * USD
TENANTS = f"""
[tenants]
keys = "keys.json"
[tenants.many]
requests_per_minute = {PER_MINUTE}
[tenants.rich]
usd_per_day = {BUDGET_USD}
"""


@dataclass
class Story:
    """What was seen."""

    many: Counter[int] = field(default_factory=Counter)
    many_s: float = 0.0
    rich: Counter[int] = field(default_factory=Counter)
    rich_usd: float = 0.0
    after_crash: Counter[int] = field(default_factory=Counter)
    after_restart: Counter[int] = field(default_factory=Counter)
    others: Counter[int] = field(default_factory=Counter)
    stored: Counter[int] = field(default_factory=Counter)
    audit: list[Change] = field(default_factory=list)


async def status_of(port: int, secret: str) -> int:
    """Status of one request on a connection of its own, read to its end; 0: the connection was cut."""
    line = f"authorization: Bearer {secret}\r\nconnection: close\r\n".encode()
    body = {"model": MODEL, "max_tokens": TOKENS, "stream": True, "messages": [{"role": "user", "content": "quick"}]}
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(line, **body))
        answer = await reader.read(-1)
        writer.close()
        return int(answer[9:12]) if answer else 0
    return 0


async def read_whole(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read(-1)
    writer.close()
    return answer


async def stored_again(port: int, secret: str, count: int) -> Counter[int]:
    """Statuses of one stored answer, asked for on so many connections, which come to all workers."""
    line = f"host: h\r\nauthorization: Bearer {secret}\r\nconnection: close\r\n".encode()
    asked = {"model": MODEL, "max_output_tokens": TOKENS, "stream": True, "input": "quick"}
    body = json.dumps(asked).encode()
    head = b"POST /v1/responses HTTP/1.1\r\n%bcontent-length: %d\r\n\r\n" % (line, len(body))
    found = re.search(rb'"id":"(resp_[^"]+)"', await read_whole(port, head + body))
    assert found is not None
    again = b"GET /v1/responses/%b HTTP/1.1\r\n%b\r\n" % (found[1], line)
    answers = await asyncio.gather(*(read_whole(port, again) for _ in range(count)))
    return Counter(int(answer[9:12]) for answer in answers)


async def statuses(port: int, secret: str, count: int) -> Counter[int]:
    return Counter(await asyncio.gather(*(status_of(port, secret) for _ in range(count))))


def spent_usd(ledger: Path, tenant: str) -> float:
    found = [each.usd for each in read_ledger(ledger) if each.tenant == tenant]
    return sum(usd[0] for usd in found if usd is not None)


async def first_run(story: Story, gateway: Served, secrets: dict[str, str], folder: Path) -> None:
    began_s = time.monotonic()
    story.many = await statuses(gateway.port, secrets["many"], 4 * PER_MINUTE)
    story.many_s = time.monotonic() - began_s
    for _ in range(4):
        story.rich += await statuses(gateway.port, secrets["rich"], 40)
    story.rich_usd = spent_usd(folder / "usage", "rich")
    story.others += await statuses(gateway.port, secrets["free"], 8)
    story.stored = await stored_again(gateway.port, secrets["free"], 16)

    victim = (await gateway.state())["workers"][0]
    os.kill(victim["pid"], signal.SIGKILL)

    async def back() -> bool:
        workers = (await gateway.state())["workers"]
        return all(each["up"] for each in workers) and workers[0]["pid"] != victim["pid"]

    await until(back)
    story.after_crash = await statuses(gateway.port, secrets["rich"], 40)
    story.others += await statuses(gateway.port, secrets["free"], 8)

    with changing(folder / "keys.json") as keys:
        keys[:] = [key for key in keys if key.name != "free"]

    async def refused_by_all() -> bool:
        return await statuses(gateway.port, secrets["free"], 16) == {401: 16}

    await until(refused_by_all)


async def told(folder: Path) -> Story:
    story, backend = Story(), StreamingBackend()
    await backend.start()
    fleet = folder / "fleet.toml"
    only_chat = 'dialect = "nim"\nmax_in_flight'
    fleet.write_text(fleet_text({"one": backend.port}, TENANTS).replace("max_in_flight", only_chat))
    made = {name: new_secret(time.time()) for name in ("many", "rich", "free")}
    with changing(folder / "keys.json") as keys:
        keys += [
            Key(name=name, tenant=name, secrets=(each.kept,), allowance=Allowance()) for name, each in made.items()
        ]
    secrets = {name: each.text for name, each in made.items()}
    try:
        async with served(fleet, "--workers", str(WORKERS)) as gateway:
            await asyncio.wait_for(first_run(story, gateway, secrets, folder), STORY_TIMEOUT_S)
        async with served(fleet, "--workers", str(WORKERS)) as gateway:
            story.after_restart = await statuses(gateway.port, secrets["rich"], 16)
    finally:
        await backend.stop()
    story.audit = read_audit(folder / "audit.jsonl")
    return story


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return asyncio.run(told(tmp_path_factory.mktemp("keyed")))


def test_all_workers_together_let_by_what_the_limit_holds(story: Story) -> None:
    refilled = PER_MINUTE / 60.0 * story.many_s
    assert set(story.many) <= {200, 429}
    assert PER_MINUTE <= story.many[200] <= PER_MINUTE + refilled + 1


def test_no_more_than_one_request_goes_over_a_hard_budget(story: Story) -> None:
    assert set(story.rich) <= {200, 429}
    assert BUDGET_USD <= story.rich_usd <= BUDGET_USD + USD
    assert story.rich[200] == 21


def test_a_budget_outlives_a_worker_and_a_restart(story: Story) -> None:
    assert story.after_crash[200] == 0
    assert story.after_crash[429] > 0
    assert story.after_restart == {429: 16}


def test_what_one_worker_stored_all_of_them_know(story: Story) -> None:
    assert story.stored == {200: 16}


def test_others_are_not_held_up(story: Story) -> None:
    assert story.others[200] == 16


def test_what_was_taken_on_is_on_record(story: Story) -> None:
    assert [(each.actor, each.action) for each in story.audit] == [("file", "keys.taken_on")]
    assert story.audit[0].detail == {"keys": 2}
