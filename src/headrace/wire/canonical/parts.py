"""What a conversation consists of: turns, and the parts of a turn.

Normal form: no two assistant turns stand side by side (APIs differ in where they cut a model's output into items), and
every tool result is a turn of its own. Readers of every API keep it, so that what two APIs say can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec import Raw

Role = Literal["system", "developer", "user", "assistant", "tool"]


class Text(msgspec.Struct, frozen=True):
    """Text that somebody wrote."""

    text: str


class Media(msgspec.Struct, frozen=True):
    """An image, file or recording, passed through unseen.

    Attributes:
        url: `https:` or `data:` URL; None where `file_id` names a file that the provider holds.
        detail: how closely an image is to be looked at, in OpenAI's words.
        filename: of a file, where it has one.
    """

    kind: Literal["image", "file", "audio"]
    url: str | None = None
    file_id: str | None = None
    detail: str | None = None
    filename: str | None = None


class Seal(msgspec.Struct, frozen=True):
    """Reasoning that only its provider can read, which wants it back with the next turn.

    Attributes:
        api: the API whose sealed form this is; to others it is carried, never shown.
        data: `encrypted_content` of Responses, `signature` of Messages.
        item_id: id of the reasoning item (Responses).
        redacted: the provider shows nothing of it (`redacted_thinking` of Messages).
    """

    api: str
    data: str
    item_id: str | None = None
    redacted: bool = False


class Reasoning(msgspec.Struct, frozen=True):
    """One stretch of reasoning: as text, as summaries, sealed, or any of them together."""

    text: str = ""
    summary: tuple[str, ...] = ()
    seal: Seal | None = None


class Refusal(msgspec.Struct, frozen=True):
    """The model's words when it refuses."""

    text: str


class ToolCall(msgspec.Struct, frozen=True):
    """The model asks for a tool.

    Attributes:
        arguments: a JSON object as text; of a custom tool any text.
        custom: the tool takes free text (such as a patch) instead of JSON.
        namespace: the group of tools it belongs to (Responses).
    """

    call_id: str
    name: str
    arguments: str
    custom: bool = False
    namespace: str | None = None


class ToolResult(msgspec.Struct, frozen=True):
    """What a tool answered; `failed` says that it did not work."""

    call_id: str
    content: tuple[Text | Media, ...]
    failed: bool = False


class Opaque(msgspec.Struct, frozen=True):
    """A part that only the API it came from understands; left out elsewhere, and reported."""

    api: str
    kind: str
    raw: Raw


Part = Text | Media | Reasoning | Refusal | ToolCall | ToolResult | Opaque


class Turn(msgspec.Struct, frozen=True):
    """What one side said. `name` tells speakers of one role apart (chat)."""

    role: Role
    parts: tuple[Part, ...]
    name: str | None = None


def merged(turns: Iterable[Turn]) -> tuple[Turn, ...]:
    """The turns in normal form: adjacent assistant turns are one."""
    out: list[Turn] = []
    for turn in turns:
        if turn.role == "assistant" and out and out[-1].role == "assistant":
            out[-1] = Turn("assistant", out[-1].parts + turn.parts, out[-1].name or turn.name)
        else:
            out.append(turn)
    return tuple(out)
