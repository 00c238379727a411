"""Broken lines: the first one ends the reading, unless some are tolerated; those are kept to be reported."""

from __future__ import annotations

from headrace.errors import TraceError


class BadLines:
    """Broken lines of one run, over all of its trace files.

    Args:
        limit: how many are tolerated.
    """

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self.errors: list[TraceError] = []

    def note(self, error: TraceError) -> None:
        """Tolerate one more broken line, or raise it when there have been too many."""
        if len(self.errors) >= self.limit:
            if not self.limit:
                raise error
            message = f"{error.message} (and {self.limit} broken lines before it were tolerated)"
            raise TraceError(error.path, error.line, message)
        self.errors.append(error)
