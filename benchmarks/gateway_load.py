"""The load generator of the gateway benchmark, a process of its own: closed loop over a few connections.

Reads one JSON command a line from stdin, answers with one JSON line:

    {"kind": "throughput", "port": P, "connections": C, "seconds": S, "body_bytes": B, "tokens": 0 or T,
     "api": "chat", "responses" or "messages"; left out: "chat", "key": what clients say who they are by}
    {"kind": "ttft", "ports": {NAME: P}, "samples": N, "body_bytes": B, "key": likewise}
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import uvloop

KEY = "sk-bench"
APIS = {  # path; field of the conversation; of the ceiling; what each token's event has once
    "chat": ("/v1/chat/completions", "messages", "max_tokens", b'"content"'),
    "responses": ("/v1/responses", "input", "max_output_tokens", b'"type":"response.output_text.delta"'),
    "messages": ("/v1/messages", "messages", "max_tokens", b'"text_delta"'),
}


def request(body_bytes: int, tokens: int, api: str = "chat", key: str = KEY) -> bytes:
    path, conversation, ceiling, _ = APIS[api]
    filler = "lorem ipsum " * (body_bytes // 12)
    said = [{"role": "user", "content": filler[: max(0, body_bytes - 120)]}]
    fixed = {"model": "bench", ceiling: max(tokens, 1), "stream": tokens > 0, conversation: said}
    body = json.dumps(fixed).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"accept: application/json\r\nauthorization: Bearer {key}\r\nuser-agent: bench\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Client(asyncio.Protocol):
    """Sends the same request again and again; counts responses and tokens."""

    def __init__(self, payload: bytes, stream: bool, once: bool = False, mark: bytes = APIS["chat"][3]) -> None:
        self.payload = payload
        self.mark = mark
        self.stream = stream
        self.once = once
        self.requests = 0
        self.tokens = 0
        self.stopped = False
        self.first_s = 0.0
        self.buffer = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        if not self.once:
            self.send()

    def send(self) -> None:
        self.first_s = 0.0
        self.buffer = b""
        self.transport.write(self.payload)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        if not self.first_s:
            self.first_s = time.perf_counter()
        if self.stream:
            self.tokens += data.count(self.mark)
            self.buffer = (self.buffer + data)[-16:]
            complete = self.buffer.endswith(b"\r\n0\r\n\r\n")
        else:
            self.buffer += data
            complete = self.whole()
        if complete:
            self.requests += 1
            if self.once or self.stopped:
                self.done.done() or self.done.set_result(None)
            else:
                self.send()

    def whole(self) -> bool:
        head, blank, body = self.buffer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"unexpected answer: {self.buffer[:300]!r}")
        return bool(blank) and len(body) >= int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError(f"connection lost: {exc}"))


async def connect(port: int, client: Client) -> Client:
    _, protocol = await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", port)
    return protocol


async def throughput(command: dict) -> dict:
    tokens = command["tokens"]
    api = command.get("api", "chat")
    payload, port, mark = (
        request(command["body_bytes"], tokens, api, command.get("key", KEY)),
        command["port"],
        APIS[api][3],
    )
    clients = [await connect(port, Client(payload, tokens > 0, mark=mark)) for _ in range(command["connections"])]
    started = time.perf_counter()
    await asyncio.sleep(command["seconds"])
    for client in clients:
        client.stopped = True
    await asyncio.wait_for(asyncio.gather(*(client.done for client in clients)), 30)
    seconds = time.perf_counter() - started
    for client in clients:
        client.transport.close()
    return {
        "requests": sum(client.requests for client in clients),
        "tokens": sum(client.tokens for client in clients),
        "seconds": seconds,
    }


async def ttft(command: dict) -> dict:
    payload = request(command["body_bytes"], 1, key=command.get("key", KEY))
    clients = {name: await connect(port, Client(payload, True, once=True)) for name, port in command["ports"].items()}
    samples: dict[str, list[float]] = {name: [] for name in clients}
    for _ in range(command["samples"]):
        for name, client in clients.items():
            client.done = asyncio.get_running_loop().create_future()
            started = time.perf_counter()
            client.send()
            await asyncio.wait_for(client.done, 10)
            samples[name].append(client.first_s - started)
            await asyncio.sleep(0.001)
    for client in clients.values():
        client.transport.close()
    return samples


async def main() -> None:
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        answer = await (ttft if command["kind"] == "ttft" else throughput)(command)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
