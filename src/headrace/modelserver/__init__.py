"""Simulated model servers, one per way that silicon serves: pure state machines in continuous time."""

from headrace.modelserver.batching import BatchingServer
from headrace.modelserver.dataflow import DataflowServer
from headrace.modelserver.factory import kv_room_tokens, model_server, replica_s
from headrace.modelserver.hosted import HostedServer, ProviderTerms
from headrace.modelserver.impaired import ImpairedServer
from headrace.modelserver.kv import BLOCK_TOKENS, KvBlocks
from headrace.modelserver.outage import FragileServer
from headrace.modelserver.paged import PagedServer
from headrace.modelserver.prefix import PrefixCache
from headrace.modelserver.quota import QuotaGate
from headrace.modelserver.replicas import Autoscaler, ReplicatedServer
from headrace.modelserver.server import Job, Milestone, ModelServer, Report
from headrace.modelserver.session_cache import SessionCache
from headrace.modelserver.split import DecodeReplicas, Link, PrefillServer, SplitServer

__all__ = [
    "BLOCK_TOKENS",
    "Autoscaler",
    "BatchingServer",
    "DataflowServer",
    "DecodeReplicas",
    "FragileServer",
    "HostedServer",
    "ImpairedServer",
    "Job",
    "KvBlocks",
    "Link",
    "Milestone",
    "ModelServer",
    "PagedServer",
    "PrefillServer",
    "PrefixCache",
    "ProviderTerms",
    "QuotaGate",
    "ReplicatedServer",
    "Report",
    "SessionCache",
    "SplitServer",
    "kv_room_tokens",
    "model_server",
    "replica_s",
]
