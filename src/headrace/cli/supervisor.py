"""The supervisor of several workers: starts them, starts again what crashes, and ends them in peace.

It holds the ports (bound, not listening, so that nobody else gets them while a worker is down) and a directory in
shared memory; requests never come by here. Every worker is a fresh process that is executed, not a copy of this one.
The pipe to a worker's standard input says that this process lives: at its end a worker drains, so none outlives its
supervisor. A worker that crashes is started again at once, and later each time it crashes soon, up to `LATEST_S`.

    SIGTERM, SIGINT   passed on: every worker drains; a second one ends them where they stand
    SIGHUP            passed on: every worker reads the fleet file again
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from headrace.cli.worker import WorkerSettings, shared_pages
from headrace.gateway import Supervised
from headrace.telemetry import tell

SOONEST_S = 0.1
LATEST_S = 10.0
HEALTHY_S = 30.0  # who has lived so long crashes for a reason of its own
LOOK_S = 0.5  # at the latest
SHARED_MEMORY = Path("/dev/shm")
STOPPED = 0
FAILED = 1

Started = Callable[[int, int], None]


class _Worker:
    """One worker, while it runs and while it waits to be started again."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.restarts = 0
        self.ready = False
        self.process: subprocess.Popen[bytes] | None = None
        self.started_s = 0.0
        self.due_s = 0.0
        self._backoff_s = SOONEST_S

    def start(self, settings: WorkerSettings) -> None:
        """Execute it."""
        own = msgspec.structs.replace(settings, number=self.number, restarts=self.restarts)
        command = [sys.executable, "-m", "headrace.cli.worker", msgspec.json.encode(own).decode()]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0, bufsize=0
        )
        self.started_s = time.monotonic()
        self.ready = False

    def crashed(self) -> float:
        """It is to be started again: returns in how many seconds."""
        lived_s = time.monotonic() - self.started_s
        self._backoff_s = SOONEST_S if lived_s >= HEALTHY_S else min(2.0 * self._backoff_s, LATEST_S)
        self.restarts += 1
        self.due_s = time.monotonic() + self._backoff_s
        return self._backoff_s

    def close(self) -> None:
        """Free what belonged to its process."""
        if self.process is not None:
            for stream in (self.process.stdin, self.process.stdout):
                if stream is not None:
                    stream.close()
            self.process = None


class Supervisor:
    """Runs several workers until it is told to stop."""

    def __init__(self, settings: WorkerSettings, started: Started) -> None:
        """
        Args:
            settings: of every worker; `shared` is set here, and the ports where they are 0.
            started: told the two ports when all workers listen.
        """
        self._settings = settings
        self._started = started
        self._workers = [_Worker(number) for number in range(settings.workers)]
        self._selector = selectors.DefaultSelector()
        self._stopping = 0
        self._announced = False

    def run(self) -> int:
        """Serve until a signal. Returns the exit code: 0, or that of a worker that could not be started.

        Raises:
            OSError: a port cannot be had.
        """
        given = self._settings
        clients, operators = _held(given.host, given.port), _held(given.admin_host, given.admin_port)
        with clients as port, operators as admin_port, _shared() as shared:
            self._settings = msgspec.structs.replace(
                self._settings, port=port, admin_port=admin_port, shared=str(shared), gateway=os.urandom(8).hex()
            )
            self._pages = shared_pages(shared, len(self._workers))
            with self._signals():
                try:
                    return self._loop()
                finally:
                    self._end_all()

    def _loop(self) -> int:
        self._tell_restarts()
        for worker in self._workers:
            self._start(worker)
        while any(worker.process is not None or not self._stopping for worker in self._workers):
            for key, _ in self._selector.select(LOOK_S):
                self._heard(key)
            for worker in self._workers:
                code = self._look_at(worker)
                if code is not None:
                    return code
        return STOPPED

    def _start(self, worker: _Worker) -> None:
        worker.start(self._settings)
        assert worker.process is not None
        assert worker.process.stdout is not None
        self._selector.register(worker.process.stdout, selectors.EVENT_READ, worker)

    def _heard(self, key: selectors.SelectorKey) -> None:
        """A worker says that it listens, or its output is at its end; or a signal came, and has been handled."""
        worker = key.data
        if not isinstance(worker, _Worker):
            key.fileobj.recv(64)  # type: ignore[union-attr]
            return
        said = os.read(key.fd, 4096)
        if not said:
            self._selector.unregister(key.fileobj)
        elif said.startswith(b"ready "):
            worker.ready = True
            if not self._announced and all(each.ready for each in self._workers):
                self._announced = True
                self._started(self._settings.port, self._settings.admin_port)

    def _look_at(self, worker: _Worker) -> int | None:
        """Start it again if it is gone; returns an exit code if there is no use in that."""
        if worker.process is None:
            if not self._stopping and time.monotonic() >= worker.due_s:
                self._start(worker)
            return None
        code = worker.process.poll()
        if code is None:
            return None
        self._forget(worker)
        if self._stopping:
            return None
        if not self._announced:
            return code if code > 0 else FAILED  # it said why
        wait_s = worker.crashed()
        self._tell_restarts()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
        tell(f"worker {worker.number} {how}; it is started again in {wait_s:g} s (restart {worker.restarts})")
        return None

    def _forget(self, worker: _Worker) -> None:
        process = worker.process
        if process is not None and process.stdout is not None and process.stdout in self._selector.get_map():
            self._selector.unregister(process.stdout)
        worker.close()

    def _tell_restarts(self) -> None:
        """To the workers, whose /metrics show it."""
        said = Supervised(os.getpid(), [worker.restarts for worker in self._workers])
        self._pages.write(len(self._workers), msgspec.msgpack.encode(said))

    def _end_all(self) -> None:
        for worker in self._workers:
            if worker.process is not None:
                worker.process.kill()
                worker.process.wait()
                self._forget(worker)

    # signals

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Signals are passed on, and wake the loop; afterwards they are as before."""
        ours, wakes = socket.socketpair()
        ours.setblocking(False)
        wakes.setblocking(False)
        self._selector.register(ours, selectors.EVENT_READ)
        handlers = {
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
            signal.SIGHUP: self._pass_on,
            signal.SIGCHLD: lambda number, frame: None,
        }
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        woken = signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(woken)
            for number, handler in before.items():
                signal.signal(number, handler)
            ours.close()
            wakes.close()

    def _stop(self, number: int, frame: object) -> None:
        self._stopping += 1
        self._pass_on(signal.SIGTERM if self._stopping == 1 else signal.SIGKILL, frame)

    def _pass_on(self, number: int, frame: object) -> None:
        for worker in self._workers:
            if worker.process is not None and worker.process.poll() is None:
                worker.process.send_signal(number)


@contextmanager
def _held(host: str, port: int) -> Iterator[int]:
    """Hold a port that workers will share. Raises OSError: somebody has it, even if he would share it."""
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    with socket.create_server((host, port), family=family) as alone:
        number: int = alone.getsockname()[1]
    held = socket.socket(family, socket.SOCK_STREAM)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((host, number))
        yield number
    finally:
        held.close()


@contextmanager
def _shared() -> Iterator[Path]:
    """A directory in memory, if there is one, for as long as the supervisor lives."""
    root = str(SHARED_MEMORY) if os.access(SHARED_MEMORY, os.W_OK) else None
    directory = Path(tempfile.mkdtemp(prefix="headrace-", dir=root))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
