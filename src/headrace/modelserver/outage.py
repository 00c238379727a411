"""A replica that can lose an accelerator.

All accelerators of a replica work on every token: of a pipeline that holds the weights in SRAM each chip or wafer has
some layers, of a tensor-parallel group each has a part of every layer. So a lost one loses the replica, and all jobs
with their KV. With a spare the replica serves again after `recover_s`; without one, as soon as a lost one is repaired:

    serves again at = loss + recover_s                           with a spare
                      the next repair + recover_s                without; each loss is repaired `repair_s` later

Until then it takes no job. A loss while it is down takes another accelerator, and the recovery begins anew.

Law: every job that was in flight is lost, once; accelerators that serve, stand by and are repaired add up.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from headrace.errors import CapacityError
from headrace.fleet import Spares
from headrace.modelserver.sequence import check_time
from headrace.modelserver.server import Job, Milestone, ModelServer, Report


class FragileServer:
    """Implements `ModelServer` for one replica whose accelerators can be lost.

    Attributes:
        up_s: when it serves, or served, again after the last loss.
    """

    def __init__(self, start: Callable[[], ModelServer], spares: Spares) -> None:
        """
        Args:
            start: the replica, newly started and idle.
        """
        self._start = start
        self._settings = spares
        self._server = start()
        self._spares = spares.count
        self._repairs: list[float] = []  # when lost accelerators will stand by
        self._in_flight: dict[int, None] = {}
        self._now_s = 0.0
        self._lost_busy_s = 0.0
        self.up_s = 0.0

    @property
    def spares(self) -> int:
        """Accelerators that stand by, as of the last call."""
        return self._spares

    def lose_accelerator(self, now_s: float) -> list[int]:
        """One accelerator is gone; returns the jobs that are lost with it, in order of submission.

        What was due by then must have been collected with `advance`.
        """
        self._run(now_s)
        lost = list(self._in_flight)
        self._in_flight.clear()
        self._server.advance(now_s)
        self._lost_busy_s += self._server.busy_s
        self._server = self._start()
        heappush(self._repairs, now_s + self._settings.repair_s)
        replaced_s = now_s
        if self._spares:
            self._spares -= 1
        else:
            replaced_s = heappop(self._repairs)
        self.up_s = max(self.up_s, replaced_s) + self._settings.recover_s
        return lost

    def submit(self, now_s: float, job: Job) -> None:
        """Accept a job. Raises CapacityError while the replica is down."""
        self._run(now_s)
        if now_s < self.up_s:
            wait_s = self.up_s - now_s
            raise CapacityError(f"replica lost an accelerator; it serves again in {wait_s:.3g} s", wait_s)
        self._server.submit(now_s, job)
        self._in_flight[job.job_id] = None

    def abort(self, now_s: float, job_id: int) -> None:
        """Drop a job. Unknown, lost or ended jobs are ignored."""
        self._run(now_s)
        self._in_flight.pop(job_id, None)
        self._server.abort(now_s, job_id)

    def next_s(self) -> float | None:
        """When `advance` will next have something to report; None when nothing runs."""
        return self._server.next_s()

    def advance(self, now_s: float) -> list[Report]:
        """Move to `now_s` and report everything that happened up to then, in time order."""
        self._run(now_s)
        reports = self._server.advance(now_s)
        for report in reports:
            if report.milestone is Milestone.FINISHED:
                del self._in_flight[report.job_id]
        return reports

    def produced(self, now_s: float, job_id: int) -> int:
        """Tokens that this job has delivered by `now_s`; 0 for one that was lost."""
        return self._server.produced(now_s, job_id)

    def token_due_s(self, job_id: int, token: int) -> float | None:
        """When token number `token` (1-based) is due; None if the job is not decoding."""
        return self._server.token_due_s(job_id, token)

    @property
    def running(self) -> int:
        """Jobs being prefilled or decoded."""
        return self._server.running

    @property
    def waiting(self) -> int:
        """Jobs that wait for room."""
        return self._server.waiting

    @property
    def busy_s(self) -> float:
        """Busy seconds, also those whose work was lost."""
        return self._lost_busy_s + self._server.busy_s

    @property
    def kv_tokens(self) -> int:
        """Context tokens that the running jobs hold."""
        return self._server.kv_tokens

    def _run(self, now_s: float) -> None:
        """Repaired accelerators stand by."""
        check_time(now_s, self._now_s)
        self._now_s = now_s
        while self._repairs and self._repairs[0] <= now_s:
            heappop(self._repairs)
            self._spares += 1
