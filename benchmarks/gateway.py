"""What the gateway costs, beside nginx, in the same run on the same machine.

Servers: nginx as a plain proxy (one worker, keep-alive to the backend, no buffering, no access log) and headrace (one
worker, 8 backends, full policy). Both stand before the same mocks, which are processes of their own: nginx itself for
whole answers, `gateway_mock.py` for streams. The load generator is a process of its own too. Measured is the CPU time
of each server's process tree from /proc, per request and per streamed token, as the median over interleaved rounds;
and TTFT through each server less TTFT direct.

`--watched` runs three more gateways in the same rounds: with keys (a thousand, and who asks has one), an access log,
and /metrics asked for before each of its turns; with OpenTelemetry too, at 1 % head sampling; and at 100 %.

`--against CHECKOUT` runs another version's gateway in the same rounds: whether a change made it dearer.

What it does not show: behaviour under overload, latency at high load, anything but loopback.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from headrace.tenancy import Key, changing, new_secret

HERE = Path(__file__).resolve().parent
TARGETS = {"request_ratio": 5.0, "token_ratio": 1.1, "added_ttft_1kb_s": 0.0005, "added_ttft_200kb_s": 0.0015}
WATCHED: dict[str, dict[str, object]] = {
    "logged": {},
    "traced-1": {"sampling_ratio": 0.01},
    "traced-100": {"sampling_ratio": 1.0},
}
WATCHED_TARGETS = {"logged": 1.10, "traced-1": 1.15}
ANSWER = (
    '{"id":"chatcmpl-0","object":"chat.completion","created":1760000000,"model":"bench","system_fingerprint":null,'
    '"choices":[{"index":0,"message":{"role":"assistant","content":"' + "lorem ipsum " * 40 + '"},'
    '"finish_reason":"stop"}],"usage":{"prompt_tokens":250,"completion_tokens":80,"total_tokens":330}}'
)
NGINX = """
worker_processes 1;
daemon off;
pid {dir}/{name}.pid;
error_log {dir}/{name}.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  client_max_body_size 32m; client_body_buffer_size 1m;
  keepalive_requests 1000000000; keepalive_timeout 300s; tcp_nodelay on;
  {http}
}}
"""
PROXY = """
  upstream backend{port} {{ server 127.0.0.1:{backend}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://backend{port}; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_request_buffering off;
    }}
  }}
"""
MOCK = """
  server {{
    listen 127.0.0.1:{port};
    location / {{ default_type application/json; return 200 '{answer}'; }}
  }}
