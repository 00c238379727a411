"""Run a sweep: hand out what is missing, write what comes back, judge each group when its last point is done.

Work is handed out a little ahead of the workers, never all at once. What comes back in any order is told apart by
number, so the results do not depend on the order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from headrace.errors import ConfigError, Fault
from headrace.study.sweep.books import Books, open_books
from headrace.study.sweep.executors import open_executor
from headrace.study.sweep.grid import Grid
from headrace.study.sweep.rows import Row, rows
from headrace.study.sweep.simulation import Done, PointResult, Work, do, judged_shares

AHEAD = 2  # pieces of work handed out per worker

OnDone = Callable[[Done], None]


def run_sweep(
    grid: Grid,
    folder: Path,
    *,
    workers: int | None = None,
    ray_address: str | None = None,
    on_start: Callable[[int, int], None] | None = None,
    on_done: OnDone | None = None,
) -> list[Row]:
    """Simulate every point of the grid that `folder` does not hold yet; returns all rows, by number of the point.

    Args:
        workers: processes; None: one per core. 1: in this process.
        ray_address: of a Ray cluster, or `local`.
        on_start: told how many points are finished already, and how many there are.
        on_done: told of every piece of work as it comes back.

    Raises:
        ConfigError: the folder holds another study, a point has faults, or a worker died. What was finished is kept.
    """
    with open_books(folder, grid) as books:
        if on_start is not None:
            on_start(len(books.points), grid.points)
        todo = _Todo(grid, books)
        if not todo.finished:
            with _worker_deaths(grid), open_executor(workers, ray_address) as (executor, width):
                _work(grid, todo, books, executor, width, on_done)
        return rows(grid, books.points, books.judged)


class _Todo:
    """What is missing: points in order, and the judging of each group whose points are all done."""

    def __init__(self, grid: Grid, books: Books) -> None:
        self._grid = grid
        self._books = books
        self._ready = [group for group in range(grid.groups) if self._complete(group)]
        self._points = (number for number in range(grid.points) if number not in books.points)

    @property
    def finished(self) -> bool:
        """Whether nothing was missing when the run began."""
        return not self._ready and len(self._books.points) == self._grid.points

    def __iter__(self) -> Iterator[Work]:
        """What can be done now, groups to judge first; may be asked again after more is done."""
        while True:
            if self._ready:
                group = self._ready.pop(0)
                yield Work(group, None, judged_shares(self._grid, self._results(group)))
            else:
                number = next(self._points, None)
                if number is None:
                    return
                yield Work(number // self._grid.group_size, number)

    def done(self, work: Work) -> None:
        """A piece of work is in the books."""
        if work.point is not None and self._complete(work.group):
            self._ready.append(work.group)

    def _complete(self, group: int) -> bool:
        """Whether a group can be judged, and is not yet: its points are done, and it steers a share."""
        books = self._books
        if group in books.judged or not all(number in books.points for number in self._grid.members(group)):
            return False
        return books.points[self._grid.members(group).start].steered is not None

    def _results(self, group: int) -> list[PointResult]:
        return [self._books.points[number] for number in self._grid.members(group)]


def _work(grid: Grid, todo: _Todo, books: Books, executor: Executor, width: int, on_done: OnDone | None) -> None:
    pending: set[Future[Done]] = set()
    while True:
        for work in todo:
            pending.add(executor.submit(do, grid, work))
            if len(pending) >= AHEAD * width:
                break
        if not pending:
            return
        finished, pending = wait(pending, return_when=FIRST_COMPLETED)
        results = sorted((future.result() for future in finished), key=lambda done: done.work.order)
        for done in results:
            books.keep(done)
            todo.done(done.work)
            if on_done is not None:
                on_done(done)
        for done in results:  # what came back with it is in the books before a fault ends the run
            _check(grid, done)


def _check(grid: Grid, done: Done) -> None:
    if done.error is not None:
        number = grid.members(done.work.group).start if done.work.point is None else done.work.point
        raise ConfigError(grid.source, [Fault(grid.said(grid.point(number)), done.error)])


@contextlib.contextmanager
def _worker_deaths(grid: Grid) -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool as error:
        said = f"a worker was ended from outside ({error}); is there memory enough? Use fewer --workers, and run again"
        raise ConfigError(grid.source, [Fault("workers", said)]) from error
