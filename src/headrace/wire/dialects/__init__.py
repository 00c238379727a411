"""Dialects: in what each provider's API differs from the others', one small table each."""

from headrace.wire.dialects.dialect import (
    Auth,
    Continuation,
    Dialect,
    ErrorRow,
    ErrorShape,
    Parameter,
    RateLimits,
    Reservation,
    ResetEncoding,
    SchemaSubset,
    Signals,
    StreamError,
    Treatment,
    Usage,
)

__all__ = [
    "Auth",
    "Continuation",
    "Dialect",
    "ErrorRow",
    "ErrorShape",
    "Parameter",
    "RateLimits",
    "Reservation",
    "ResetEncoding",
    "SchemaSubset",
    "Signals",
    "StreamError",
    "Treatment",
    "Usage",
]
