"""A model server that can be out of reach, slow, or short of its quota.

**Slow is a slow clock.** A server is a pure state machine on its driver's clock, so one whose every step takes f times
as long is the same server on a clock that runs f times slower, whatever kind of server it is:

    local(t) = local(t0) + (t - t0) / f          since the factor last changed, at t0

Its rate limits are the provider's and keep their pace. All else on the local clock is slow with it: a cache's TTL, an
autoscaler's looks, a recovery. Busy seconds and seconds of replicas are counted on the driver's clock.

Law: with a constant factor, every report comes f times as late after the start as without; without impairments the
server behaves as if it were not wrapped.
"""

from __future__ import annotations

from math import ulp

import msgspec

from headrace.errors import BackendError, CapacityError
from headrace.modelserver.factory import replica_s
from headrace.modelserver.hosted import HostedServer
from headrace.modelserver.outage import FragileServer
from headrace.modelserver.server import Job, ModelServer, Report


class SlowClock:
    """Maps the driver's time to a server's own and back.

    Attributes:
        factor: driver's seconds in a second of the server's.
    """

    def __init__(self) -> None:
        self.factor = 1.0
        self._now_s = 0.0
        self._local_s = 0.0

    def set(self, now_s: float, factor: float) -> None:
        """Run `factor` times slower from now on."""
        self._local_s, self._now_s, self.factor = self.local_s(now_s), now_s, factor

    def local_s(self, now_s: float) -> float:
        """The server's time at `now_s`, which is not before the last `set`."""
        return self._local_s + (now_s - self._now_s) / self.factor

    def outside_s(self, local_s: float) -> float:
        """The first time at which the server's clock reads `local_s`, or more by rounding."""
        at_s = self._now_s + max(local_s - self._local_s, 0.0) * self.factor
        step_s = ulp(at_s)
        while self.local_s(at_s) < local_s:
            at_s += step_s
            step_s *= 2.0
        return at_s


class ImpairedServer:
    """Implements `ModelServer` around another; its changes take hold when what was due has been collected (`advance`).

    Attributes:
        reachable: whether it takes jobs.
    """

    def __init__(self, server: ModelServer) -> None:
        self.reachable = True
        self._server = server
        self._clock = SlowClock()
        self._granted = 1.0
        self._counted = _Counted(server)

    def slow(self, now_s: float, factor: float) -> None:
        """From now on everything takes `factor` times as long as declared."""
        self._counted.count(self._clock.local_s(now_s), self._clock.factor)
        self._clock.set(now_s, factor)
        self.grant(now_s, self._granted)

    def grant(self, now_s: float, fraction: float) -> None:
        """From now on a service grants `fraction` of its declared rate limits."""
        self._granted = fraction
        if isinstance(self._server, HostedServer):
            self._server.grant(self._clock.local_s(now_s), fraction, self._clock.factor)

    def lose_accelerator(self, now_s: float) -> None:
        """One accelerator is lost, and every job with it."""
        if isinstance(self._server, FragileServer):
            self._server.lose_accelerator(self._clock.local_s(now_s))

    def recovered_s(self) -> float:
        """When it has got over its losses, as things stand."""
        return self._clock.outside_s(self._server.up_s) if isinstance(self._server, FragileServer) else 0.0

    def submit(self, now_s: float, job: Job) -> None:
        """Accept a job. Raises BackendError while out of reach, and what the server raises."""
        if not self.reachable:
            raise BackendError("connection refused: the backend is down; try another")
        try:
            self._server.submit(self._clock.local_s(now_s), job)
        except CapacityError as error:
            raise type(error)(str(error), error.retry_after_s * self._clock.factor) from error

    def abort(self, now_s: float, job_id: int) -> None:
        """Drop a job. Unknown or ended jobs are ignored."""
        self._server.abort(self._clock.local_s(now_s), job_id)

    def next_s(self) -> float | None:
        """When `advance` will next have something to report; None when nothing runs."""
        next_s = self._server.next_s()
        return None if next_s is None else self._clock.outside_s(next_s)

    def advance(self, now_s: float) -> list[Report]:
        """Move to `now_s` and report everything that happened up to then, in time order."""
        reports = self._server.advance(self._clock.local_s(now_s))
        outside_s = self._clock.outside_s
        return [msgspec.structs.replace(each, at_s=min(outside_s(each.at_s), now_s)) for each in reports]

    def produced(self, now_s: float, job_id: int) -> int:
        """Tokens that this job has delivered by `now_s`."""
        return self._server.produced(self._clock.local_s(now_s), job_id)

    def token_due_s(self, job_id: int, token: int) -> float | None:
        """When token number `token` (1-based) is due if nothing else changes; None if the job is not decoding."""
        due_s = self._server.token_due_s(job_id, token)
        return None if due_s is None else self._clock.outside_s(due_s)

    def replica_s(self, now_s: float) -> float:
        """Seconds of replicas up to `now_s`."""
        self._counted.count(self._clock.local_s(now_s), self._clock.factor)
        return self._counted.replica_s

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
        """Seconds with at least one running job, up to the last `advance`."""
        return self._counted.busy_s + (self._server.busy_s - self._counted.local_busy_s) * self._clock.factor

    @property
    def kv_tokens(self) -> int:
        """Context tokens that the running jobs have reserved."""
        return self._server.kv_tokens


class _Counted:
    """Busy seconds and seconds of replicas on the driver's clock, added up at each change of the factor."""

    def __init__(self, server: ModelServer) -> None:
        self._server = server
        self._local_replica_s = 0.0
        self.local_busy_s = 0.0
        self.busy_s = 0.0
        self.replica_s = 0.0

    def count(self, local_s: float, factor: float) -> None:
        """Add what has passed since the last count, at `factor`."""
        busy_s, there_s = self._server.busy_s, replica_s(self._server, local_s)
        self.busy_s += (busy_s - self.local_busy_s) * factor
        self.replica_s += (there_s - self._local_replica_s) * factor
        self.local_busy_s, self._local_replica_s = busy_s, there_s
