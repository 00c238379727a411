"""A streaming mock backend that is not the bottleneck: one process, plain sockets, one write per token.

Tokens are due on an absolute timeline of ticks finer than an event loop's timers, so that each is a segment of its own,
as from fast silicon. With no stream under way the process blocks, and answers a request the moment it comes.

    python gateway_mock.py PORT TOKENS_PER_S
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
START = b'{"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":1760000000,"model":"bench",'
WORDS = (b" a", b" token", b",", b" streamed", b" through", b" the", b" gateway", b" in", b" unequal", b" sizes", b".")
LAST = START + b'"system_fingerprint":"fp_0","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'


def event(data: bytes) -> bytes:
    payload = b"data: " + data + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def token(word: bytes) -> bytes:
    delta = b'"delta":{"content":"%b"},"finish_reason":null' % word
    return event(START + b'"system_fingerprint":"fp_0","choices":[{"index":0,%b}]}' % delta)


TOKENS = [token(word) for word in WORDS]


def ending(tokens: int, with_usage: bool) -> bytes:
    usage = START + b'"choices":[],"usage":{"prompt_tokens":250,"completion_tokens":%d,"total_tokens":%d}}' % (
        tokens,
        tokens + 250,
    )
    return event(LAST) + (event(usage) if with_usage else b"") + event(b"[DONE]") + b"0\r\n\r\n"


class Connection:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = b""
        self.left = 0
        self.tokens = 0
        self.with_usage = False

    def readable(self) -> bool:
        """Take what came; True if the client is gone."""
        try:
            data = self.sock.recv(1 << 20)
        except BlockingIOError:
            return False
        except OSError:
            return True
        self.received += data
        head, blank, rest = self.received.partition(b"\r\n\r\n")
        if blank:
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            if len(rest) >= length:
                self.received = rest[length:]
                self.start(json.loads(rest[:length]))
        return not data

    def start(self, body: dict) -> None:
        self.tokens = self.left = body.get("max_completion_tokens") or body["max_tokens"]
        self.with_usage = bool(body.get("stream_options"))
        self.send(HEAD + TOKENS[0])
        self.left -= 1
        if not self.left:
            self.send(ending(self.tokens, self.with_usage))

    def tick(self) -> None:
        self.left -= 1
        chunk = TOKENS[self.left % len(TOKENS)]
        self.send(chunk if self.left else chunk + ending(self.tokens, self.with_usage))

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError:
            self.left = 0


def main(port: int, tokens_per_s: float) -> None:
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    listener.setblocking(False)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    connections: dict[int, Connection] = {}
    due_s = time.monotonic()
    while True:
        active = [connection for connection in connections.values() if connection.left > 0]
        ready = poll.poll(0 if active else -1)
        if not active:
            due_s = time.monotonic()
        for fd, _ in ready:
            if fd == listener.fileno():
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setblocking(True)
                connections[sock.fileno()] = Connection(sock)
                poll.register(sock, select.EPOLLIN)
            elif connections[fd].readable():
                poll.unregister(fd)
                connections.pop(fd).sock.close()
        if active:
            due_s += 1.0 / tokens_per_s
            time.sleep(max(0.0, due_s - time.monotonic()))
            for connection in active:
                if connection.left > 0:
                    connection.tick()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
