"""The desk of an emulated backend: reads requests of every API, and refuses in its provider's dialect.

A plain chat request is read as far as an answer of plain tokens needs it. Everything else (another API, a script) goes
through the neutral form of `wire.canonical`.

`POST /emulated/faults` takes a JSON list of faults (`fault`), of which each request takes the next; `POST
/emulated/script` takes a script (`script`), an empty list ends it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from math import ceil
from random import Random
from zlib import crc32

import msgspec

from headrace.emulate.answer import TOKEN, Answer, AnswerWriter, ApiAnswer, Said
from headrace.emulate.chat_stream import ProviderChat
from headrace.emulate.fault import HEADER as FAULT_HEADER
from headrace.emulate.fault import NO_DONE, Fault, errors_of, read_fault
from headrace.emulate.prompt import ChatBody, begun_by, request_content, token_count
from headrace.emulate.rate_headers import RateHeaders
from headrace.emulate.refusal import refused_parameter
from headrace.emulate.script import Script, read_script, rest_of, step_events, step_of
from headrace.errors import CapacityError, ModelRangeError, QuotaExceeded, RequestError
from headrace.http import Exchange, header_lines
from headrace.modelserver import HostedServer, ModelServer
from headrace.rng import stream
from headrace.wire import model_list
from headrace.wire.apis import APIS, read_count_request, write_count
from headrace.wire.canonical import Event, Request
from headrace.wire.dialects import COMPATIBLE, Dialect, ErrorRow
from headrace.wire.dialects.render import error_headers, render_error
from headrace.wire.error_kind import ErrorKind

EMULATED = (b"x-headrace-emulated", b"1")
JSON = header_lines((b"content-type", b"application/json"), EMULATED)
SSE = header_lines((b"content-type", b"text/event-stream"), EMULATED)
OUTPUT_TOKENS_HEADER = b"x-headrace-emulated-output-tokens"
LENGTH_MU, LENGTH_SIGMA = 4.955, 0.869  # log tokens; single-lognormal fit of the Azure 2023 conversation trace
COUNT_PATH = b"/v1/messages/count_tokens"
EMBEDDING_SIZE = 8
_chats = msgspec.json.Decoder(ChatBody)
_lists = msgspec.json.Decoder(list[str])


class Order(msgspec.Struct):
    """A request, read.

    Attributes:
        writer: makes what writes the answer, given its id.
        tokens: makes the events of each token, given the answer's id; None: plain tokens.
    """

    exchange: Exchange
    content: bytes
    stream: bool
    ceiling: int | None
    wanted: int
    writer: Callable[[str], AnswerWriter]
    tokens: Callable[[str], list[tuple[Event, ...]]] | None = None
    fault: Fault | None = None

    @property
    def input_tokens(self) -> int:
        """Tokens by the emulated tokenizer."""
        return token_count(self.content)

    @property
    def output_tokens(self) -> int:
        """Tokens that the answer will have."""
        return self.wanted if self.ceiling is None else max(1, min(self.wanted, self.ceiling))

    def answer(self, answer_id: str) -> Answer:
        """The answer, at its beginning."""
        count = self.output_tokens
        said = Said(self.writer(answer_id), None if self.tokens is None else self.tokens(answer_id), count)
        found = Answer(
            self.exchange,
            said,
            stream=self.stream,
            input_tokens=self.input_tokens,
            output_tokens=count,
            cut=count < self.wanted,
        )
        found.fault = self.fault
        return found


class Desk:
    """Reads requests and hands them to `take`.

    Attributes:
        script: what is said to every conversation; None: plain tokens.
        faults: what goes wrong with the requests to come, one each.
    """

    def __init__(
        self, name: str, model: str, seed: int, dialect: Dialect, server: ModelServer, take: Callable[[Order], None]
    ) -> None:
        self.script: Script | None = None
        self.faults: deque[str] = deque()
        self._name = name
        self._model = model
        self._seed = seed
        self._dialect = dialect
        self._rates = RateHeaders(dialect, server.gate if isinstance(server, HostedServer) else None)
        self._take = take
        paths = dialect.paths or COMPATIBLE.paths
        self._apis = {path.encode(): api for api, path in paths.items()}

    def handle(self, exchange: Exchange) -> None:
        """Answer one request, or hand it on."""
        route = (exchange.method, exchange.path)
        api = self._apis.get(exchange.path) if exchange.method == b"POST" else None
        if api is not None or (route == (b"POST", COUNT_PATH) and "messages" in self._dialect.paths):
            self._ask(exchange, api)
        elif route == (b"GET", (self._dialect.models_path or "/v1/models").encode()):
            exchange.respond(200, JSON, model_list([self._model]))
        elif route in ((b"GET", b"/health"), (b"GET", b"/v1/tcp_warming")):
            exchange.respond(200, JSON, b'{"status":"ok"}')
        elif route in ((b"POST", b"/emulated/faults"), (b"POST", b"/emulated/script")):
            self._control(exchange)
        else:
            exchange.respond(404, JSON, b'{"error":{"message":"no such endpoint","type":"not_found_error"}}')

    def stream_head(self, now_s: float) -> bytes:
        """Header lines of a streamed answer."""
        return SSE + self._rates.lines(now_s, time.time())

    def json_head(self, now_s: float) -> bytes:
        """Header lines of a whole answer."""
        return JSON + self._rates.lines(now_s, time.time())

    def refuse(self, exchange: Exchange, row: ErrorRow, more: bytes = b"") -> None:
        """Answer with an error in the provider's shape."""
        named = header_lines(*error_headers(self._dialect, row).items())
        exchange.respond(row.status, JSON + named + more, render_error(self._dialect, row))

    def turn_away(self, exchange: Exchange, error: CapacityError | ModelRangeError, now_s: float) -> None:
        """The model server takes no such request, or none now."""
        if isinstance(error, ModelRangeError):
            self.refuse(exchange, self._row(ErrorKind.CONTEXT_LENGTH, str(error)))
            return
        wait_s = error.retry_after_s
        kind = ErrorKind.QUOTA if isinstance(error, QuotaExceeded) else ErrorKind.OVERLOADED
        lines = b"retry-after: %d\r\n" % max(1, ceil(wait_s))
        if kind is ErrorKind.QUOTA:
            lines += self._rates.lines(now_s, time.time())
        self.refuse(exchange, self._row(kind, str(error)), lines)

    def _row(self, kind: ErrorKind, message: str) -> ErrorRow:
        """The provider's error of this kind, with these words."""
        rows = (*errors_of(self._dialect), *errors_of(COMPATIBLE))
        return next(row for row in rows if row.kind is kind)._replace(message=message)

    def _ask(self, exchange: Exchange, api: str | None) -> None:
        try:
            if api is None:
                self._count(exchange)
            elif api == "embeddings":
                self._embed(exchange)
            else:
                self._order(exchange, api)
        except (msgspec.DecodeError, UnicodeError, RequestError) as error:
            self.refuse(exchange, self._row(ErrorKind.BAD_REQUEST, str(error)))

    def _order(self, exchange: Exchange, api: str) -> None:
        fault = self._fault(exchange)
        plain = api == "chat" and self.script is None
        with_done = fault is None or fault.what != NO_DONE
        model, order = self._plain(exchange, with_done) if plain else self._neutral(exchange, api, with_done)
        if not self._serves(exchange, model):
            return
        refused = refused_parameter(self._dialect, api, exchange.body)
        if refused is not None:
            self.refuse(exchange, refused)
            return
        order.fault = fault
        self._take(order)

    def _serves(self, exchange: Exchange, model: str) -> bool:
        """Whether this is the name of the backend's model; else says so."""
        if model != self._model:
            said = f"the model {model!r} does not exist; this backend serves {self._model}"
            self.refuse(exchange, self._row(ErrorKind.MODEL_NOT_FOUND, said))
        return model == self._model

    def _count(self, exchange: Exchange) -> None:
        request = read_count_request(exchange.body)
        if self._serves(exchange, request.model):
            exchange.respond(200, JSON, write_count(token_count(request_content(request))))

    def _plain(self, exchange: Exchange, with_done: bool) -> tuple[str, Order]:
        body = _chats.decode(exchange.body)
        content = body.content()
        writer = self._chat_writer(body.model, body.include_usage, with_done)
        order = Order(exchange, content, bool(body.stream), body.ceiling, 1, writer)
        self._repeat_itself(order, body.begun(self._dialect))
        return body.model, order

    def _neutral(self, exchange: Exchange, api: str, with_done: bool) -> tuple[str, Order]:
        wire = APIS[api]  # type: ignore[index]  # `embeddings` is none of these
        request = wire.read_request(exchange.body)
        content = request_content(request)
        writer: Callable[[str], AnswerWriter]
        if api == "chat":
            writer = self._chat_writer(request.model, request.include_usage, with_done)
        else:
            writer = lambda answer_id: ApiAnswer(wire, request, answer_id)  # noqa: E731
        order = Order(exchange, content, request.stream, request.max_output_tokens, 1, writer)
        begun = begun_by(request, self._dialect)
        if self.script is None:
            self._repeat_itself(order, begun)
        else:
            self._speak(order, self.script, request, begun)
        return request.model, order

    def _speak(self, order: Order, script: Script, request: Request, begun: str) -> None:
        step = step_of(script, request, bool(begun) and not request.prompts)
        order.tokens = lambda answer_id: rest_of(step_events(step, request, answer_id), begun)
        order.wanted = len(order.tokens(""))

    def _repeat_itself(self, order: Order, begun: str) -> None:
        """Plain tokens, as many as the answer lacks."""
        said = _token_bytes(begun)
        asked = order.content[: len(order.content) - said]
        wanted = self._length(order.exchange, asked)
        order.wanted = max(1, wanted - said // len(TOKEN))
        if said and wanted <= said // len(TOKEN):
            order.tokens = lambda answer_id: [()]  # nothing is left: the token that ends an answer has no text

    def _chat_writer(self, model: str, include_usage: bool, with_done: bool) -> Callable[[str], AnswerWriter]:
        dialect = self._dialect
        return lambda answer_id: ProviderChat(
            dialect, f"chatcmpl-{answer_id}", model, include_usage=include_usage, with_done=with_done
        )

    def _length(self, exchange: Exchange, content: bytes) -> int:
        """The header's length, or one drawn by what is asked: wherever it is asked, the answer is the same."""
        header = exchange.headers.get(OUTPUT_TOKENS_HEADER, b"")
        if header.isdigit():
            return max(1, int(header))
        draw: Random = stream(self._seed, f"emulate.{crc32(content)}.{len(content)}")
        return max(1, round(draw.lognormvariate(LENGTH_MU, LENGTH_SIGMA)))

    def _fault(self, exchange: Exchange) -> Fault | None:
        """What goes wrong with this request: as its header says, or the next of the list."""
        text = exchange.headers.get(FAULT_HEADER, b"").decode("latin-1")
        if not text and self.faults:
            text = self.faults.popleft()
        return read_fault(text, self._name, self._dialect)

    def _control(self, exchange: Exchange) -> None:
        try:
            if exchange.path.endswith(b"faults"):
                wanted = _lists.decode(exchange.body)
                for text in wanted:
                    read_fault(text, self._name, self._dialect)
                self.faults = deque(wanted)
            else:
                self.script = None if exchange.body.strip() == b"[]" else read_script(exchange.body)
        except (msgspec.DecodeError, RequestError) as error:
            self.refuse(exchange, self._row(ErrorKind.BAD_REQUEST, str(error)))
            return
        exchange.respond(200, JSON, b"{}")

    def _embed(self, exchange: Exchange) -> None:
        """A vector for each input, drawn by its text."""
        decoded = msgspec.json.decode(exchange.body)
        body = decoded if isinstance(decoded, dict) else {}
        model = body.get("model")
        if not isinstance(model, str):
            raise RequestError("model: a string is required", "model")
        if not self._serves(exchange, model):
            return
        asked = body.get("input")
        inputs = asked if isinstance(asked, list) and asked and not isinstance(asked[0], int) else [asked]
        texts = [text if isinstance(text, str) else msgspec.json.encode(text).decode() for text in inputs]
        data = []
        for index, text in enumerate(texts):
            draw = stream(self._seed, f"embed.{text}")
            vector = [draw.uniform(-1.0, 1.0) for _ in range(EMBEDDING_SIZE)]
            data.append({"object": "embedding", "index": index, "embedding": vector})
        tokens = sum(token_count(text.encode()) for text in texts)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        answer = {"object": "list", "data": data, "model": self._model, "usage": usage}
        exchange.respond(200, JSON, msgspec.json.encode(answer))


def _token_bytes(text: str) -> int:
    """Length of the plain tokens at its end."""
    end = len(text)
    while text.endswith(TOKEN, 0, end):
        end -= len(TOKEN)
    return len(text) - end
