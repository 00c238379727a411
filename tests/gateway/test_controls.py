"""What a client asks of headrace itself, and what a fleet says of names, classes, fallbacks and capabilities."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from emulated_rig import CHAT, Ask, through
from gateway_rig import COMPLETION, WHOLE, Rig, RunRig, ScriptedBackend, error_response, post

from headrace import rng
from headrace.errors import RequestError
from headrace.fleet import Fleet
from headrace.gateway.controls import read_controls
from headrace.policy import Arrived, Outcome, PolicyEngine
from headrace.wire.body import NULL
from headrace.workload import WorkloadClass

pytestmark = pytest.mark.usefixtures("backends_of_one_api")


def real(fleet: Fleet) -> PolicyEngine:
    return PolicyEngine(fleet, rng.stream(0, "policy"))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("headers", "field"), [("x-headrace-explain: 1\r\n", None), ("", {"explain": True, "value_of_time_usd_per_s": 0.5})]
)
def test_the_priced_table_of_candidates_comes_back(headers: str, field: Any, stream: bool) -> None:
    async def scenario(ask: Ask, engine: PolicyEngine) -> None:
        fields = {} if field is None else {"headrace": field}
        status, answered, _, _ = await ask(headers=headers, stream=stream, **fields)
        table = json.loads(answered[b"x-headrace-explain"])
        assert status == 200
        assert [row["backend"] for row in table] == ["b0", "b1"]
        assert answered[b"x-headrace-backend"].decode() == table[0]["backend"], "the cheapest was taken"
        for row in table:
            parts = ("cost_usd", "time_usd", "risk_usd", "delay_usd", "shares_usd", "limits_usd")
            assert row["total_usd"] == pytest.approx(sum(row[part] for part in parts), rel=1e-2)
        assert b"x-headrace-explain" not in (await ask())[1]

    through(scenario, "only-chat", "only-messages")


def test_the_field_never_reaches_a_backend(run_rig: RunRig) -> None:
    backend = ScriptedBackend(WHOLE)

    async def scenario(rig: Rig) -> None:
        await rig.ask(post(headrace={"class": "coding", "value_of_time_usd_per_s": 0.25}, temperature=0.5))
        (arrived,) = rig.engine.of(Arrived)
        assert (arrived.workload_class, arrived.value_of_time_usd_per_s) == ("coding", 0.25)
        assert backend.bodies == [{"model": "m", "messages": [], "temperature": 0.5}]
        await rig.ask(post(b"x-headrace-class: chat\r\n", headrace={"class": "coding"}))
        assert rig.engine.of(Arrived)[1].workload_class == "chat", "a header goes first"

    run_rig(scenario, backend)


@pytest.mark.parametrize(
    ("headers", "fields", "named"),
    [
        (b"x-headrace-deadline-s: soon\r\n", {}, "x-headrace-deadline-s"),
        (b"x-headrace-deadline-s: 0\r\n", {}, "x-headrace-deadline-s"),
        (b"x-headrace-value-of-time-usd-per-s: nan\r\n", {}, "x-headrace-value-of-time-usd-per-s"),
        (b"x-headrace-pool: nowhere\r\n", {}, "nowhere"),
        (b"", {"headrace": {"pol": "p0"}}, "pol"),
        (b"", {"headrace": {"deadline_s": -1}}, "$.deadline_s"),
        (b"", {"headrace": {"class": "none"}}, "none"),
        (b"", {"headrace": 3}, "headrace"),
    ],
)
def test_what_has_no_sense_is_a_400_that_names_it(
    run_rig: RunRig, headers: bytes, fields: dict[str, Any], named: str
) -> None:
    async def scenario(rig: Rig) -> None:
        status, _, body, _ = await rig.ask(post(headers, **fields))
        assert status == 400
        assert named in json.loads(body)["error"]["message"]

    run_rig(scenario, ScriptedBackend(WHOLE), engine_for=real)


def test_a_request_never_leaves_its_pool(run_rig: RunRig) -> None:
    async def scenario(rig: Rig) -> None:
        for pool, backend in (("p0", b"b0"), ("p1", b"b1")):
            _, headers, _, _ = await rig.ask(post(b"x-headrace-pool: %b\r\n" % pool.encode()))
            assert headers[b"x-headrace-backend"] == backend

    run_rig(scenario, ScriptedBackend(WHOLE), ScriptedBackend(WHOLE), engine_for=real)


def test_a_deadline_that_passes_is_a_504_and_the_backend_hears_of_it(run_rig: RunRig) -> None:
    async def never(reader: Any, writer: Any) -> None:
        await reader.read()

    async def scenario(rig: Rig) -> None:
        status, _, body, _ = await rig.ask(post(b"x-headrace-deadline-s: 0.05\r\n"))
        assert (status, json.loads(body)["error"]["code"]) == (504, "deadline_passed")
        assert [row["status"] for row in rig.ledger.ended] == ["cancelled"]

    run_rig(scenario, ScriptedBackend(never))


def test_a_deadline_that_is_met_is_no_more(run_rig: RunRig) -> None:
    async def scenario(rig: Rig) -> None:
        assert (await rig.ask(post(b"x-headrace-deadline-s: 5\r\n")))[2] == COMPLETION

    run_rig(scenario, ScriptedBackend(WHOLE))


@pytest.mark.parametrize(("text", "value"), [(b"1", True), (b"true", True), (b"0", False)])
def test_explain_is_asked_by_yes(text: bytes, value: bool) -> None:
    found = read_controls({b"x-headrace-explain": text}, NULL)
    assert found is not None
    assert found.explain is value
    assert read_controls({}, NULL) is None
    with pytest.raises(RequestError):
        read_controls({b"x-headrace-deadline-s": b"inf"}, NULL)


CLIENTS = [
    ("user-agent: claude-cli/2.1.0 (external, cli)", "coding"),
    ("originator: codex_exec", "coding"),
    ("traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "agent"),
    ("a2a-extensions: x", "agent"),
    ("user-agent: curl/8", "chat"),
]


@pytest.mark.parametrize(("header", "expected"), CLIENTS)
def test_a_client_gives_its_class_away(run_rig: RunRig, header: str, expected: str) -> None:
    def with_agents(fleet: Fleet) -> Any:
        fleet.classes["agent"] = WorkloadClass("agent", 0.001)
        return real(fleet)

    async def scenario(rig: Rig) -> None:
        _, headers, _, _ = await rig.ask(post(header.encode() + b"\r\n"))
        assert headers[b"x-headrace-class"].decode() == expected

    run_rig(scenario, ScriptedBackend(WHOLE), engine_for=with_agents)


def test_a_name_stands_for_a_model_and_a_fallback_answers_where_it_cannot(run_rig: RunRig) -> None:
    first, second = ScriptedBackend(error_response(500)), ScriptedBackend(WHOLE)

    def two_models(fleet: Fleet) -> Any:
        fleet.models["m2"] = replace(fleet.models["m"], name="m2")
        fleet.aliases["gpt-9"] = "m"
        fleet.fallbacks["m"] = ("m2",)
        routes = (
            replace(fleet.routes[0], model="m", pools=("p0",)),
            replace(fleet.routes[0], model="m2", pools=("p1",)),
        )
        object.__setattr__(fleet, "routes", routes)
        return real(fleet)

    async def scenario(rig: Rig) -> None:
        status, headers, body, _ = await rig.ask(post(model="gpt-9"))
        assert (status, body, headers[b"x-headrace-backend"]) == (200, COMPLETION, b"b1")
        assert (first.bodies[0]["model"], second.bodies[0]["model"]) == ("m", "m2")
        assert [row["status"] for row in rig.ledger.ended] == ["failed"] * 3 + ["completed"], "as many as limits allow"

    run_rig(scenario, first, second, engine_for=two_models)


def test_without_a_fallback_that_can_the_client_is_told_once(run_rig: RunRig) -> None:
    def two_models(fleet: Fleet) -> Any:
        fleet.models["m2"] = replace(fleet.models["m"], name="m2")
        fleet.fallbacks["m"] = ("m2",)
        return real(fleet)

    async def scenario(rig: Rig) -> None:
        status, _, body, _ = await rig.ask(post())
        assert (status, json.loads(body)["error"]["type"]) == (503, "server_error")
        ends = [action for _, _, actions in rig.journal for action in actions if hasattr(action, "outcome")]
        assert len(ends) == 2, "two requests to the engine, each ended once"
        assert Outcome.COMPLETED not in [end.outcome for end in ends]

    run_rig(scenario, ScriptedBackend(error_response(500)), engine_for=two_models)


LACKING = [
    ("tools", {"tools": [{"type": "function", "function": {"name": "f"}}]}),
    ("images", {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}]}),
    ("json_schema", {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}}),
    ("logprobs", {"logprobs": True}),
    ("choices", {"n": 2}),
]


@pytest.mark.parametrize(("lacked", "fields"), LACKING, ids=lambda each: str(each)[:20])
def test_a_request_goes_where_the_model_can_do_it(run_rig: RunRig, lacked: str, fields: dict[str, Any]) -> None:
    lacking = {"lacks": (lacked,)}

    async def elsewhere(rig: Rig) -> None:
        assert (await rig.ask(post(**fields)))[1][b"x-headrace-backend"] == b"b1"
        assert (await rig.ask(post(temperature=1)))[1][b"x-headrace-backend"] == b"b0"

    async def nowhere(rig: Rig) -> None:
        status, _, body, _ = await rig.ask(post(**fields))
        assert status == 400
        assert json.loads(body)["error"]["param"] in fields
        assert lacked in json.loads(body)["error"]["message"]

    run_rig(elsewhere, ScriptedBackend(WHOLE), ScriptedBackend(WHOLE), engine_for=real, settings=[lacking])
    run_rig(nowhere, ScriptedBackend(WHOLE), engine_for=real, settings=[lacking])


@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/v1/responses"])
def test_an_image_of_any_api_is_seen(path: str) -> None:
    parts: dict[str, dict[str, Any]] = {
        CHAT: {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,x"}}]}]},
        "/v1/messages": {
            "max_tokens": 9,
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image", "source": {"type": "url", "url": "https://example.com/b"}}],
                }
            ],
        },
        "/v1/responses": {
            "input": [
                {
                    "role": "user",
                    "content": [{"type": "input_image", "image_url": "https://example.com/b", "detail": "low"}],
                }
            ]
        },
    }

    async def scenario(ask: Ask, engine: PolicyEngine) -> None:
        status, _, body, _ = await ask(path=path, **parts[path])
        assert status == 400
        assert "no images" in json.loads(body)["error"]["message"]

    through(scenario, "only-chat", lacks=("images",))
