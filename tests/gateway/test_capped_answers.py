"""An attempt's ceiling is lowered below the client's, and the client reads one answer, as if it had not been."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import gateway_rig
import pytest
from gateway_rig import SSE_HEAD, Rig, RunRig, chunk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rescue_rig import PATIENT, events_of

from headrace import rng
from headrace.fleet import Fleet, Quota
from headrace.policy import DispatchReason, PolicyEngine
from headrace.policy.predict import BinnedPredictor
from headrace.policy.right_size import LEAST_TOKENS
from headrace.wire import ApiName
from headrace.wire.apis import APIS
from headrace.wire.dialects import COMPATIBLE, DIALECTS, Continuation, Reservation

LOWERING = replace(PATIENT, right_size=0.98)
CEREBRAS_LIKE = Reservation("a test", output_ceiling=True, assumed_output_tokens=16_384)
DIALECT = replace(
    COMPATIBLE,
    name="reserving",
    paths={"chat": "/v1/chat/completions", "completions": "/v1/completions"},
    reservation=CEREBRAS_LIKE,
    continuation=Continuation.TRAILING_ASSISTANT,
)
INPUT_TOKENS = 7


class Asked(NamedTuple):
    """What the model is asked by one request: by which API, with what body."""

    api: ApiName
    body: dict[str, Any]

    @property
    def ceiling(self) -> int | None:
        found = self.body.get("max_completion_tokens", self.body.get("max_tokens"))
        return found if found is None else int(found)

    @property
    def before(self) -> str:
        """What it is to go on with."""
        if self.api == "completions":
            return str(self.body["prompt"]).removeprefix("Go.")
        last = self.body["messages"][-1]
        return str(last["content"]) if last["role"] == "assistant" else ""


class ObedientModel:
    """Says `pieces`, up to the ceiling that a request has.

    Attributes:
        sizes: of the pieces that its bytes come in. merged: the finish reason comes with the last piece of text.
        thinks: so many of its pieces are reasoning.
    """

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.sizes: list[int] = []
        self.merged = False
        self.thinks = 0
        self.asked: list[Asked] = []

    def says(self, tokens: int, sizes: list[int], merged: bool, thinks: int = 0) -> str:
        self.pieces = [f'{k} "é\\n' for k in range(tokens)]
        self.sizes, self.merged, self.thinks, self.asked = sizes, merged, thinks, []
        return "".join(self.pieces[thinks:])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ")[1].removeprefix(b"/base").decode()
                length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                api = next(api for api, found in APIS.items() if found.path == path)
                asked = Asked(api, json.loads(await reader.readexactly(length)))
                self.asked.append(asked)
                writer.write(SSE_HEAD)
                stream = self.stream(asked)
                for size in self.sizes:
                    if stream[:size]:
                        writer.write(chunk(stream[:size]))
                        await asyncio.sleep(0)
                    stream = stream[size:]
                writer.write((chunk(stream) if stream else b"") + b"0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    def stream(self, asked: Asked) -> bytes:
        said = len(asked.before.split('"é\\n')) - 1 if asked.before else 0
        assert "".join(self.pieces[:said]) == asked.before
        rest = self.pieces[said : None if asked.ceiling is None else said + asked.ceiling]
        reason = "stop" if said + len(rest) == len(self.pieces) else "length"
        choices = [self.choice(asked.api, piece, said + k < self.thinks) for k, piece in enumerate(rest)]
        if self.merged:
            choices[-1]["finish_reason"] = reason
        else:
            choices.append({**self.choice(asked.api, "", False), "finish_reason": reason})
        events: list[dict[str, Any]] = [{"choices": [choice]} for choice in choices]
        if asked.body.get("stream_options", {}).get("include_usage"):
            events.append(
                {"choices": [], "usage": {"prompt_tokens": INPUT_TOKENS + said, "completion_tokens": len(rest)}}
            )
        head = {"id": "a", "created": 1, "model": "m", "object": "chat.completion.chunk"}
        return (
            b"".join(b"data: %b\n\n" % json.dumps({**head, **event}).encode() for event in events) + b"data: [DONE]\n\n"
        )

    def choice(self, api: ApiName, piece: str, thought: bool) -> dict[str, Any]:
        if api == "completions":
            return {"index": 0, "text": piece, "finish_reason": None}
        return {"index": 0, "delta": {"reasoning" if thought else "content": piece}, "finish_reason": None}


def question(api: ApiName, **fields: Any) -> bytes:
    said: dict[str, Any] = (
        {"prompt": "Go."} if api == "completions" else {"messages": [{"role": "user", "content": "Go."}]}
    )
    body = json.dumps({"model": "m", "stream": True, **said, **fields}).encode()
    return b"POST %b HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n" % (APIS[api].path.encode(), len(body)) + body


class Told(NamedTuple):
    """What a client reads of a whole stream."""

    text: str
    reasons: list[str]
    usage: tuple[int, int] | None


def told(stream: bytes) -> Told:
    assert stream.endswith(b"data: [DONE]\n\n")
    assert stream.count(b"[DONE]") == 1
    text, reasons, usage = "", [], None
    for _, data in events_of(stream.removesuffix(b"data: [DONE]\n\n")):
        assert "error" not in data
        for choice in data["choices"]:
            text += choice.get("text") or choice.get("delta", {}).get("content") or ""
            reasons += [choice["finish_reason"]] if choice.get("finish_reason") else []
        if data.get("usage"):
            assert usage is None
            usage = data["usage"]["prompt_tokens"], data["usage"]["completion_tokens"]
    return Told(text, reasons, usage)


class ShortAnswers(BinnedPredictor):
    """Believes that answers are short, whatever it sees."""

    def quantile(self, workload_class: str, tenant: str, input_tokens: int) -> int | None:
        return 10


def short_answers(fleet: Fleet) -> PolicyEngine:
    """An engine that lowers every ceiling that it may to its floor."""
    predictor = ShortAnswers(dict.fromkeys(fleet.classes, 10.0))
    return PolicyEngine(fleet, rng.stream(0, "policy"), predictor=predictor)


@pytest.fixture
def run_capped(run_rig: RunRig, monkeypatch: pytest.MonkeyPatch) -> RunRig:
    """Runs a scenario over two backends with quotas that reserve ceilings, and one model."""
    plain: Callable[..., Fleet] = gateway_rig.small_fleet

    def with_quotas(*args: Any) -> Fleet:
        fleet = plain(*args)
        quota = Quota(tokens_per_minute=1e9)
        pools = {
            name: replace(pool, deployment=replace(pool.deployment, quota=quota)) for name, pool in fleet.pools.items()
        }
        return replace(
            fleet, pools=pools, deployments={pool.deployment.name: pool.deployment for pool in pools.values()}
        )

    monkeypatch.setattr(gateway_rig, "small_fleet", with_quotas)
    monkeypatch.setitem(DIALECTS, "reserving", DIALECT)
    monkeypatch.setitem(DIALECTS, "raw", replace(DIALECT, name="raw", continuation=Continuation.RAW_PROMPT))

    def run(scenario: Any, model: ObedientModel, *dialects: str, **more: Any) -> None:
        dialects = dialects or ("reserving", "reserving")
        name = more.pop("called", None)
        backends = [{"dialect": dialect, "served_model_name": name} for dialect in dialects]
        given = {"limits": LOWERING, **more}
        run_rig(scenario, *[model] * len(dialects), settings=backends, engine_for=short_answers, **given)

    return run


lengths = st.integers(1, 70) | st.integers(1, 400) | st.sampled_from([LEAST_TOKENS - 1, LEAST_TOKENS, LEAST_TOKENS + 1])
ceilings = st.none() | st.sampled_from([30, 2 * LEAST_TOKENS - 1, 2 * LEAST_TOKENS]) | st.integers(1, 500)
answers = st.tuples(lengths, ceilings, st.lists(st.integers(1, 3000), max_size=30), st.booleans(), st.booleans())


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_a_lowered_ceiling_goes_with_the_backend_s_name_of_the_model(run_capped: RunRig, api: ApiName) -> None:
    """Also when the answer is gone on with."""
    model = ObedientModel()

    async def scenario(rig: Rig) -> None:
        model.says(3 * LEAST_TOKENS, [], merged=False)
        status, _, stream, complete = await rig.ask(question(api))
        assert (status, complete, told(stream).text) == (200, True, "".join(model.pieces))
        assert len(model.asked) > 1
        assert {asked.body["model"] for asked in model.asked} == {"maker/it"}

    run_capped(scenario, model, called="maker/it")


@pytest.mark.parametrize("api", ["chat", "completions"])
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(answers, min_size=10, max_size=10))
def test_the_client_reads_one_answer_as_long_as_it_allows(run_capped: RunRig, api: ApiName, cases: list[Any]) -> None:
    model = ObedientModel()

    async def scenario(rig: Rig) -> None:
        for length, ceiling, sizes, merged, wants_usage in cases:
            model.says(length, sizes, merged)
            fields = {} if ceiling is None else {"max_tokens": ceiling}
            options = {"stream_options": {"include_usage": True}} if wants_usage else {}
            rig.ledger.ended.clear()
            status, _, stream, complete = await rig.ask(question(api, **fields, **options))
            assert (status, complete) == (200, True), stream[-500:]
            given = length if ceiling is None else min(length, ceiling)
            read = told(stream)
            assert read.text == "".join(model.pieces[:given])
            assert read.reasons == ["stop" if given == length else "length"]
            assert read.usage == ((INPUT_TOKENS, given) if wants_usage else None)
            lowered = ceiling is None or ceiling >= 2 * LEAST_TOKENS
            assert model.asked[0].ceiling == (LEAST_TOKENS if lowered else ceiling)
            assert len(model.asked) == (2 if lowered and length > LEAST_TOKENS else 1)
            await rig.until(lambda: not rig.ledger.open)
            closed = rig.ledger.ended
            assert [entry["status"] for entry in closed] == ["completed"] * len(model.asked)
            assert sum(entry["output_tokens"] for entry in closed) == given

    run_capped(scenario, model)


def test_what_goes_on_is_asked_for_what_is_left_at_the_same_backend_and_is_no_failure(run_capped: RunRig) -> None:
    model = ObedientModel()

    async def scenario(rig: Rig) -> None:
        text = model.says(100, [], False)
        _, _, stream, _ = await rig.ask(question("chat", max_tokens=300))
        assert told(stream).text == text
        assert b": headrace-rescued" not in stream
        assert [asked.ceiling for asked in model.asked] == [LEAST_TOKENS, 300 - LEAST_TOKENS]
        first, second = rig.ledger.ended
        assert first["backend"] == second["backend"]
        assert (first["reserved_output_tokens"], second["reason"]) == (LEAST_TOKENS, DispatchReason.CONTINUED)
        telemetry = rig.gateway.gateway.telemetry
        assert telemetry.counters.rescues == {}
        assert telemetry.counters.attempts == {(first["backend"], "capped"): 1, (first["backend"], "completed"): 1}

    run_capped(scenario, model)


TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [TOOL]},
        {"n": 2},
        {"logprobs": True},
        {"response_format": {"type": "json_object"}},
        {"reasoning_effort": "low"},
        {"min_tokens": 100},
        {"messages": [{"role": "assistant", "content": ""}]},
    ],
)
def test_what_might_not_be_gone_on_with_keeps_its_ceiling(run_capped: RunRig, fields: dict[str, Any]) -> None:
    model = ObedientModel()

    async def scenario(rig: Rig) -> None:
        model.says(100, [], False)
        status, *_ = await rig.ask(question("chat", max_tokens=300, **fields))
        assert status == 200
        assert [asked.ceiling for asked in model.asked] == [300]

    run_capped(scenario, model)


def test_where_no_backend_goes_on_with_a_chat_no_chat_is_lowered_and_a_completion_is(run_capped: RunRig) -> None:
    model = ObedientModel()

    async def scenario(rig: Rig) -> None:
        for api, asked_for in (("chat", [300]), ("completions", [LEAST_TOKENS, 300 - LEAST_TOKENS])):
            text = model.says(100, [], False)
            _, _, stream, _ = await rig.ask(question(api, max_tokens=300))  # type: ignore[arg-type]
            assert told(stream).text == text
            assert [asked.ceiling for asked in model.asked] == asked_for

    run_capped(scenario, model, "raw", "raw")


def test_another_backend_goes_on_with_a_chat_where_its_own_cannot(run_capped: RunRig) -> None:
    model = ObedientModel()

    async def scenario(rig: Rig) -> None:
        text = model.says(100, [], False)
        _, _, stream, _ = await rig.ask(question("chat", max_tokens=300))
        assert told(stream).text == text
        first, second = rig.ledger.ended
        assert (first["backend"], second["backend"]) == ("b0", "b1")

    run_capped(scenario, model, "raw", "reserving")


def test_one_that_reasons_past_the_ceiling_begins_anew_and_its_model_keeps_its_ceilings_from_then_on(
    run_capped: RunRig,
) -> None:
    model = ObedientModel()

    async def scenario(rig: Rig) -> None:
        for asked_for in ([LEAST_TOKENS, 1000 - LEAST_TOKENS], [1000]):
            text = model.says(200, [], False, thinks=100)
            _, _, stream, complete = await rig.ask(question("chat", max_tokens=1000))
            assert complete
            assert told(stream)[:2] == (text, ["stop"])
            assert [asked.ceiling for asked in model.asked] == asked_for

    run_capped(scenario, model)


def test_without_a_quota_that_reserves_ceilings_none_is_lowered(run_rig: RunRig) -> None:
    model = ObedientModel()

    async def scenario(rig: Rig) -> None:
        text = model.says(100, [], False)
        _, _, stream, _ = await rig.ask(question("chat", max_tokens=300))
        assert told(stream).text == text
        assert [asked.ceiling for asked in model.asked] == [300]

    run_rig(scenario, model, engine_for=short_answers, limits=LOWERING)
