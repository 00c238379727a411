"""Short-lived bearer tokens, printed by a command of the operator's.

Google's tokens live for about an hour. Whoever can run `gcloud auth print-access-token`, or a script that asks a
metadata server or trades a service account's key, needs no key file here and no code for it either.
"""

from __future__ import annotations

import asyncio

COMMAND_TIMEOUT_S = 30.0


async def printed_token(command: tuple[str, ...]) -> str:
    """The token that the command prints.

    Raises:
        ValueError: it failed, or printed something else; the message has its last words.
        OSError: it cannot be run.
        TimeoutError: it did not end within `COMMAND_TIMEOUT_S`.
    """
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
        raise ValueError(said[0] if said else f"it ended with {process.returncode} and printed no token")
    return token
