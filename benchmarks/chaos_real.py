"""A real model killed in mid-answer, again and again: does the client read one answer?

    make chaos-real        (or: python benchmarks/chaos_real.py --kills 50)

Two llama.cpp servers with the same 270M-parameter Gemma stand behind a gateway. A client streams an answer at
temperature 0; the server that answers is killed (SIGKILL) after a random number of pieces, and the other goes on. For
every kill:

- the client's text is the text before the seam and exactly what the second server says when it is asked directly to go
  on from there: nothing is repeated, nothing is missing;
- there is one finish reason, and the usage is that of one answer;
- the text is compared with the unbroken answer. They need not be equal (text that is read again may fall into other
  tokens than it was made of), but where they differ, they differ behind the seam.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
MODEL = "gemma-3-270m"
CEILING = 48
STARTS_S = 60.0
PROMPTS = (
    "Count from one to thirty in words.",
    "Tell me about the longest rivers of the world.",
    "Write a short story about a lighthouse keeper.",
    "List ten animals and one fact about each.",
    "Explain how bread is made.",
)
SPEED = "observed = { ttft_s = 0.1, input_tokens_per_s = 1000.0, tpot_s = 0.02 }"
LIMITS = """
[limits]
breaker_failures = 1000000
retry_budget = 1.0
"""


class Server:
    """A model server that can be killed and started again on its port."""

    def __init__(self, python: str) -> None:
        self._python = python
        self.port = _free_port()
        self.process = self._started()

    def _started(self) -> subprocess.Popen[str]:
        program = [self._python, str(ROOT / "examples" / "local" / "server.py")]
        line = [*program, "--port", str(self.port), "--slots", "1"]
        process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert MODEL in process.stdout.readline(), "the server did not start"
        return process

    def kill(self) -> None:
        """End it at once."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def revive(self) -> None:
        """Start it again, if it was killed."""
        if self.process.poll() is not None:
            self.process = self._started()

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


class Read(NamedTuple):
    """An answer as a client read it.

    Attributes:
        seam: characters of the text before another backend went on; None: none did.
        usage: input and output tokens; `finishes`: how often it finished, and with what.
        ended: it came to a proper end.
    """

    text: str
    seam: int | None
    usage: tuple[int, int] | None
    finishes: list[str]
    ended: bool
    pieces: int


class Outcome(NamedTuple):
    """One kill."""

    api: str
    seam: int
    exact: bool
    proper: bool
    usage: bool
    same: bool
    diverges: int | None


def main() -> None:
    options = _options()
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        servers = [Server(options.server_python) for _ in range(2)]
        gateway, port = _gateway(Path(folder), servers)
        try:
            for api in ("chat", "responses"):
                outcomes: list[Outcome] = []
                while len(outcomes) < options.kills:
                    outcomes.append(_kill(api, port, servers, draw))
                    print(outcomes[-1], file=sys.stderr, flush=True)
                _report(api, outcomes)
        finally:
            gateway.terminate()
            gateway.wait(10)
            for server in servers:
                server.stop()


def _kill(api: str, port: int, servers: list[Server], draw: random.Random) -> Outcome:
    """One answer in whose middle its server is killed."""
    while True:
        prompt, after = draw.choice(PROMPTS), draw.randint(1, CEILING - 4)
        body = _question(api, prompt)
        found = _read(api, port, body, servers, after)
        living = next(server for server in servers if server.process.poll() is None)
        if found.seam is not None or not found.ended:
            break
        for server in servers:  # the answer was over before its server was
            server.revive()
    outcome = _judged(api, prompt, found, living)
    for server in servers:
        server.revive()
    return outcome


def _judged(api: str, prompt: str, found: Read, living: Server) -> Outcome:
    unbroken = _read("chat", living.port, _question("chat", prompt))
    seam = found.seam or 0
    prefix, said = found.text[:seam], found.pieces
    direct = _question("chat", prompt)
    direct["messages"].append({"role": "assistant", "content": prefix})
    direct["max_tokens"] = CEILING - said
    rest = _read("chat", living.port, direct)
    assert unbroken.usage is not None
    assert rest.usage is not None
    usage = (unbroken.usage[0], said + rest.usage[1])
    same = found.text == unbroken.text
    if found.text != prefix + rest.text:
        print(f"delivered {found.text!r}\nbut asked directly {prefix!r} + {rest.text!r}", file=sys.stderr)
    diverges = None if same else _common(found.text, unbroken.text)
    return Outcome(
        api,
        seam,
        found.text == prefix + rest.text,
        found.ended and len(found.finishes) == 1 and found.finishes == rest.finishes,
        found.usage == usage,
        same,
        diverges,
    )


