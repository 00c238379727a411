"""Where the work is done: here, in processes of this machine, or on a Ray cluster.

Each is a `concurrent.futures.Executor`, so whoever hands out the work sees no difference, and results do not depend on
which it was: work is a pure function of the grid.

Processes are spawned, not forked: a fork would inherit threads (of polars, of a notebook) in whatever state they are.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from typing import Any, TypeVar

from headrace.errors import ConfigError, Fault

T = TypeVar("T")
LOCAL_RAY = "local"


class Here(Executor):
    """Does the work at once, in this process."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """The result, or its exception, in a future that is done."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class OnRay(Executor):
    """Sends the work to the Ray cluster that this process has joined."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._remotes: dict[Callable[..., Any], Any] = {}

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """A future of the remote result."""
        if fn not in self._remotes:
            self._remotes[fn] = self._ray.remote(fn)
        future: Future[T] = self._remotes[fn].remote(*args, **kwargs).future()
        return future


@contextlib.contextmanager
def open_executor(workers: int | None, ray_address: str | None) -> Iterator[tuple[Executor, int]]:
    """An executor and how many pieces of work it does at once.

    Args:
        workers: processes of this machine, None: one per core; on a local Ray, its CPUs.
        ray_address: of a running Ray cluster, or `local`; None: no Ray.

    Raises:
        ConfigError: Ray is not installed, or cannot be reached.
    """
    count = workers or available_cores()
    if ray_address is not None:
        with _ray_cluster(ray_address, count) as (executor, width):
            yield executor, width
    elif count == 1:
        yield Here(), 1
    else:
        pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _begin_worker)
        try:
            yield pool, count
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _ray_cluster(address: str, workers: int) -> Iterator[tuple[Executor, int]]:
    try:
        import ray
    except ImportError as error:
        raise ConfigError("--ray", [Fault("ray", "is not installed; pip install 'headrace[ray]'")]) from error
    here = {"num_cpus": workers, "include_dashboard": False} if address == LOCAL_RAY else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **here)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            "--ray", [Fault(address, f"cannot be reached: {error}; start one with `ray start`")]
        ) from error
    try:
        yield OnRay(ray), max(int(ray.cluster_resources().get("CPU", 1)), 1)
    finally:
        ray.shutdown()


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _begin_worker() -> None:
    """Ctrl-C is for the process that hands out the work: it keeps what is done and ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed parent cannot tell its workers to end; without this they would wait for work forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
