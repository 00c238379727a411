"""Short-lived bearer tokens: printed by a command of the operator's, and asked for again before they end.

Google's tokens live for about an hour. Whoever can run `gcloud auth print-access-token`, or a script that asks a
metadata server or trades a service account's key, needs no key file here and no code for it either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from headrace.errors import ConfigError, Fault
from headrace.gateway.backends import BackendLink

COMMAND_TIMEOUT_S = 30.0
RETRY_S = 10.0


class Tokens:
    """Keeps the links that use a token command supplied."""

    def __init__(self, links: Iterable[BackendLink]) -> None:
        self._links = [link for link in links if link.backend.token_command]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Get the first tokens, and renew them from then on. Raises ConfigError: a command printed none."""
        faults = [fault for fault in await asyncio.gather(*(_renew(link) for link in self._links)) if fault is not None]
        if faults:
            raise ConfigError("fleet", faults)
        self._tasks = [asyncio.create_task(_keep(link)) for link in self._links]

    def stop(self) -> None:
        """Renew no more."""
        for task in self._tasks:
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
        token = await _printed(link.backend.token_command)
    except (OSError, TimeoutError, ValueError) as error:
        return Fault(path, f"{' '.join(link.backend.token_command)}: {error or type(error).__name__}; run it by hand")
    link.authorise(token)
    return None


async def _printed(command: tuple[str, ...]) -> str:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    try:
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            out, complaint = await process.communicate()
    except TimeoutError:
        process.kill()
        raise
    token = out.decode("latin-1").strip()
    if process.returncode or not token or not token.isascii() or len(token.split()) != 1:
        said = complaint.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise ValueError(said[0] if said else f"ended with {process.returncode} and printed no token")
    return token
