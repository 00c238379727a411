"""The policy engine: a pure object that prices every candidate backend and owns a request's whole lifecycle."""

from headrace.policy.action import (
    AnyAction,
    Cancel,
    Dispatch,
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
    SignalReceived,
    TimerFired,
)
from headrace.policy.predict import BinnedPredictor, LengthPredictor
from headrace.policy.routing import PolicyName
from headrace.policy.view import BackendView, EngineView, ShareView

__all__ = [
    "AnyAction",
    "AnyEvent",
    "Arrived",
    "AttemptFailed",
    "BackendView",
    "BinnedPredictor",
    "Cancel",
    "ClientGone",
    "Dispatch",
    "End",
    "EngineView",
    "Enqueue",
    "FailureKind",
    "Finished",
    "FirstToken",
    "FleetChanged",
    "LengthPredictor",
    "Outcome",
    "PolicyEngine",
    "PolicyName",
    "Reject",
    "RejectReason",
    "SetTimer",
    "ShareView",
    "SignalReceived",
    "TimerFired",
]
