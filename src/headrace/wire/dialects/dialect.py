"""What a dialect is: everything in which one provider's OpenAI (or Anthropic) API differs from the others', as a table.

A provider is data, not code: one frozen `Dialect` each, and a handful of functions that read it (`fit` edits a request,
`backend_error` sorts an error, `sign` authorises). What a provider is said to do carries its source, because providers
change: `headrace check --live` asks a backend which of these claims hold there, and `docs/dialects.md` prints them all.

The rule it protects: **an answer is an answer to what was asked.** A parameter that the backend does not know is

    passed   where the backend takes it, or ignores it without harm
    renamed  where it has another name for the same thing
    replaced where a value has a near neighbour (a reasoning effort); the client is told in `x-headrace-approximated`
    dropped  where the answer is still one that the client can use; the client is told in `x-headrace-dropped`
    refused  where the client would look in the answer for what cannot be there (a second choice, log probabilities, a
             schema that is kept): another backend may serve it, and if none can, the client gets a 400 that names it
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from headrace.wire.api import ApiName
from headrace.wire.error_kind import ErrorKind

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"
EMBEDDINGS = "/v1/embeddings"
MODELS = "/v1/models"


class Auth(StrEnum):
    """How a backend knows who asks."""

    NONE = "none"
    BEARER = "bearer"  # authorization: Bearer KEY
    X_API_KEY = "x-api-key"  # x-api-key: KEY, and anthropic-version
    SIGV4 = "sigv4"  # AWS Signature Version 4, over head and body of each request
    TOKEN_COMMAND = "token-command"  # authorization: Bearer TOKEN, short-lived, printed by a command (Google OAuth)


class Treatment(StrEnum):
    """What becomes of a parameter."""

    RENAME = "rename"
    REPLACE = "replace"
    DROP = "drop"
    REFUSE = "refuse"


class Parameter(NamedTuple):
    """One parameter that is not passed as it is.

    Attributes:
        name: at the top level of the body; `messages[].NAME` is a field of each message.
        renamed: its name here; with RENAME only. A parameter that is there under both names keeps the one it has here.
        harmless: values, as compact JSON, that ask for nothing; they are left out without a word.
        passed: values, as compact JSON, that are passed as they are; the rule is for the others.
        values: what stands for a value here, with REPLACE only; a value without one is passed.
        beside: the rule holds only where this parameter is there too.
        apis: where the rule holds.
        why: what the provider does with it; goes into the client's 400.
    """

    name: str
    treatment: Treatment
    source: str
    why: str = ""
    renamed: str = ""
    harmless: tuple[bytes, ...] = (b"null",)
    passed: tuple[bytes, ...] = ()
    values: Mapping[bytes, bytes] = {}
    beside: str = ""
    apis: tuple[ApiName, ...] = ("chat",)


class SchemaSubset(NamedTuple):
    """Which JSON schemas the backend keeps to. What is outside is refused, so that another backend may serve it.

    Attributes:
        strict_only: the rules hold where the request says `strict: true`; else always.
        closed_objects: every object must say `additionalProperties: false`.
        all_required: every property must be required.
        refused: keywords that it does not know.
    """

    source: str
    strict_only: bool = True
    closed_objects: bool = False
    all_required: bool = False
    refused: frozenset[str] = frozenset()


class Usage(StrEnum):
    """Where a stream says what it cost."""

    EXTRA_CHUNK = "extra_chunk"  # a last chunk without choices, if stream_options.include_usage asks for it
    LAST_CHUNK = "last_chunk"  # on the chunk with the finish reason, unasked
    X_GROQ = "x_groq"  # x_groq.usage on the chunk with the finish reason, unasked
    MESSAGES_EVENTS = "messages_events"  # message_start (input) and message_delta (output so far)


class ErrorShape(StrEnum):
    """How an error body is built."""

    WRAPPED = "wrapped"  # {"error": {"message", "type", "param", "code"}}
    FLAT = "flat"  # {"message", "type", "param", "code"}
    ANTHROPIC = "anthropic"  # {"type": "error", "error": {"type", "message"}, "request_id"}
    AWS = "aws"  # {"message"}, the type in the header x-amzn-errortype
    GOOGLE = "google"  # [{"error": {"code", "message", "status"}}]


class StreamError(StrEnum):
    """How an error comes inside a 200 stream."""

    WRAPPED_EVENT = "wrapped_event"  # data: {"error": {...}}
    WITH_STATUS = "with_status"  # data: {"error": {...}, "status_code": 503}
    X_GROQ = "x_groq"  # x_groq.error, a string, on the last chunk; or an error key in the chunk
    ERROR_EVENT = "error_event"  # event: error


class ErrorRow(NamedTuple):
    """One error that the provider is known to send."""

    kind: ErrorKind
    status: int
    source: str
    type: str | None = None
    code: str | int | None = None
    message: str = ""


class ResetEncoding(StrEnum):
    """How a rate-limit header says when there will be more."""

    SECONDS = "seconds"  # 33011.382867
    GO_DURATION = "go_duration"  # 2m59.56s
    RFC_3339 = "rfc_3339"  # 2026-11-22T10:00:00Z
    NONE = "none"


class RateLimits(NamedTuple):
    """What the rate-limit headers mean. `windows` says over what a header counts where its name does not say it."""

    encoding: ResetEncoding
    source: str
    windows: Mapping[str, str] = {}
    headers: tuple[str, ...] = ()


class Reservation(NamedTuple):
    """What admission takes off the token quota before a token is made.

    Attributes:
        input_estimate: the prompt's length, estimated.
        output_ceiling: the request's ceiling on output; without one `assumed_output_tokens`.
        cached_count: input that is found in the cache counts as well; None: the sources contradict each other.
    """

    source: str
    input_estimate: bool = True
    output_ceiling: bool = False
    assumed_output_tokens: int | None = None
    cached_count: bool | None = None


class Continuation(StrEnum):
    """How an answer that broke off can be continued here."""

    NONE = "none"
    TRAILING_ASSISTANT = "trailing_assistant"  # a last assistant message is continued
    CONTINUE_FLAG = "continue_flag"  # ... if continue_final_message (and add_generation_prompt: false) says so
    RAW_PROMPT = "raw_prompt"  # by /v1/completions only, with text or token ids


class Signals(NamedTuple):
    """Where the backend says how busy it is, and the names of the values: Prometheus series, or paths in JSON."""

    path: str
    source: str
    queued: str = ""
    running: str = ""
    kv_fraction: str = ""
    needs: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """Everything in which a provider's API differs.

    Attributes:
        name: as the fleet file says it.
        title: as the provider writes itself.
        hosts: patterns of the host names at which only this provider answers.
        auth: the ways that it takes; the first is meant where the fleet file does not choose by what it sets.
        paths: the path of each API that it speaks, after the backend's base URL; an API without one is not spoken.
        models_path: its catalogue; None: it has none.
        parameters: what is not passed as it is.
        max_tools: most tools of a request; None: no limit is known.
        json_schema: None: any schema that `response_format` takes is passed.
        reasoning: fields of a delta or message that hold reasoning text, the usual one first; empty: none comes.
        past_reasoning: field of a past assistant message that takes its reasoning (chat); None: it is left out.
        custom_tools: tools that take free text (chat); else they are offered as functions.
        developer_role: the role `developer` (chat); else it becomes `system`.
        extensions: fields outside its APIs that it takes, from a client of any API.
        usage: where a stream's usage comes; more than one place may be filled.
        cached_tokens: path of the count of cached input tokens; None: it is not said.
        cached_inside_input: the cached tokens are counted among the input tokens.
        error_shape: of an HTTP error's body; `stream_error`: of an error inside a 200 stream.
        done_marker: a stream ends with `[DONE]`.
        errors: known errors, one of each kind at least where it is known.
        continuation: how it goes on with a text; `may_repeat`: and may say that text first.
        sources: source of each claim above that carries none itself, by attribute; "recalled": not checked.
    """

    name: str
    title: str
    hosts: tuple[str, ...] = ()
    auth: tuple[Auth, ...] = (Auth.BEARER,)
    paths: Mapping[ApiName, str] = field(default_factory=lambda: {"chat": CHAT})
    models_path: str | None = MODELS
    parameters: tuple[Parameter, ...] = ()
    max_tools: int | None = None
    json_schema: SchemaSubset | None = None
    reasoning: tuple[str, ...] = ("reasoning", "reasoning_content")
    past_reasoning: str | None = None
    custom_tools: bool = False
    developer_role: bool = False
    extensions: frozenset[str] = frozenset()
    usage: tuple[Usage, ...] = (Usage.EXTRA_CHUNK,)
    cached_tokens: str | None = "usage.prompt_tokens_details.cached_tokens"
    cached_inside_input: bool = True
    error_shape: ErrorShape = ErrorShape.WRAPPED
    stream_error: StreamError = StreamError.WRAPPED_EVENT
    done_marker: bool = True
    errors: tuple[ErrorRow, ...] = ()
    rate_limits: RateLimits | None = None
    reservation: Reservation | None = None
    continuation: Continuation = Continuation.NONE
    may_repeat: bool = True
    signals: tuple[Signals, ...] = ()
    notes: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_version_in_path(self) -> bool:
        """Whether `/v1` belongs to the paths, and so not to the base URL."""
        return all(path.startswith("/v1/") for path in self.paths.values())

    def path(self, api: ApiName) -> str | None:
        """Where this API is, after the base URL; None: it is not spoken here."""
        return self.paths.get(api)
