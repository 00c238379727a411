"""The one taxonomy of what backends refuse: eight kinds, told apart by what is to be done about them.

kind            what it means                                what follows
--------------  -------------------------------------------  --------------------------------------------------
overloaded      its queue is full; it is healthy             another backend at once; leave it alone for a moment
quota           our limit there is used up; it is healthy    another backend; leave it alone until the reset
misconfigured   it refuses our key, account, or path         another backend; the operator has something to mend
model_not_found it does not serve the model (any more)       another backend; the operator has something to mend
server_error    it broke                                     another backend; a few in a row open the breaker
context_length  the request is too long for it               another backend, which may take more; else the client
bad_request     the request is wrong                         the client
content_filter  the provider will not answer this            the client
"""

from __future__ import annotations

from enum import StrEnum


class ErrorKind(StrEnum):
    """What a backend's error says."""

    OVERLOADED = "overloaded"
    QUOTA = "quota"
    MISCONFIGURED = "misconfigured"
    MODEL_NOT_FOUND = "model_not_found"
    SERVER_ERROR = "server_error"
    CONTEXT_LENGTH = "context_length"
    BAD_REQUEST = "bad_request"
    CONTENT_FILTER = "content_filter"
