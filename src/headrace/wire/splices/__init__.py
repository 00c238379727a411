"""What a passed-through answer is looked at for, one table an API: its first token, its end, and what it cost."""

from headrace.wire.api import ApiName
from headrace.wire.splices.chat import CHAT, COMPLETIONS, EMBEDDINGS
from headrace.wire.splices.messages import MESSAGES
from headrace.wire.splices.responses import RESPONSES
from headrace.wire.splices.splice import (
    BYTES_PER_TOKEN,
    Splice,
    errors_apart,
    is_whole,
    missing_line_ends,
    token_estimate,
)

SPLICES: dict[ApiName, Splice] = {
    "chat": CHAT,
    "completions": COMPLETIONS,
    "responses": RESPONSES,
    "messages": MESSAGES,
    "embeddings": EMBEDDINGS,
}

__all__ = ["BYTES_PER_TOKEN", "SPLICES", "Splice", "errors_apart", "is_whole", "missing_line_ends", "token_estimate"]
