"""A dashboard over a gateway that stands still: its clock, its counters and its clients are the test's."""

from __future__ import annotations

import json
from typing import Any, cast

from headrace.config import parse_fleet, sample_fleet_text
from headrace.dashboard import Dashboard, Place
from headrace.gateway import Crew, RunningGateway, Shown
from headrace.gateway.counters import Counters
from headrace.gateway.crew import Page
from headrace.http import Exchange
from headrace.policy import Arrived, Dispatch, End, EngineView, Finished, Outcome


class Client:
    """Somebody who asks, as an exchange; `full`: it takes nothing more for now."""

    def __init__(self, path: bytes, method: bytes = b"GET", body: bytes = b"") -> None:
        self.path, self.method, self.body, self.query = path, method, body, b""
        self.headers = {b"content-type": b"application/json"}
        self.took: list[bytes] = []
        self.status = 0
        self.aborted = self.full = False
        self.on_gone: Any = None
        self.on_pause: Any = None
        self.on_resume: Any = None

    def start(self, status: int, headers: bytes) -> None:
        self.status = status

    def write(self, data: bytes) -> None:
        self.took.append(data)
        if self.full:
            self.on_pause()

    def respond(self, status: int, headers: bytes, body: bytes) -> None:
        self.status = status
        self.took.append(body)

    def abort(self) -> None:
        self.aborted = True

    def events(self, kind: str) -> list[Any]:
        """What it was told of one kind."""
        pairs = [event.split("\n") for event in b"".join(self.took).decode().split("\n\n") if event]
        return [json.loads(data.removeprefix("data: ")) for name, data in pairs if name == f"event: {kind}"]


class Still:
    """A gateway at rest, and its dashboard. It stands for the gateway, for the running one, and for its wall clock.

    Attributes:
        second: the engine's; zero_unix_s: when its second 0 was, by the wall clock.
    """

    run_id = b"run"

    def __init__(self, place: Place | None = None) -> None:
        self.fleet = parse_fleet(sample_fleet_text(), "sample")
        self.second, self.zero_unix_s = 0.0, 1e9
        self.samples = 0
        self.gateway = self
        self.dashboard = Dashboard(place)

    def attach(self) -> None:
        self.dashboard.attach(cast("RunningGateway", self))

    def time(self) -> float:
        """The wall clock."""
        return self.zero_unix_s + self.second

    def monotonic(self) -> float:
        """The machine's clock."""
        return 1000.0 + self.second

    def monotonic_ns(self) -> int:
        """The same."""
        return round(self.monotonic() * 1e9)

    def now_s(self) -> float:
        return self.second

    def shown(self) -> Shown:
        self.samples += 1
        view = EngineView(self.second, "prices", 0, 0, 0.0, [], [])
        return Shown(Crew(), Page(1, Counters(1000).snapshot(), view, 0, 0, 0))

    def request(self, number: int) -> None:
        """A request comes, and is answered."""
        dispatch = Dispatch(number, number, "h100-1", 0.0, 0.01, 20.0)
        self.dashboard.record(self.second, Arrived(number, "chat", 100), [dispatch])
        self.dashboard.record(self.second, Finished(number, 100, 20), [End(number, Outcome.COMPLETED)])

    def ask(self, client: Client) -> Client:
        self.dashboard.handle(cast("Exchange", client))
        return client