"""


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def wait_for(port: int, process: subprocess.Popen[Any], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"{process.args} ended at once with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port} after {seconds} s: {process.args}")


def process_tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid] + [descendant for child in children for descendant in process_tree(int(child))]


def cpu_s(pid: int) -> float:
    """CPU time of all live threads of a process tree, to the nanosecond: ticks of 10 ms are too coarse a measure."""
    tasks = [task for member in process_tree(pid) for task in Path(f"/proc/{member}/task").iterdir()]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def thousand_keys(path: Path) -> str:
    """Make a key file; returns the secret of one of its keys."""
    made = [new_secret(0.0) for _ in range(1000)]
    with changing(path) as keys:
        keys += [Key(name=f"key-{k}", tenant=f"tenant-{k % 20}", secrets=(each.kept,)) for k, each in enumerate(made)]
    return made[500].text


class Bench:
    """The processes of one benchmark run, and the measurements on them."""

    def __init__(self, folder: Path, nginx: str, against: Path | None = None, watched: bool = False) -> None:
        self.against = against
        self.watched = watched
        self.metrics_ports: dict[int, int] = {}
        self.key = "sk-bench"
        self.processes: list[subprocess.Popen[Any]] = []
        try:
            self.start(folder, nginx)
        except BaseException:
            self.close()
            raise

    def start(self, folder: Path, nginx: str) -> None:
        whole, streams, proxy_whole, proxy_streams, own_whole, own_streams = free_ports(6)
        self.ports = {
            "whole": {"direct": whole, "nginx": proxy_whole, "headrace": own_whole},
            "stream": {"direct": streams, "nginx": proxy_streams, "headrace": own_streams},
        }
        self.nginx(nginx, folder, "mock", MOCK.format(port=whole, answer=ANSWER), whole)
        self.python("gateway_mock.py", streams, 2000.0, port=streams)
        proxies = PROXY.format(port=proxy_whole, backend=whole) + PROXY.format(port=proxy_streams, backend=streams)
        proxy = self.nginx(nginx, folder, "proxy", proxies, proxy_whole)
        first = self.python("gateway_under_test.py", own_whole, whole, folder / "whole.ledger", port=own_whole)
        second = self.python("gateway_under_test.py", own_streams, streams, folder / "s.ledger", port=own_streams)
        self.pids = {
            "whole": {"nginx": proxy.pid, "headrace": first.pid},
            "stream": {"nginx": proxy.pid, "headrace": second.pid},
        }
        if self.against is not None:
            for kind, backend in (("whole", whole), ("stream", streams)):
                (port,) = free_ports(1)
                started = self.other(self.against, port, backend, folder / f"{kind}-before.ledger")
                self.ports[kind]["before"], self.pids[kind]["before"] = port, started.pid
        if self.watched:
            self.watch(folder, whole, streams)
        self.load = subprocess.Popen(
            [sys.executable, str(HERE / "gateway_load.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.processes.append(self.load)

    def watch(self, folder: Path, whole: int, streams: int) -> None:
        """The same gateway, guarded by keys and watched in several ways."""
        (collector,) = free_ports(1)
        keys = folder / "keys.json"
        self.key = thousand_keys(keys)
        self.python("gateway_collector.py", collector, port=collector)
        for name, more in WATCHED.items():
            for kind, backend in (("whole", whole), ("stream", streams)):
                port, admin_port = free_ports(2)
                where = {"access_log_file": str(folder / f"{kind}-{name}.log")}
                if "sampling_ratio" in more:
                    where["otlp_endpoint"] = f"http://127.0.0.1:{collector}"
                telemetry = {"access_log": True, **where, **more}
                settings = json.dumps({"telemetry": telemetry, "admin_port": admin_port, "keys": str(keys)})
                ledger = folder / f"{kind}-{name}.ledger"
                script = ("gateway_under_test.py", port, backend, ledger, "openai-compatible", settings)
                self.ports[kind][name], self.pids[kind][name] = port, self.python(*script, port=port).pid
                self.metrics_ports[port] = admin_port

    def nginx(self, binary: str, folder: Path, name: str, http: str, port: int) -> subprocess.Popen[Any]:
        config = folder / f"{name}.conf"
        config.write_text(NGINX.format(dir=folder, name=name, http=http))
        command = [binary, "-p", str(folder), "-c", str(config), "-e", str(folder / f"{name}.log")]
        return self.started(command, port)

    def python(self, script: str, *arguments: object, port: int) -> subprocess.Popen[Any]:
        return self.started([sys.executable, str(HERE / script), *map(str, arguments)], port)

    def other(self, checkout: Path, port: int, backend: int, ledger: Path) -> subprocess.Popen[Any]:
        """The gateway of another checkout, by this one's interpreter and packages."""
        command = [sys.executable, str(checkout / "benchmarks" / "gateway_under_test.py")]
        env = os.environ | {"PYTHONPATH": str(checkout / "src")}
        return self.started([*command, str(port), str(backend), str(ledger)], port, env)

    def started(self, command: list[str], port: int, env: dict[str, str] | None = None) -> subprocess.Popen[Any]:
        process = subprocess.Popen(command, env=env)
        self.processes.append(process)
        wait_for(port, process)
        return process

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self.load.stdin is not None
        assert self.load.stdout is not None
        self.load.stdin.write(json.dumps(command) + "\n")
        self.load.stdin.flush()
        line = self.load.stdout.readline()
        if not line:
            raise SystemExit("the load generator ended; its message is above")
        return json.loads(line)

    def cpu_per_unit_s(self, kind: str, server: str, seconds: float) -> tuple[float, float]:
        """CPU seconds per request or token, and requests or tokens per second."""
        pid = self.pids[kind][server]
        before = cpu_s(pid)
        if server in WATCHED:
            port = self.metrics_ports[self.ports[kind][server]]
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read()
        answer = self.ask(
            {
                "kind": "throughput",
                "port": self.ports[kind][server],
                "connections": 16,
                "seconds": seconds,
                "body_bytes": 1000,
                "tokens": 1000 if kind == "stream" else 0,
                "key": self.key,
            }
        )
        count = answer["tokens" if kind == "stream" else "requests"]
        return (cpu_s(pid) - before) / count, count / answer["seconds"]

    def added_ttft_s(self, body_bytes: int, samples: int) -> dict[str, float]:
        """Median TTFT through each server, less the median direct."""
        answer = self.ask(
            {
                "kind": "ttft",
                "ports": self.ports["stream"],
                "samples": samples,
                "body_bytes": body_bytes,
                "key": self.key,
            }
        )
        median = {name: statistics.median(values) for name, values in answer.items()}
        return {name: median[name] - median["direct"] for name in self.servers}

    @property
    def servers(self) -> tuple[str, ...]:
        """What is compared."""
        return tuple(self.pids["whole"])

    def close(self) -> None:
        for process in reversed(self.processes):  # those first that still have something to say to the others
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


