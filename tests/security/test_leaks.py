"""Secrets are planted in a `headrace serve` of its own process, and everything that ever comes out of it is searched.

One story is told of one worker and of two (a start takes seconds of a processor): backends and a Redis server that
repeat whatever they were sent, clients with and without keys, an operator who looks at everything, a policy that raises
inside a handler, a fleet file that is refused, and at last a crash that writes down where every thread stands.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import resource
import signal
import sys
import time
from contextlib import suppress
from itertools import product
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent / "gateway"))

from gateway_rig import JSON, SSE_HEAD, chunk, post
from served_rig import MODEL, STOP, TOKEN, Served, fleet_text, served, until

from headrace.tenancy import Key, changing, new_secret
from headrace.wire import DONE, chat_usage_chunk

POOLS = ("env", "file", "command")
SECRETS = {
    **{f"{pool} key": f"sk-planted-{pool}-0123456789" for pool in POOLS},
    "admin key": "planted-admin-key-0123456789",
    "redis password": "planted-redis-password-0123456789",
    "unknown key": "sk-planted-nobody-0123456789",
}
ERRORS = ("400", "401", "403", "404", "429", "500", "503")
FRAMES = 3  # of a feed, which has no end
CASES = ("fine", *ERRORS, "page", "breaks", "garbage", "head")
MORE = """
[limits]
breaker_failures = 1000000
retry_burst = 1000000
[tenants]
keys = "keys.json"
[admin]
key_env = "HEADRACE_TEST_ADMIN"
[telemetry]
access_log = true
access_log_file = "access.log"
[peers]
interval_s = 0.05
redis = "redis://127.0.0.1:{redis}/0"
password_env = "HEADRACE_TEST_REDIS"
"""
CREDENTIALS = {
    "env": 'api_key_env = "HEADRACE_TEST_BACKEND"',
    "file": 'api_key_file = "{secrets}/file"',
    "command": 'token_command = ["cat", "{secrets}/command"]',
}
POLICY = """
from headrace.policy import Picker

class Raising(Picker):
    def __init__(self, fleet, rng):
        pass

    def pick(self, now_s, request, free):
        if request.tenant == "cursed":
            raise RuntimeError("planted exception")
        return free[0]