def _report(api: str, outcomes: list[Outcome]) -> None:
    n = len(outcomes)
    behind = sum(not outcome.same and (outcome.diverges or 0) >= outcome.seam for outcome in outcomes)
    same = sum(outcome.same for outcome in outcomes)
    print(
        f"{api}: {n} kills; prefix and continuation exact {sum(o.exact for o in outcomes)}, "
        f"one proper end {sum(o.proper for o in outcomes)}, usage right {sum(o.usage for o in outcomes)}, "
        f"equal to the unbroken answer {same}, else different behind the seam only {behind} of {n - same}",
        flush=True,
    )


def _question(api: str, prompt: str) -> dict[str, Any]:
    common: dict[str, Any] = {"model": MODEL, "stream": True, "temperature": 0}
    if api == "responses":
        return {**common, "input": prompt, "max_output_tokens": CEILING}
    options = {"include_usage": True}
    messages = [{"role": "user", "content": prompt}]
    return {**common, "messages": messages, "max_tokens": CEILING, "stream_options": options}


def _read(api: str, port: int, body: dict[str, Any], servers: list[Server] | None = None, after: int = 0) -> Read:
    """Read a stream; its server is killed after so many pieces."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=STARTS_S)
    path = "/v1/responses" if api == "responses" else "/v1/chat/completions"
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    text, pieces, before, seam, usage, finishes, ended = "", 0, 0, None, None, [], False
    try:
        for kind, data in _events(answer):
            if kind == "comment" and "rescued" in data:
                seam, before = len(text), pieces
            if kind != "data":
                continue
            piece, counted, finish, last = _parsed(api, data)
            text, pieces = text + piece, pieces + bool(piece)
            usage, finishes, ended = counted or usage, finishes + finish, ended or last
            if servers is not None and pieces == after and piece:
                servers[int((answer.getheader("x-headrace-backend") or "")[-1])].kill()
    except (http.client.HTTPException, ConnectionError):
        ended = False
    connection.close()
    return Read(text, seam, usage, finishes, ended, before if seam is not None else pieces)


def _events(answer: http.client.HTTPResponse) -> Iterator[tuple[str, str]]:
    for line in answer:
        said = line.decode().rstrip("\n")
        if said.startswith(":"):
            yield "comment", said[1:]
        elif said.startswith("data: "):
            yield "data", said[6:]


def _parsed(api: str, data: str) -> tuple[str, tuple[int, int] | None, list[str], bool]:
    """Text, usage, finish reason and end of one event."""
    if data == "[DONE]":
        return "", None, [], True
    event = json.loads(data)
    if api == "responses":
        if event["type"] not in ("response.completed", "response.incomplete"):
            return event["delta"] if event["type"] == "response.output_text.delta" else "", None, [], False
        used, finish = event["response"]["usage"], "length" if event["type"].endswith("incomplete") else "stop"
        return "", (used["input_tokens"], used["output_tokens"]), [finish], True
    used = event.get("usage")
    choice = (event.get("choices") or [{}])[0]
    finish = choice.get("finish_reason")
    counted = (used["prompt_tokens"], used["completion_tokens"]) if used else None
    return choice.get("delta", {}).get("content") or "", counted, [finish] if finish else [], False


def _common(one: str, other: str) -> int:
    """Length of the beginning that two texts share."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (left, right) in pairs if left != right), min(len(one), len(other)))


def _gateway(folder: Path, servers: list[Server]) -> tuple[subprocess.Popen[str], int]:
    """A gateway in front of both, and its port."""
    text = (ROOT / "examples" / "local" / "fleet.toml").read_text()
    fleet = folder / "fleet.toml"
    one = '{ name = "llama-1", url = "http://127.0.0.1:8090", dialect = "llama.cpp" }'
    two = [one.replace("llama-1", f"llama-{at}").replace("8090", str(each.port)) for at, each in enumerate(servers)]
    text = text.replace('calibrated = "calibration.toml"', SPEED).replace(one, ", ".join(two))
    fleet.write_text(text + LIMITS)
    line = [
        sys.executable,
        "-m",
        "headrace.cli",
        "serve",
        str(fleet),
        "--port",
        "0",
        "--admin-port",
        "0",
        "--json",
        "-",
    ]
    process = subprocess.Popen(line, cwd=folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = ""
    while not said.endswith("}\n"):
        said += process.stdout.readline()
    return process, int(json.loads(said)["url"].rpartition(":")[2].partition("/")[0])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50, help="of each API")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--server-python", default=sys.executable, help="has headrace[local] installed")
    return parser.parse_args()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


if __name__ == "__main__":
    main()
