"""Peers: how engines over one fleet tell each other what they do, through shared memory or a Redis or Valkey server."""

from headrace.peers.exchange import Heard, Peers, decode_report, encode_report
from headrace.peers.memory import MemoryPeers, SharedRows
from headrace.peers.redis import BothPeers, RedisPeers

__all__ = [
    "BothPeers",
    "Heard",
    "MemoryPeers",
    "Peers",
    "RedisPeers",
    "SharedRows",
    "decode_report",
    "encode_report",
]
