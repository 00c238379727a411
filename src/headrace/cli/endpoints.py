"""What answers at a backend's URL: asked for its catalogue, which costs nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple
from urllib.parse import urlsplit

from headrace.bench.live_check import Listing, listing
from headrace.errors import BackendError, ConfigError
from headrace.fleet import Backend, Model, catalog
from headrace.fleet.catalog import UnknownName
from headrace.fleet.dialect_check import dialect_of_host
from headrace.wire.dialects import COMPATIBLE

# Whom model servers say that their models belong to. llama.cpp: its server.cpp; the others are recalled.
SERVERS = {"vllm": "vllm", "sglang": "sglang", "llamacpp": "llama.cpp", "tensorrt_llm": "tensorrt-llm"}


class Seen(NamedTuple):
    """What was found at a backend: its catalogue, or (`fault`) why there is none to see."""

    backend: Backend
    listing: Listing | None
    fault: str

    @property
    def says_dialect(self) -> str | None:
        """The dialect of the model server that it says it is; None: it does not say."""
        owners = () if self.listing is None else self.listing.owners
        return next((SERVERS[owner] for owner in owners if owner in SERVERS), None)


def dialect_of(url: str) -> str:
    """The dialect of the provider whose URL this is, or the plain one."""
    try:
        found = dialect_of_host(urlsplit(url).hostname or "")
    except ValueError:
        found = None
    return (found or COMPATIBLE).name


def known_model(name: str) -> Model | None:
    """The catalog's model that is called so somewhere; None: it knows of none."""
    try:
        return catalog.find_model(name)
    except UnknownName:
        return None


def look(backends: Sequence[Backend], environment: Mapping[str, str] = os.environ) -> list[Seen]:
    """Ask all of them at once."""

    async def run() -> list[Seen]:
        return await asyncio.gather(*(_seen(backend, environment) for backend in backends))

    return asyncio.run(run())


def spoken(seen: Seen) -> Backend:
    """The backend with the dialect that it says it speaks, where none was named."""
    said = seen.says_dialect
    plain = seen.backend.dialect == COMPATIBLE.name
    return replace(seen.backend, dialect=said) if plain and said else seen.backend


async def _seen(backend: Backend, environment: Mapping[str, str]) -> Seen:
    try:
        found = await listing(backend, environment)
    except ConfigError as error:
        return Seen(backend, None, "; ".join(fault.message for fault in error.faults))
    except (BackendError, ValueError) as error:
        return Seen(backend, None, str(error))
    if found.status in (401, 403):
        where = f"look at the key in {backend.api_key_env}" if backend.api_key_env else "it wants a key"
        return Seen(backend, None, f"answers {found.status}: {where}")
    return Seen(backend, found, "")
