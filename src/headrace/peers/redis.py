"""Peers through a Redis or Valkey server: several gateways over one fleet.

Each engine has one hash with a time to live, and its name in one set. Once per interval a task of its own writes its
hash and reads those of the others, all in one pipeline (one round trip). A request never waits for it.

No two machines agree on the time, so nobody's clock is asked: every report has a number, and one that is new was
written after our last look, so it is taken to be from then. Whose number stands still grows old by our own clock.

When the server is gone, every gateway carries on with what it sees itself: reports age, and after `dead_after_s` nobody
is heard. That is said once and shown as a fault; it is tried again after ever longer pauses, up to `LATEST_S`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from headrace.errors import ConfigError, Fault
from headrace.fleet import Peers as Settings
from headrace.peers.exchange import Heard, Peers

LATEST_S = 5.0
TIMEOUT_S = 1.0  # of a round trip: a server that is slower than this is no help
FORGOTTEN = 40  # intervals without a hash after which a name is taken off the set
MOST_PEERS = 1024


class _Known(NamedTuple):
    number: bytes
    data: bytes
    as_of_s: float


class RedisPeers:
    """Engines of other gateways. Implements `Peers`; must be made inside a running event loop."""

    def __init__(
        self,
        settings: Settings,
        name: str,
        environment: Mapping[str, str],
        *,
        tell: Callable[[str], None],
        ours: str = "",
    ) -> None:
        """
        Args:
            settings: `redis` is set.
            name: of this engine; no two have the same.
            ours: beginning of the names of those who are heard otherwise; empty: none.
            tell: is given what an operator should know.

        Raises:
            ConfigError: the package `redis` is not installed, or the password is not in the environment.
        """
        self.fault = ""
        self._settings = settings
        self._name = name
        self._ours = ours
        self._tell = tell
        self._client = _client(settings, environment)
        self._password = _password(settings, environment)
        self._set = f"headrace:{settings.fleet_name}:engines"
        self._said = b""
        self._number = 0
        self._looked_s = time.monotonic()
        self._members: dict[str, int] = {}  # by name: looks in a row that found no hash
        self._known: dict[str, _Known] = {}
        self._task: asyncio.Task[None] | None = None

    async def exchange(self, said: bytes) -> list[Heard]:
        """Say this from now on; hear what is known. Takes no time: the server is asked in the background."""
        self._said = said
        if self._task is None:
            self._task = asyncio.ensure_future(self._go_on())
        return self.heard()

    def heard(self) -> list[Heard]:
        """Who is known and not dead."""
        oldest_s = time.monotonic() - self._settings.dead_after_s
        return [Heard(name, each.data, each.as_of_s) for name, each in self._known.items() if each.as_of_s >= oldest_s]

    async def once(self, said: bytes) -> None:
        """One round trip. Raises OSError or redis.RedisError: the server does not answer."""
        self._number += 1
        names = [name for name in self._members if not self._heard_otherwise(name)]
        life_ms = round(1000 * self._settings.dead_after_s)
        pipe = self._client.pipeline(transaction=False)
        pipe.hset(self._key(self._name), mapping={"number": self._number, "report": said})
        pipe.pexpire(self._key(self._name), life_ms)
        pipe.sadd(self._set, self._name)
        pipe.smembers(self._set)
        for name in names:
            pipe.hmget(self._key(name), ["number", "report"])
        looked_s = time.monotonic()
        answers = await asyncio.wait_for(pipe.execute(), TIMEOUT_S)
        for name, (number, data) in zip(names, answers[4:], strict=True):
            self._note(name, number, data)
        self._looked_s = looked_s
        there = sorted(member.decode() for member in answers[3])[:MOST_PEERS]
        self._members = {name: self._members.get(name, 0) for name in there}
        self._known = {name: each for name, each in self._known.items() if name in self._members}
        gone = [name for name, missed in self._members.items() if missed >= FORGOTTEN]
        if gone:
            await asyncio.wait_for(self._client.srem(self._set, *gone), TIMEOUT_S)

    async def close(self) -> None:
        """Take our hash away and hang up."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        with contextlib.suppress(Exception):  # it is leaving: a server that is gone needs no word
            await asyncio.wait_for(self._client.delete(self._key(self._name)), TIMEOUT_S)
            await asyncio.wait_for(self._client.srem(self._set, self._name), TIMEOUT_S)
        with contextlib.suppress(Exception):
            await self._client.aclose()

    def _heard_otherwise(self, name: str) -> bool:
        return name == self._name or bool(self._ours and name.startswith(self._ours))

    def _note(self, name: str, number: bytes | None, data: bytes | None) -> None:
        if number is None or data is None:
            self._members[name] = self._members.get(name, 0) + 1
            self._known.pop(name, None)
            return
        self._members[name] = 0
        known = self._known.get(name)
        if known is None or known.number != number:
            self._known[name] = _Known(number, data, self._looked_s)

    async def _go_on(self) -> None:
        interval_s = pause_s = self._settings.interval_s
        while True:
            try:
                await self.once(self._said)
                pause_s = interval_s
                self._say("")
            except asyncio.CancelledError:
                raise
            except Exception as error:  # whatever the client raises: it is in no request's way
                pause_s = min(2.0 * pause_s, LATEST_S)
                self._say(_without(self._password, error))
            await asyncio.sleep(pause_s)

    def _say(self, fault: str) -> None:
        if fault and not self.fault:
            self._tell(f"other gateways cannot be heard: {fault}; this one carries on with what it sees itself")
        elif self.fault and not fault:
            self._tell("other gateways can be heard again")
        self.fault = fault

    def _key(self, name: str) -> str:
        return f"headrace:{self._settings.fleet_name}:engine:{name}"