def measure(bench: Bench, rounds: int, seconds: float, samples: int) -> dict[str, Any]:
    cpu: dict[str, dict[str, list[float]]] = {k: {name: [] for name in bench.servers} for k in ("whole", "stream")}
    rate: dict[str, dict[str, list[float]]] = {k: {name: [] for name in bench.servers} for k in ("whole", "stream")}
    for kind in cpu:  # warm up: connections, caches, learnt chunk sizes
        for server in cpu[kind]:
            bench.cpu_per_unit_s(kind, server, 0.3)
    for number in range(rounds):
        for kind in cpu:
            for server in list(cpu[kind])[:: 1 if number % 2 else -1]:  # who comes later gets no warmer machine
                unit_s, per_s = bench.cpu_per_unit_s(kind, server, seconds)
                cpu[kind][server].append(unit_s)
                rate[kind][server].append(per_s)
    return {
        "schema": 1,
        "rounds": rounds,
        "cpu_s": {kind: {name: statistics.median(v) for name, v in by.items()} for kind, by in cpu.items()},
        "cpu_s_range": {kind: {name: [min(v), max(v)] for name, v in by.items()} for kind, by in cpu.items()},
        "rate_per_s": {kind: {name: statistics.median(v) for name, v in by.items()} for kind, by in rate.items()},
        "added_ttft_s": {"1kb": bench.added_ttft_s(1_000, samples), "200kb": bench.added_ttft_s(200_000, samples)},
        "ttft_samples": samples,
        "targets": TARGETS,
    }


def show(result: dict[str, Any]) -> None:
    table = Table(title=f"gateway beside nginx (median of {result['rounds']} rounds, range)")
    for column in ("", "nginx", "headrace", "ratio or added", "target"):
        table.add_column(column, justify="left" if not column else "right")
    for kind, label, target in (
        ("whole", "CPU per request, no stream", "request_ratio"),
        ("stream", "CPU per streamed token", "token_ratio"),
    ):
        cells = []
        for server in ("nginx", "headrace"):
            low, high = result["cpu_s_range"][kind][server]
            cells.append(f"{result['cpu_s'][kind][server] * 1e6:.1f} us ({low * 1e6:.1f} to {high * 1e6:.1f})")
        ratio = result["cpu_s"][kind]["headrace"] / result["cpu_s"][kind]["nginx"]
        table.add_row(label, *cells, f"{ratio:.2f}x", f"<= {TARGETS[target]}x")
        rates = [f"{result['rate_per_s'][kind][server]:,.0f}/s" for server in ("nginx", "headrace")]
        table.add_row("  at a rate of", *rates, "", "")
    for size, target in (("1kb", "added_ttft_1kb_s"), ("200kb", "added_ttft_200kb_s")):
        added = result["added_ttft_s"][size]
        cells = [f"+{added[server] * 1e3:.2f} ms" for server in ("nginx", "headrace")]
        label = f"added TTFT p50, {size} body (n={result['ttft_samples']})"
        table.add_row(label, *cells, cells[1], f"<= {TARGETS[target] * 1e3} ms")
    Console().print(table)
    for kind, by in result["cpu_s"].items():
        for name in WATCHED:
            if name in by:
                target = f" (target: <= {WATCHED_TARGETS[name]})" if name in WATCHED_TARGETS else ""
                Console().print(f"{kind}, {name}: {by[name] / by['headrace']:.3f} of the CPU time without{target}")
        if "before" in by:
            Console().print(f"{kind}: {by['headrace'] / by['before']:.3f} of the other checkout's CPU time")


def main(
    rounds: Annotated[int, typer.Option(help="Interleaved rounds per server and kind.")] = 5,
    seconds: Annotated[float, typer.Option(help="Seconds per round.")] = 3.0,
    samples: Annotated[int, typer.Option(help="TTFT samples per server and body size.")] = 300,
    against: Annotated[Path | None, typer.Option(help="Checkout of another version to run beside it.")] = None,
    watched: Annotated[bool, typer.Option(help="Gateways with keys, access log, OpenTelemetry beside it.")] = False,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
) -> None:
    """Measure the gateway's CPU per request and per token beside nginx, and the TTFT it adds."""
    nginx = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if nginx is None:
        raise SystemExit("nginx is missing, and headrace is compared with it: apt-get install nginx-light")
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        os.chmod(folder, 0o755)
        bench = Bench(Path(folder), nginx, against, watched)
        try:
            result = measure(bench, rounds, seconds, samples)
        finally:
            bench.close()
    result["cpus"] = os.cpu_count()
    show(result)
    if json_path is not None:
        json_path.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    typer.run(main)
