"""An exchange: say what we do, hear what the others do. It is off the hot path, once per interval."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import msgspec

from headrace.policy import PeersReported

_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(PeersReported)


class Heard(NamedTuple):
    """What a peer said last.

    Attributes:
        name: of the peer; no two have the same.
        as_of_s: when it was true, or earlier, on this process's monotonic clock.
    """

    name: str
    data: bytes
    as_of_s: float


class Peers(Protocol):
    """The other engines over the same fleet, as far as they can be heard."""

    @property
    def fault(self) -> str:
        """Why some cannot be heard now; empty: nothing is wrong."""

    async def exchange(self, said: bytes) -> list[Heard]:
        """Say this and hear all who live. Never raises for a medium that is out of order: see `fault`."""

    async def close(self) -> None:
        """Say that we are gone, and free what is held."""


def encode_report(report: PeersReported) -> bytes:
    """An engine's report as it is handed round."""
    return _encode(report)


def decode_report(data: bytes) -> PeersReported:
    """A peer's report. Raises msgspec.DecodeError: it speaks another version."""
    return _decoder.decode(data)