"""


class Echoes:
    """A backend and a Redis server that repeat what they were sent wherever they can."""

    def __init__(self) -> None:
        self.heard = b""

    async def backend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        case = "fine"
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while case in ("fine", "page"):  # the others end their connection
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                case = json.loads(await reader.readexactly(length))["messages"][0]["content"]
                self.heard += head
                key = head.partition(b"authorization: Bearer ")[2].partition(b"\r\n")[0]
                writer.write(answer(case, key))
        writer.close()

    async def redis(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while sent := await reader.read(4096):
                self.heard += sent
                said = b" ".join(sent.split(b"\r\n"))
                writer.write(b"-ERR unknown command, with args beginning with: %b\r\n" % said)
        writer.close()


def answer(case: str, key: bytes) -> bytes:
    """What a backend says that was sent this key."""
    error = b'{"error":{"message":"no such key: Bearer %b","type":"t","param":null,"code":"%b"}}' % (key, key)
    match case:
        case "fine":
            return SSE_HEAD + chunk(TOKEN, STOP, chat_usage_chunk("c", MODEL, 1, 7, 1, 0), DONE) + b"0\r\n\r\n"
        case "breaks":
            return SSE_HEAD + chunk(TOKEN, b"data: %b\n\n" % error)
        case "garbage":
            return b"SSH-2.0-%b\r\n\r\n" % key
        case "head":
            return b"HTTP/1.1 200 %b\r\n%b: no\r\ncontent-length: %b\r\n\r\n" % (key, key, key)
        case "page":
            page = b"<html>wrong key %b</html>" % key
            return b"HTTP/1.1 502 X\r\ncontent-type: text/html\r\ncontent-length: %d\r\n\r\n%b" % (len(page), page)
    echoed = b"x-echo: %b\r\nset-cookie: k=%b\r\nx-request-id: %b\r\n" % (key, key, key)
    head = b"HTTP/1.1 %b %b\r\n%b%bconnection: close\r\ncontent-length: %d\r\n\r\n"
    return head % (case.encode(), key, JSON, echoed, len(error)) + error


class Story:
    """What came out, by place."""

    def __init__(self) -> None:
        self.seen: dict[str, bytes] = {}
        self.secrets = dict(SECRETS)
        self.heard = b""
        self.statuses: dict[str, list[int]] = {}

    def found(self) -> list[tuple[str, str]]:
        """Where a secret is that should not be."""
        said = {name: [each.encode(), base64.b64encode(b"op:" + each.encode())] for name, each in self.secrets.items()}
        return [
            (place, name)
            for place, text in self.seen.items()
            for name, forms in said.items()
            if any(form in text for form in forms)
        ]

    async def ask(self, place: str, port: int, request: bytes) -> int:
        """One request on a connection of its own; everything that comes back is kept."""
        came = b""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request.replace(b"\r\n", b"\r\nconnection: close\r\n", 1))
            while (block := await reader.read(65536)) and came.count(b"\n\n") < FRAMES:
                came += block
            writer.close()
        self.seen[place] = self.seen.get(place, b"") + came
        status = int(came[9:12]) if came else 0
        self.statuses.setdefault(place, []).append(status)
        return status


def bearer(secret: str) -> bytes:
    return b"authorization: Bearer %b\r\n" % secret.encode()


async def clients_ask(story: Story, port: int) -> None:
    asked = []
    for pool, case, stream in product(POOLS, CASES, (True, False)):
        lines = bearer(story.secrets["tenant key"]) + b"x-headrace-explain: 1\r\n"
        lines += b"x-headrace-pool: %b\r\n" % pool.encode()
        said = [{"role": "user", "content": case}]
        asked.append(post(lines, model=MODEL, max_tokens=3, stream=stream, messages=said))
    await asyncio.gather(*(story.ask("answers", port, each) for each in asked))
    await story.ask("refusals", port, post(bearer(SECRETS["unknown key"]), model=MODEL))
    await story.ask("refusals", port, post(bearer(story.secrets["tenant key"]), model="no such model"))
    await story.ask(
        "refusals", port, post(bearer(story.secrets["tenant key"]) + b"x-headrace-class: ?\r\n", model=MODEL)
    )
    for path in (b"/v1/models", b"/openapi.json", b"/metrics", b"/nowhere"):
        lines = bearer(story.secrets["tenant key"])
        await story.ask("pages", port, b"GET %b HTTP/1.1\r\nhost: h\r\n%b\r\n" % (path, lines))


async def operator_looks(story: Story, port: int) -> None:
    basic = b"authorization: Basic " + base64.b64encode(b"op:" + SECRETS["admin key"].encode()) + b"\r\n"
    get = b"GET %b HTTP/1.1\r\nhost: h\r\n%b\r\n"
    pages = (b"/metrics", b"/admin/state", b"/admin/tenants", b"/health/ready", b"/", b"/admin/frame", b"/admin/feed")
    for page in pages:
        assert await story.ask(page.decode(), port, get % (page, bearer(SECRETS["admin key"]))) == 200
    ids = set(re.findall(rb"x-headrace-request-id: (\S+)", story.seen["answers"]))
    for each in sorted(ids)[:5]:
        await story.ask("/admin/request", port, get % (b"/admin/request?id=" + each, basic))
    await story.ask("/admin refused", port, get % (b"/admin/state", bearer(SECRETS["unknown key"])))
    await story.ask("/admin refused", port, get % (b"/admin/nothing", basic))


async def processes_shown(story: Story, gateway: Served) -> None:
    """What lists of processes show, and what workers share in memory."""
    pids = [gateway.process.pid]
    with suppress(OSError):
        pids += map(int, Path(f"/proc/{pids[0]}/task/{pids[0]}/children").read_text().split())
    lines = b"\n".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids)
    story.seen["command lines"] = lines
    for shared in set(re.findall(rb'"shared":"([^"]+)"', lines)):
        for path in Path(shared.decode()).rglob("*"):
            if path.is_file():
                story.seen[f"shared {path.name}"] = path.read_bytes()


async def crash(story: Story, gateway: Served, workers: int) -> None:
    """An exception inside a handler, a fleet that is refused, and the end."""
    said = [{"role": "user", "content": "fine"}]
    await story.ask("cursed", gateway.port, post(bearer(story.secrets["cursed key"]), model=MODEL, messages=said))
    await until(lambda: any("planted exception" in line for line in gateway.said))
    pid = gateway.process.pid
    if workers > 1:
        pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    os.kill(pid, signal.SIGABRT)
    await until(lambda: any("Fatal Python error: Aborted" in line for line in gateway.said))


async def told(folder: Path, secrets: Path, workers: int) -> Story:
    story, echoes = Story(), Echoes()
    servers = [await asyncio.start_server(each, "127.0.0.1", 0) for each in (echoes.backend, echoes.redis)]
    backend, redis = (each.sockets[0].getsockname()[1] for each in servers)
    text = fleet_text(dict.fromkeys(POOLS, backend), MORE.format(redis=redis))
    for pool in POOLS:
        line = f'name = "{pool}-1"'
        text = text.replace(line, f"{line}\n{CREDENTIALS[pool].format(secrets=secrets)}")
    text = text.replace("value_of_time_usd_per_s = 0.0003", "value_of_time_usd_per_s = 0.0003\ntimeout_s = 1.0")
    fleet = folder / "fleet.toml"
    fleet.write_text(text)
    made = {name: new_secret(time.time()) for name in ("tenant", "cursed")}
    story.secrets |= {f"{name} key": each.text for name, each in made.items()}
    with changing(folder / "keys.json") as keys:
        keys += [Key(name=name, tenant=name, secrets=(each.kept,)) for name, each in made.items()]
    journal = str(folder / "journal")
    more = ("--workers", str(workers), "--journal", journal, "--policy", "raising")
    async with served(fleet, *more) as gateway:
        await clients_ask(story, gateway.port)
        await operator_looks(story, gateway.admin_port)
        await until(lambda: any("cannot be heard" in line for line in gateway.said))
        fleet.write_text(text.replace("redis://", f"redis://:{SECRETS['redis password']}@"))
        await until(lambda: any("not taken on" in line for line in gateway.said))
        await operator_looks(story, gateway.admin_port)
        fleet.write_text(text)
        await processes_shown(story, gateway)
        await crash(story, gateway, workers)
    story.seen["standard error"] = "".join(gateway.said).encode()
    story.heard = echoes.heard
    for server in servers:
        server.close()
    for path in folder.rglob("*"):
        if path.is_file():
            story.seen[str(path.relative_to(folder))] = path.read_bytes()
    return story


@pytest.mark.parametrize("workers", [1, 2])
def test_no_secret_comes_out_anywhere(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, secrets, site = (tmp_path / name for name in ("work", "secrets", "site"))
    for each in (folder, secrets, site / "raising-1.0.dist-info"):
        each.mkdir(parents=True)
    for name in ("file", "command"):
        (secrets / name).write_text(SECRETS[f"{name} key"] + "\n")
        (secrets / name).chmod(0o600)
    (site / "raising.py").write_text(POLICY)
    metadata = {"METADATA": "Metadata-Version: 2.1\nName: raising\nVersion: 1.0\n"}
    metadata["entry_points.txt"] = "[headrace.policies]\nraising = raising:Raising\n"
    for name, text in metadata.items():
        (site / "raising-1.0.dist-info" / name).write_text(text)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH")))))
    monkeypatch.setenv("PYTHONFAULTHANDLER", "1")
    for variable, name in (("BACKEND", "env key"), ("ADMIN", "admin key"), ("REDIS", "redis password")):
        monkeypatch.setenv(f"HEADRACE_TEST_{variable}", SECRETS[name])
    cores = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, cores[1]))  # a core is the process's memory, which has them
    try:
        story = asyncio.run(asyncio.wait_for(told(folder, secrets, workers), 120))
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, cores)
    out, err = capfd.readouterr()
    story.seen["standard output"] = (out + err).encode()

    for name in (*(f"{pool} key" for pool in POOLS), "redis password"):
        assert SECRETS[name].encode() in story.heard, f"{name} was not planted"
    assert {200, 400, 503} <= set(story.statuses["answers"])
    assert set(story.statuses["refusals"]) == {400, 401, 404}
    assert b"x-headrace-explain: [" in story.seen["answers"]
    assert b"[redacted]" in story.seen["answers"]
    assert b"[redacted]" in story.seen["standard error"]
    for place in ("access.log", "standard error", "/admin/feed", "/admin/request"):
        assert story.seen[place]
    assert any(place.startswith("usage") for place in story.seen)
    assert any(place.startswith("journal") for place in story.seen)
    assert any(place.startswith("shared") for place in story.seen) is (workers > 1)
    assert story.found() == []
