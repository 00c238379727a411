"""The APIs that a client may speak to headrace, and headrace to a backend."""

from __future__ import annotations

from enum import StrEnum


class Api(StrEnum):
    """An API, by the name that fleet files and metrics use."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    RESPONSES = "responses"
    MESSAGES = "messages"
    EMBEDDINGS = "embeddings"
