"""The APIs that a client may speak to headrace, and headrace to a backend, by the names that fleet files use."""

from __future__ import annotations

from typing import Literal

ApiName = Literal["chat", "completions", "responses", "messages", "embeddings"]
