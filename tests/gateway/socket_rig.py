"""A client of the Responses API over a WebSocket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvloop
from emulated_rig import MODEL, Live, emulated
from websockets.asyncio.client import ClientConnection, connect

TOKENS = "x-headrace-emulated-output-tokens"
LASTS = ("response.completed", "response.incomplete", "response.failed", "error")
Event = dict[str, Any]


class Client:
    """A client that knows the messages of the API."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def create(self, **fields: Any) -> None:
        await self.connection.send(json.dumps({"type": "response.create", "model": MODEL, **fields}))

    async def event(self) -> Event:
        return dict(json.loads(await asyncio.wait_for(self.connection.recv(), 10)))

    async def answer(self, **fields: Any) -> list[Event]:
        """The events of one answer, the last one last."""
        await self.create(**fields)
        return await self.rest()

    async def rest(self) -> list[Event]:
        events = [await self.event()]
        while events[-1]["type"] not in LASTS:
            events.append(await self.event())
        return events


@asynccontextmanager
async def client_of(port: int, **headers: str) -> AsyncIterator[Client]:
    given = {"authorization": "Bearer a", TOKENS: "4", **headers}
    async with connect(f"ws://127.0.0.1:{port}/v1/responses", additional_headers=given) as connection:
        yield Client(connection)


def over(scenario: Callable[[Client, Live], Awaitable[Any]], *dialects: str, **options: Any) -> Any:
    """What `scenario` returns, given a client of a gateway in front of backends of these dialects."""

    async def run() -> Any:
        async with emulated(*dialects, **options) as live, client_of(live.gateway.port) as client:
            result = await asyncio.wait_for(scenario(client, live), 20)
            assert not live.ledger.open
            return result

    return uvloop.run(run())


def text_of(events: list[Event]) -> str:
    return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
