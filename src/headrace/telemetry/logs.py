"""Words for operators, on standard error: for people, or as JSON, one object a line.

Both go through the standard library's logging under the name `headrace`, so that a program around a gateway may send
them elsewhere. Until `set_up_logs` is called they are for people.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from functools import lru_cache
from typing import TextIO

import msgspec

from headrace.fleet import LogFormat

_MILLISECONDS = tuple(f".{number:03d}Z" for number in range(1000))  # written once: a third of an access log line else
_LOGGER = logging.getLogger("headrace")


class _Stderr(logging.StreamHandler[TextIO]):
    """Standard error as it is when something is said: it may be another one than at the start, and closed or full."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """There is nobody left to be told."""


class _ForPeople(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"headrace: {super().format(record)}"


class _AsJson(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": iso(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(said).decode()


def tell(message: str, level: int = logging.WARNING) -> None:
    """Tell the operator."""
    if not _LOGGER.handlers and not logging.getLogger().handlers:
        set_up_logs(LogFormat.HUMAN)
    _LOGGER.log(level, "%s", message)


def set_up_logs(form: LogFormat) -> None:
    """Say everything in this form from now on; as JSON also what asyncio reports."""
    handler = _Stderr()
    handler.setFormatter(_AsJson() if form is LogFormat.JSON else _ForPeople())
    _LOGGER.handlers = [handler]
    _LOGGER.setLevel(logging.INFO)
    _LOGGER.propagate = False
    if form is LogFormat.JSON:
        logging.getLogger("asyncio").handlers = [handler]
        logging.getLogger("asyncio").propagate = False


def iso(unix_s: float) -> str:
    """A moment in UTC, to the millisecond."""
    whole = int(unix_s)
    return _second(whole) + _MILLISECONDS[int((unix_s - whole) * 1000)]


@lru_cache(maxsize=4)
def _second(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")
