"""One limit of a provider, which several engines draw from: what each may take before the others hear of it.

A provider counts by organisation, so every engine over the fleet draws from the same bucket and keeps an account of it.
What an engine takes it takes from its own account at once; what the others took comes with their reports (`peers.py`)
and is debited then. An engine reports a sum since its start and not a rate or a level, so that a report that is late or
lost is made good by the next. Who is heard for the first time, or again, has a past that nobody can split: of his level
and ours the lower one is believed.

In between nobody knows what the others take. With n engines, `level` what one believes to be left, and `unheard` what
it committed within twice the time that a report may take, a request may be sent there if it is

    within our part        n * (unheard + asked) <= level
    or our turn            unheard = 0    and    asked + first <= level        (or the bucket is full)

Parts alone would keep n engines within the level, but no request that is larger than a part could ever be sent, and
buckets are often small. So who has sent nothing lately may send one request of any size, when its turn comes: `first`
is left for those who took less than it did within the last minute, for each of them what it says that it waits for, or
what comes back while a report is under way if that is more. Equal ones are told apart by their names, which everybody
knows.

The rule that it protects: between two reports the engines together overdraw by at most n - 1 of the largest requests,
and only if that many have a turn at once for not knowing better; by nothing while every request fits into a part.

Headers. `remaining` tells of all engines, as of the dispatch of an attempt. It is corrected by what we took since, and
by what the others took since as far as they said so, which is taken to have happened evenly between two reports. What
they say later of the time before `remaining` was true is in it already, so it is not debited a second time.

Source: splitting what is left by the number of those who draw is the escrow method, P. O'Neil, "The Escrow
Transactional Method", ACM Transactions on Database Systems 11 (1986).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise
from typing import Final, NamedTuple

from headrace.bucket import Bucket
from headrace.policy.event import PeerDraw

UPWARDS: Final = 0.1  # of the way to a level that is higher than ours
MAX_AGE_S: Final = 120.0  # of a header's attempt: an older one is not believed
LAGS: Final = 4.0  # intervals: longest that a report takes, from what it tells to who is told
RECENT_S: Final = 60.0  # of what counts for the order of turns


class _Told(NamedTuple):
    """What the others had taken in all, as far as they have said, at a time."""

    at_s: float
    taken: float


class SharedLimit:
    """One bucket, what was taken from it at any time within the last `MAX_AGE_S`, and what others say that they took.

    Attributes:
        owed: what live attempts of ours are expected to be debited for yet.
        minute: whether its window is a minute.
    """

    __slots__ = (
        "_committed",
        "_engines",
        "_first",
        "_interval_s",
        "_known",
        "_lag_from_s",
        "_met_s",
        "_met_weight",
        "_name",
        "_owed_elsewhere",
        "_sums",
        "_times_s",
        "_told",
        "_wanted",
        "_wanted_s",
        "bucket",
        "minute",
        "owed",
    )

    def __init__(self, name: str, bucket: Bucket, minute: bool, interval_s: float) -> None:
        """
        Args:
            name: by which other engines speak of it. interval_s: between two reports.
        """
        self.bucket = bucket
        self.minute = minute
        self.owed = 0.0
        self._name = name
        self._interval_s = interval_s
        self._times_s = [0.0]
        self._sums = [0.0]
        self._committed = [0.0]
        self._engines = 1
        self._first: tuple[float, ...] = ()
        self._wanted = 0.0
        self._wanted_s = 0.0
        self._lag_from_s = 0.0
        self._owed_elsewhere = 0.0
        self._known: dict[str, float] = {}
        self._told = [_Told(0.0, 0.0)]
        self._met_s = 0.0
        self._met_weight = 0.0

    def inherit(self, before: SharedLimit) -> None:
        """Go on counting where the limit before, which was another one, has stopped: to others we are who we were."""
        self._times_s, self._sums, self._committed = before._times_s, before._sums, before._committed

    def level(self, now_s: float) -> float:
        """What is left when all has been debited that is owed."""
        return self.bucket.level(now_s) - self.owed - self._owed_elsewhere

    def take(self, now_s: float, amount: float, owed: float = 0.0) -> None:
        """Take so much and owe so much, or give it back."""
        self.bucket.take(now_s, amount)
        self.owed += owed
        self._wanted = 0.0
        self._times_s.append(now_s)
        self._sums.append(self._sums[-1] + amount)
        self._committed.append(self._committed[-1] + max(amount + owed, 0.0))
        half = len(self._times_s) // 2
        if half > 64 and self._times_s[half] < now_s - MAX_AGE_S:
            del self._times_s[:half], self._sums[:half], self._committed[:half]

    def wait_s(self, now_s: float, asked: float, spare: float = 0.0) -> float:
        """Seconds until we may take this much, if nobody else takes it; 0: now.

        Args:
            spare: is to be left, if the bucket can hold both.
        """
        bucket, owed = self.bucket, self.owed + self._owed_elsewhere
        whole = min(asked + spare, bucket.limit)
        if self._engines == 1:
            return bucket.wait_s(now_s, whole + owed)
        unheard = self._unheard(now_s)
        part_s = bucket.wait_s(now_s, self._engines * (unheard + asked) + spare + owed)
        if part_s <= 0.0:
            return 0.0
        turn_s = bucket.wait_s(now_s, min(whole + self._first_go(), bucket.limit) + owed)
        if unheard > 0.0:
            turn_s = max(turn_s, self._interval_s)
        if turn_s > 0.0:
            self._want(now_s, asked)
        return min(part_s, turn_s)

    def draw(self, now_s: float) -> PeerDraw:
        """What the others are to know; who we are is for the driver to say."""
        level = self.bucket.level(now_s)
        wanted = self._wanted if now_s - self._wanted_s <= 2.0 * self._interval_s else 0.0
        return PeerDraw("", self._name, self._sums[-1], self._since(now_s - RECENT_S), self.owed, wanted, level)

    def drawn_elsewhere(self, now_s: float, as_of_s: float, told: str, draws: Iterable[PeerDraw]) -> None:
        """The others say what they draw.

        Args:
            as_of_s: when the oldest of it was true. told: our name.
        """
        mine = [each for each in draws if each.limit == self._name]
        before, self._known = self._known, {each.engine: each.taken for each in mine}
        self._debit(now_s, as_of_s, sum(each.taken - before[each.engine] for each in mine if each.engine in before))
        lowest = min((each.level for each in mine if each.engine not in before), default=self.bucket.limit)
        if lowest < self.bucket.level(now_s):
            self.bucket.set(now_s, lowest)
        self._engines = 1 + len(mine)
        self._owed_elsewhere = sum(each.owed for each in mine)
        own = (self._since(now_s - RECENT_S), told)
        self._first = tuple(each.wanted for each in mine if (each.recent, each.engine) < own)
        self._lag_from_s = as_of_s - self._interval_s

    def remained(self, now_s: float, as_of_s: float, remaining: float) -> None:
        """The provider says what remained at a time, whatever was taken at that instant included."""
        at = bisect_right(self._times_s, as_of_s) - 1
        if at < 0 or now_s - as_of_s > MAX_AGE_S:
            return
        since = self._sums[-1] - self._sums[at] + self._taken_elsewhere_since(as_of_s)
        believed = self.bucket.level(now_s)
        step = remaining - since + self.bucket.refill(now_s - as_of_s) - believed
        weight = 1.0 if step < 0.0 else UPWARDS
        self.bucket.set(now_s, believed + weight * step)
        if as_of_s >= self._met_s:
            self._met_s, self._met_weight = as_of_s, weight

    def _first_go(self) -> float:
        """What is left for those who go first."""
        step = self.bucket.refill(LAGS * self._interval_s)
        return sum(max(wanted, step) for wanted in self._first)

    def _want(self, now_s: float, asked: float) -> None:
        """There is no room for this much now."""
        if asked > self._wanted or now_s - self._wanted_s > self._interval_s:
            self._wanted, self._wanted_s = asked, now_s

    def _debit(self, now_s: float, as_of_s: float, amount: float) -> None:
        """The others took this since they were heard last, less what a header has told of it."""
        last = self._told[-1]
        as_of_s = max(as_of_s, last.at_s)
        if as_of_s > last.at_s:
            met = (min(self._met_s, as_of_s) - last.at_s) / (as_of_s - last.at_s)
            self.bucket.take(now_s, amount * (1.0 - self._met_weight * max(met, 0.0)))
        else:
            self.bucket.take(now_s, amount)
        self._told.append(_Told(as_of_s, last.taken + amount))
        half = len(self._told) // 2
        if half > 64 and self._told[half].at_s < now_s - MAX_AGE_S:
            del self._told[:half]

    def _taken_elsewhere_since(self, at_s: float) -> float:
        """What the others say that they took since; they took it evenly between two reports."""
        taken = 0.0
        for early, late in pairwise(self._told[max(bisect_right(self._told, (at_s,)) - 1, 0) :]):
            span_s = late.at_s - early.at_s
            part = 1.0 if span_s <= 0.0 else min((late.at_s - at_s) / span_s, 1.0)
            taken += part * (late.taken - early.taken)
        return taken

    def _since(self, at_s: float) -> float:
        """What we committed after a time; of what was forgotten, nothing."""
        return self._committed[-1] - self._committed[max(bisect_right(self._times_s, at_s) - 1, 0)]

    def _lag_s(self, now_s: float) -> float:
        """How long ago that was which everybody knows of everybody."""
        return now_s - self._lag_from_s

    def _unheard(self, now_s: float) -> float:
        return self._since(now_s - 2.0 * self._lag_s(now_s))