class BothPeers:
    """Workers of the same gateway through memory, those of others through a server. Implements `Peers`."""

    def __init__(self, near: Peers, far: Peers) -> None:
        self._near = near
        self._far = far

    @property
    def fault(self) -> str:
        """Why some cannot be heard now."""
        return self._near.fault or self._far.fault

    async def exchange(self, said: bytes) -> list[Heard]:
        """Say this to both and hear both."""
        return await self._near.exchange(said) + await self._far.exchange(said)

    async def close(self) -> None:
        """Leave both."""
        await self._near.close()
        await self._far.close()


async def reach(settings: Settings, environment: Mapping[str, str]) -> None:
    """Ask whether the server is there, and nothing else.

    Raises:
        ConfigError: as `RedisPeers` does, or the server cannot be reached, or refuses.
    """
    client = _client(settings, environment)
    try:
        await client.ping()
    except Exception as error:  # of the client's own tree, which is known only where it is installed
        said = _without(_password(settings, environment), error)
        fault = Fault("peers.redis", f"{said}; start the server, or mend URL and password")
        raise ConfigError("fleet", [fault]) from error
    finally:
        await client.aclose()


def _client(settings: Settings, environment: Mapping[str, str]) -> Any:
    try:
        from redis.asyncio import Redis
    except ImportError as error:
        said = "needs the package redis: pip install 'headrace[redis]'"
        raise ConfigError("fleet", [Fault("peers.redis", said)]) from error
    given: dict[str, Any] = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
    password = _password(settings, environment)
    if password is not None:
        given["password"] = password
    return Redis.from_url(settings.redis or "", **given)


def _password(settings: Settings, environment: Mapping[str, str]) -> str | None:
    name = settings.password_env
    if name is None:
        return None
    if name not in environment:
        raise ConfigError("fleet", [Fault("peers.password_env", f"set {name} in the environment")])
    return environment[name]


def _without(password: str | None, error: Exception) -> str:
    """What an error says. A server that does not know `AUTH` repeats the arguments it came with."""
    said = str(error) or type(error).__name__
    return said.replace(password, "[redacted]") if password else said
