"""Input tokens from body bytes: what a gateway can know of a request without a tokenizer."""

from __future__ import annotations

PRIOR_BYTES_PER_TOKEN = 4.0
PRIOR_TOKENS = 1000.0
MEMORY_TOKENS = 1_000_000.0


class InputEstimator:
    """Learns bytes per token from finished requests: total bytes over total tokens, the old ones slowly forgotten."""

    __slots__ = ("_bytes", "_tokens")

    def __init__(self, bytes_per_token: float = PRIOR_BYTES_PER_TOKEN) -> None:
        """Start from `bytes_per_token`, held as firmly as `PRIOR_TOKENS` tokens of evidence."""
        self._tokens = PRIOR_TOKENS
        self._bytes = PRIOR_TOKENS * bytes_per_token

    @property
    def bytes_per_token(self) -> float:
        """The ratio now."""
        return self._bytes / self._tokens

    def estimate(self, body_bytes: int) -> int:
        """Input tokens of a body of this size, at least 1."""
        return int(body_bytes * self._tokens / self._bytes + 0.5) or 1

    def observe(self, body_bytes: int, input_tokens: int) -> None:
        """Learn from a request whose input tokens the backend has counted; counts below 1 teach nothing."""
        if input_tokens < 1 or body_bytes < 1:
            return
        self._tokens += input_tokens
        self._bytes += body_bytes
        if self._tokens > MEMORY_TOKENS:
            keep = MEMORY_TOKENS / self._tokens
            self._tokens *= keep
            self._bytes *= keep
