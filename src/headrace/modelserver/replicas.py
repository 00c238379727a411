"""Data-parallel replicas behind one address, as many as an autoscaler wants.

A job goes to the replica with the fewest jobs (in order of start where they tie) and stays there. The autoscaler looks
every `interval_s` seconds:

    desired = ceil(jobs in flight / target_in_flight), within [min_replicas, max_replicas]

Up at once: a new replica takes jobs `start_s` later, when the model is loaded. Down only to the most that was desired
in the last `scale_down_delay_s` seconds: the youngest replicas take no new jobs and stop when they are empty; while
they still run, they are the first to be taken back. Source: the horizontal pod autoscaler of Kubernetes (desired value,
stabilization window of 300 s for scaling down and 0 s up, interval of 15 s).

Law: with a fixed count, jobs end as on that many servers that were handed the same jobs; jobs in flight are never lost
by scaling; the count stays within its bounds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import ceil
from typing import Generic, TypeVar

from headrace.errors import InvariantError, ModelRangeError
from headrace.fleet import Replicas
from headrace.modelserver.sequence import check_time
from headrace.modelserver.server import Job, Milestone, ModelServer, Report
from headrace.sums import float_sum

S = TypeVar("S", bound=ModelServer)


class Autoscaler:
    """Decides how many replicas there should be. Pure: time and load come in, a count goes out."""

    def __init__(self, settings: Replicas) -> None:
        self._settings = settings
        self._wanted: deque[tuple[float, int]] = deque()  # (when, desired), desired falling from left to right

    def desired(self, now_s: float, in_flight: int) -> int:
        """Replicas wanted now, with so many jobs in flight; `now_s` never decreases."""
        settings, wanted = self._settings, self._wanted
        count = ceil(in_flight / settings.target_in_flight) if settings.target_in_flight else settings.min_replicas
        count = min(max(count, settings.min_replicas), settings.max_replicas)
        while wanted and wanted[-1][1] <= count:
            wanted.pop()
        wanted.append((now_s, count))
        while wanted[0][0] < now_s - settings.scale_down_delay_s:
            wanted.popleft()
        return wanted[0][1]


class _Replica(Generic[S]):
    """One server, its jobs that have not ended, when it began to take jobs, and since when it is paid for."""

    __slots__ = ("draining", "in_flight", "ready_s", "server", "since_s")

    def __init__(self, server: S, since_s: float, ready_s: float) -> None:
        self.server = server
        self.since_s = since_s
        self.ready_s = ready_s
        self.draining = False
        self.in_flight = 0


class ReplicatedServer(Generic[S]):
    """Implements `ModelServer` for all replicas of a deployment behind one address.

    Raises:
        ModelRangeError: the bounds on the count are not 1 <= min <= max.
    """

    def __init__(self, start: Callable[[], S], settings: Replicas) -> None:
        """
        Args:
            start: a new, idle replica.
        """
        if not 1 <= settings.min_replicas <= settings.max_replicas:
            raise ModelRangeError(f"replicas: {settings.min_replicas} to {settings.max_replicas} is no range from 1 up")
        self._start, self._settings = start, settings
        self._scaler = Autoscaler(settings)
        self._replicas = [_Replica(start(), 0.0, 0.0) for _ in range(settings.min_replicas)]
        self._where: dict[int, _Replica[S]] = {}
        self._ended: dict[int, tuple[int, float | None]] = {}  # tokens and first due time of who ended last `advance`
        self._ending: dict[int, tuple[int, float | None]] = {}  # of those that end in the next
        self._reports: list[Report] = []
        self._tick_s = settings.interval_s
        self._now_s = 0.0
        self._stopped_busy_s = self._stopped_s = 0.0

    def submit(self, now_s: float, job: Job) -> None:
        """Hand a job to the replica with the fewest. Raises ModelRangeError if it can never fit."""
        self._hand_over(now_s, job, lambda server: server.submit(now_s, job))

    def abort(self, now_s: float, job_id: int) -> None:
        """Drop a job. Unknown or ended jobs are ignored."""
        self._run(now_s)
        replica = self._where.pop(job_id, None)
        if replica is not None:
            replica.in_flight -= 1
            replica.server.abort(now_s, job_id)

    def next_s(self) -> float | None:
        """When `advance` next has something to report; None when nothing runs."""
        times = [replica.server.next_s() for replica in self._replicas]
        return min((at_s for at_s in times if at_s is not None), default=None)

    def advance(self, now_s: float) -> list[Report]:
        """Move to `now_s` and report everything that happened up to then, in time order."""
        self._run(now_s)
        reports, self._reports = self._reports, []
        self._ended, self._ending = self._ending, {}
        return reports

    def produced(self, now_s: float, job_id: int) -> int:
        """Tokens that this job has delivered by `now_s`; a job that ended in the last `advance` still counts."""
        replica = self._where.get(job_id)
        return self._ended.get(job_id, (0, None))[0] if replica is None else replica.server.produced(now_s, job_id)

    def token_due_s(self, job_id: int, token: int) -> float | None:
        """When token number `token` (1-based) is due; None if the job is not decoding.

        The first token of a job that ended in the last `advance` is still known.
        """
        replica = self._where.get(job_id)
        if replica is None:
            return self._ended.get(job_id, (0, None))[1] if token == 1 else None
        return replica.server.token_due_s(job_id, token)

    @property
    def replicas(self) -> int:
        """Replicas that are there: starting, serving or draining."""
        return len(self._replicas)

    def replica_s(self, now_s: float) -> float:
        """Seconds of all replicas, from their start to their stop, up to `now_s`: what is paid for."""
        self._run(now_s)
        return self._stopped_s + float_sum(now_s - replica.since_s for replica in self._replicas)

    @property
    def running(self) -> int:
        """Jobs being prefilled or decoded."""
        return sum(replica.server.running for replica in self._replicas)

    @property
    def waiting(self) -> int:
        """Jobs that wait for room."""
        return sum(replica.server.waiting for replica in self._replicas)

    @property
    def busy_s(self) -> float:
        """Busy seconds of all replicas together."""
        return self._stopped_busy_s + float_sum(replica.server.busy_s for replica in self._replicas)

    @property
    def kv_tokens(self) -> int:
        """Context tokens that the running jobs hold."""
        return sum(replica.server.kv_tokens for replica in self._replicas)

    # -- the machine

    def _hand_over(self, now_s: float, job: Job, give: Callable[[S], None]) -> None:
        """Give a job to the replica with the fewest; the first replica always takes jobs."""
        self._run(now_s)
        if job.job_id in self._where:
            raise InvariantError(f"job {job.job_id} was submitted twice: give every job its own id")
        ready = [each for each in self._replicas if each.ready_s <= now_s and not each.draining]
        replica = min(ready, key=lambda each: each.in_flight)
        give(replica.server)
        replica.in_flight += 1
        self._where[job.job_id] = replica

    def _run(self, now_s: float) -> None:
        """Advance every replica, with a look at the load whenever one is due on the way."""
        check_time(now_s, self._now_s)
        if self._settings.min_replicas < self._settings.max_replicas:
            while self._tick_s <= now_s:
                self._look(self._tick_s)
                self._tick_s += self._settings.interval_s
        self._advance(now_s)

    def _look(self, now_s: float) -> None:
        """Scale to the load as it is at `now_s`."""
        self._advance(now_s)
        in_flight = sum(replica.in_flight for replica in self._replicas)
        self._scale(now_s, self._scaler.desired(now_s, in_flight))

    def _advance(self, now_s: float) -> None:
        """Collect what all replicas report up to `now_s`."""
        found: list[Report] = []
        for replica in self._replicas:
            reports = replica.server.advance(now_s)
            found += reports
            for report in reports:
                if report.milestone is Milestone.FINISHED:
                    tokens = replica.server.produced(now_s, report.job_id)
                    self._ending[report.job_id] = (tokens, replica.server.token_due_s(report.job_id, 1))
                    del self._where[report.job_id]
                    replica.in_flight -= 1
        self._reports += sorted(found, key=lambda report: report.at_s)
        self._now_s = now_s

    def _scale(self, now_s: float, desired: int) -> None:
        """Bring the replicas that take jobs, or soon will, to the desired count."""
        active = [replica for replica in self._replicas if not replica.draining]
        for replica in active[desired:]:
            replica.draining = True
        for replica in [each for each in self._replicas if each.draining][: max(0, desired - len(active))]:
            replica.draining = False
        missing = desired - sum(not replica.draining for replica in self._replicas)
        for _ in range(missing):
            self._replicas.append(_Replica(self._start(), now_s, now_s + self._settings.start_s))
        for replica in [each for each in self._replicas if each.draining and not each.in_flight]:
            self._stop(now_s, replica)

    def _stop(self, now_s: float, replica: _Replica[S]) -> None:
        self._replicas.remove(replica)
        self._stopped_s += now_s - replica.since_s
        self._stopped_busy_s += replica.server.busy_s
