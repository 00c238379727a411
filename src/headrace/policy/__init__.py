"""The policy engine: a pure object that prices every candidate backend and owns a request's whole lifecycle."""

from headrace.policy.action import (
    EARLY_S,
    AnyAction,
    Cancel,
    Dispatch,
    DispatchReason,
    End,
    Enqueue,
    Outcome,
    Reject,
    RejectReason,
    SetTimer,
)
from headrace.policy.engine import PolicyEngine
from headrace.policy.event import (
    AnyEvent,
    Arrived,
    AttemptFailed,
    ClientGone,
    FailureKind,
    Finished,
    FirstToken,
    FleetChanged,
    FleetReplaced,
    PeerDraw,
    PeerLoad,
    PeersReported,
    PeriodResumed,
    SignalReceived,
    TimerFired,
)
from headrace.policy.explain import Explained
from headrace.policy.generations import Generations
from headrace.policy.limit import LimitView
from headrace.policy.peers import signed, summed
from headrace.policy.picker import Asking, Candidate, Picker, PickerMaker
from headrace.policy.policies import FAST_ONLY, GPU_ONLY, POLICIES, PRICES, STATIC, Policy
from headrace.policy.predict import BinnedPredictor, LengthPredictor
from headrace.policy.quota import quota_signal
from headrace.policy.right_size import resizable_backends
from headrace.policy.signals import KV_CACHE_USAGE, REQUESTS_RUNNING, REQUESTS_WAITING
from headrace.policy.view import BackendView, EngineView, ShareView

__all__ = [
    "EARLY_S",
    "FAST_ONLY",
    "GPU_ONLY",
    "KV_CACHE_USAGE",
    "POLICIES",
    "PRICES",
    "REQUESTS_RUNNING",
    "REQUESTS_WAITING",
    "STATIC",
    "AnyAction",
    "AnyEvent",
    "Arrived",
    "Asking",
    "AttemptFailed",
    "BackendView",
    "BinnedPredictor",
    "Cancel",
    "Candidate",
    "ClientGone",
    "Dispatch",
    "DispatchReason",
    "End",
    "EngineView",
    "Enqueue",
    "Explained",
    "FailureKind",
    "Finished",
    "FirstToken",
    "FleetChanged",
    "FleetReplaced",
    "Generations",
    "LengthPredictor",
    "LimitView",
    "Outcome",
    "PeerDraw",
    "PeerLoad",
    "PeersReported",
    "PeriodResumed",
    "Picker",
    "PickerMaker",
    "Policy",
    "PolicyEngine",
    "Reject",
    "RejectReason",
    "SetTimer",
    "ShareView",
    "SignalReceived",
    "TimerFired",
    "quota_signal",
    "resizable_backends",
    "signed",
    "summed",
]
