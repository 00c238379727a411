"""Keeps backends that use a token command supplied with tokens, which are asked for again before they end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from headrace.errors import ConfigError, Fault
from headrace.gateway.backends import BackendLink
from headrace.http.token_command import printed_token

RETRY_S = 10.0


class Tokens:
    """Keeps the links that use a token command supplied."""

    def __init__(self, links: Iterable[BackendLink]) -> None:
        self._links = tuple(links)
        self._tasks: dict[BackendLink, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Get the first tokens, and renew them from then on. Raises ConfigError: a command printed none."""
        await self.also(self._links)

    async def also(self, links: Iterable[BackendLink]) -> None:
        """Keep these supplied, too. Raises ConfigError: a command printed none, and none of them is."""
        using = [link for link in links if link.backend.token_command]
        faults = [fault for fault in await asyncio.gather(*map(_renew, using)) if fault is not None]
        if faults:
            raise ConfigError("fleet", faults)
        self._tasks |= {link: asyncio.create_task(_keep(link)) for link in using}

    def forget(self, link: BackendLink) -> None:
        """This one needs no token any more."""
        task = self._tasks.pop(link, None)
        if task is not None:
            task.cancel()

    def stop(self) -> None:
        """Renew no more."""
        for task in self._tasks.values():
            task.cancel()


async def _keep(link: BackendLink) -> None:
    wait_s = link.backend.token_refresh_s
    while True:
        await asyncio.sleep(wait_s)
        fault = await _renew(link)
        wait_s = link.backend.token_refresh_s if fault is None else RETRY_S
        if fault is not None:
            asyncio.get_running_loop().call_exception_handler({"message": str(fault)})


async def _renew(link: BackendLink) -> Fault | None:
    """Run the command once. The old token stays where it fails."""
    path = f"backends.{link.name}.token_command"
    try:
        token = await printed_token(link.backend.token_command)
    except (OSError, TimeoutError, ValueError) as error:
        return Fault(path, f"{' '.join(link.backend.token_command)}: {error or type(error).__name__}; run it by hand")
    link.credentials.use_token(token)
    return None
