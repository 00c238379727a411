"""What Envoy says to a picker, said by a test."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from envoy_rig import CHAT
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from headrace.epp.ext_proc import SERVICE, ProcessingRequest, ProcessingResponse
from headrace.epp.messages import SUBSET, SUBSET_METADATA
from headrace.epp.server import HEALTH


class PickerStream:
    """One stream, as Envoy opens it for a request."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        process = channel.stream_stream(
            f"/{SERVICE}/Process",
            request_serializer=ProcessingRequest.SerializeToString,
            response_deserializer=ProcessingResponse.FromString,
        )
        self.call = process()

    async def begin(self, allowed: tuple[str, ...] = ()) -> None:
        """The head of a request, whose body is to follow; `allowed`: endpoints that may be picked, empty: all."""
        said = ProcessingRequest()
        for name, value in ((":method", "POST"), (":path", CHAT), (":authority", "h")):
            said.request_headers.headers.headers.add(key=name, value=value)
        if allowed:
            said.metadata_context.filter_metadata[SUBSET_METADATA].update({SUBSET: ",".join(allowed)})
        await self.call.write(said)

    async def complete(self, **fields: Any) -> None:
        """Its body."""
        said = ProcessingRequest()
        said.request_body.body = json.dumps({"model": "m", "messages": [], **fields}).encode()
        said.request_body.end_of_stream = True
        await self.call.write(said)

    async def respond(self, status: int) -> None:
        """A response of the backend, without a body."""
        said = ProcessingRequest()
        said.response_headers.headers.headers.add(key=":status", value=str(status))
        said.response_headers.end_of_stream = True
        await self.call.write(said)

    async def read(self) -> tuple[str, Any]:
        """What the picker says next, and its kind."""
        said = await self.call.read()
        assert said is not grpc.aio.EOF
        return said.WhichOneof("response"), said

    async def endpoint(self) -> str:
        """The endpoint that the request is to go to."""
        kind, said = await self.read()
        assert kind == "request_headers", said
        return str(said.dynamic_metadata["envoy.lb"]["x-gateway-destination-endpoint"])


@asynccontextmanager
async def picker_at(port: int) -> AsyncIterator[grpc.aio.Channel]:
    """A connection to the picker on this port."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel


async def serving(channel: grpc.aio.Channel) -> bool:
    """Whether the picker says that it is ready."""
    check = channel.unary_unary(
        f"/{HEALTH}/Check",
        request_serializer=HealthCheckRequest.SerializeToString,
        response_deserializer=HealthCheckResponse.FromString,
    )
    found = await check(HealthCheckRequest(service=SERVICE))
    return bool(found.status == HealthCheckResponse.SERVING)
