"""A request is fitted to each provider as its column of the parameter table says, and otherwise left alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import RequestError
from headrace.wire.dialects import DIALECTS, AwsKeys, Fitted, Fitter, Treatment, region_of, sign
from headrace.wire.dialects.page import dialects_page

MESSAGES = [{"role": "user", "content": "hi"}]
STRICT = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


def schema_format(schema: Mapping[str, Any], strict: bool = True) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "n", "strict": strict, "schema": schema}}


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": MESSAGES, **fields}, separators=(",", ":")).encode()


def fitted(provider: str, **fields: Any) -> Fitted:
    return Fitter(DIALECTS[provider], "chat").fit(body(**fields))


def sent(provider: str, **fields: Any) -> dict[str, Any]:
    """What goes out of these fields."""
    found: dict[str, Any] = json.loads(fitted(provider, **fields).body)
    return {name: value for name, value in found.items() if name not in ("model", "messages")}


PASS, DROP, REFUSE = "pass", "drop", "refuse"
N, LOGPROBS, TOP = {"n": 2}, {"logprobs": True}, {"top_logprobs": 3}
BIAS, PENALTY, SEED = {"logit_bias": {"50256": -100}}, {"frequency_penalty": 0.5}, {"seed": 7}
PRESENCE, USER, STORE = {"presence_penalty": 0.5}, {"user": "u"}, {"store": True}
META, CACHE, PREDICTION = {"metadata": {"a": "b"}}, {"prompt_cache_key": "k"}, {"prediction": {"type": "content"}}
CHOICE, PARALLEL = {"tool_choice": "required"}, {"parallel_tool_calls": False}
TIER, ZERO, SCHEMA = {"service_tier": "priority"}, {"temperature": 0}, {"response_format": schema_format(STRICT)}
GUIDED = {"guided_json": {"type": "object"}}

CELLS: list[tuple[dict[str, Any], dict[str, str]]] = [
    (N, {"cerebras": PASS, "groq": REFUSE, "openai": PASS, "vllm": PASS, "sglang": PASS, "ollama": REFUSE}),
    (N, {"llama.cpp": PASS}),
    (LOGPROBS, {"cerebras": PASS, "groq": REFUSE, "openai": PASS, "vllm": PASS, "sglang": PASS, "llama.cpp": PASS}),
    (LOGPROBS, {"ollama": PASS}),
    (TOP, {"cerebras": PASS, "groq": REFUSE, "openai": PASS, "vllm": PASS}),
    (BIAS, {"cerebras": PASS, "groq": REFUSE, "openai": PASS, "vllm": PASS, "sglang": PASS, "llama.cpp": PASS}),
    (BIAS, {"ollama": REFUSE}),
    (PENALTY, {"cerebras": PASS, "groq": DROP, "openai": PASS, "vllm": PASS, "sglang": PASS, "llama.cpp": PASS}),
    (PENALTY, {"ollama": PASS}),
    (PRESENCE, {"cerebras": PASS, "groq": DROP, "openai": PASS, "vllm": PASS, "ollama": PASS}),
    (SEED, {"cerebras": PASS, "groq": PASS, "openai": PASS, "vllm": PASS, "vllm-tpu": DROP, "sglang": PASS}),
    (SEED, {"llama.cpp": PASS, "ollama": PASS, "vllm-amd": PASS, "vllm-neuron": PASS}),
    (SCHEMA, dict.fromkeys(("cerebras", "groq", "openai", "vllm", "sglang", "llama.cpp", "ollama"), PASS)),
    (GUIDED, {"vllm": REFUSE, "vllm-tpu": REFUSE, "vllm-amd": REFUSE, "openai-compatible": PASS}),
    (CHOICE, {"cerebras": PASS, "groq": PASS, "openai": PASS, "vllm": PASS, "llama.cpp": PASS, "ollama": REFUSE}),
    (PARALLEL, {"cerebras": PASS, "groq": PASS, "openai": PASS, "vllm": PASS, "sglang": PASS, "ollama": DROP}),
    (TIER, {"cerebras": PASS, "groq": DROP, "openai": PASS, "vllm": PASS, "sglang": PASS, "ollama": DROP}),
    ({"service_tier": "scale"}, {"cerebras": DROP, "groq": DROP, "openai": PASS}),
    ({"service_tier": "flex"}, {"cerebras": PASS, "groq": PASS, "openai": PASS}),
    (USER, {"cerebras": PASS, "groq": PASS, "openai": PASS, "vllm": PASS, "sglang": PASS, "ollama": DROP}),
    (META, {"cerebras": DROP, "groq": DROP, "openai": PASS}),
    (STORE, {"cerebras": DROP, "groq": DROP, "openai": PASS}),
    (CACHE, {"cerebras": PASS, "groq": DROP, "openai": PASS}),
    (PREDICTION, {"cerebras": PASS, "groq": DROP, "openai": PASS}),
    (ZERO, dict.fromkeys(("cerebras", "groq", "openai", "vllm", "sglang", "llama.cpp", "ollama"), PASS)),
]
FLAT = [(fields, provider, treated) for fields, row in CELLS for provider, treated in row.items()]


@pytest.mark.parametrize(("fields", "provider", "treated"), FLAT, ids=lambda each: str(each)[:40])
def test_each_parameter_is_treated_as_its_provider_needs(fields: dict[str, Any], provider: str, treated: str) -> None:
    (name,) = fields
    if treated == REFUSE:
        with pytest.raises(RequestError, match=name) as caught:
            fitted(provider, **fields)
        assert caught.value.param == name
        return
    found = fitted(provider, **fields)
    assert found.dropped == ((name,) if treated == DROP else ())
    assert (found.body == body(**fields)) == (treated == PASS), "what is passed is passed byte for byte"
    assert sent(provider, **fields) == (fields if treated == PASS else {})


@pytest.mark.parametrize(
    ("provider", "given", "name"),
    [
        ("cerebras", "max_tokens", "max_completion_tokens"),
        ("groq", "max_tokens", "max_completion_tokens"),
        ("openai", "max_tokens", "max_completion_tokens"),
        ("ollama", "max_completion_tokens", "max_tokens"),
        ("vllm", "max_completion_tokens", "max_completion_tokens"),
        ("sglang", "max_tokens", "max_tokens"),
        ("llama.cpp", "max_completion_tokens", "max_completion_tokens"),
    ],
)
def test_the_ceiling_has_the_name_that_the_provider_takes(provider: str, given: str, name: str) -> None:
    assert sent(provider, **{given: 9}) == {name: 9}
    assert fitted(provider, **{given: 9}).dropped == ()
    assert sent(provider, max_tokens=1, max_completion_tokens=1).get(name) == 1


@pytest.mark.parametrize(
    ("provider", "effort", "becomes"),
    [
        ("cerebras", "minimal", "low"),
        ("cerebras", "xhigh", "high"),
        ("cerebras", "medium", "medium"),
        ("groq", "max", "high"),
        ("groq", "default", "default"),
        ("openai", "xhigh", "xhigh"),
        ("vllm", "max", "max"),
        ("ollama", "minimal", "low"),
        ("ollama", "max", "max"),
    ],
)
def test_an_effort_that_the_provider_does_not_know_becomes_its_neighbour(
    provider: str, effort: str, becomes: str
) -> None:
    found = fitted(provider, reasoning_effort=effort)
    assert json.loads(found.body)["reasoning_effort"] == becomes
    assert found.approximated == (("reasoning_effort",) if becomes != effort else ())


def test_groq_takes_one_of_the_two_reasoning_switches() -> None:
    assert sent("groq", include_reasoning=True) == {"include_reasoning": True}
    both = fitted("groq", include_reasoning=True, reasoning_format="parsed")
    assert both.dropped == ("include_reasoning",)


def test_groq_takes_no_names_in_messages_and_at_most_128_tools() -> None:
    named = [{"role": "user", "name": "ann", "content": 'is "name" in here?'}, *MESSAGES]
    found = Fitter(DIALECTS["groq"], "chat").fit(body(messages=named))
    assert found.dropped == ("messages[].name",)
    assert json.loads(found.body)["messages"] == [{"role": "user", "content": 'is "name" in here?'}, *MESSAGES]
    quoted = body(messages=[{"role": "user", "content": 'a "name"'}])
    assert Fitter(DIALECTS["groq"], "chat").fit(quoted) == Fitted(quoted)
    tools = [{"type": "function", "function": {"name": f"f{i}"}} for i in range(129)]
    assert fitted("groq", tools=tools[:128]).dropped == ()
    with pytest.raises(RequestError, match="at most 128"):
        fitted("groq", tools=tools)
    assert fitted("cerebras", tools=tools).dropped == ()


@pytest.mark.parametrize("value", [None, 1])
def test_a_value_that_asks_for_nothing_is_left_out_without_a_word(value: int | None) -> None:
    assert fitted("groq", n=value).dropped == ()
    assert sent("groq", n=value, logprobs=False, top_logprobs=0, logit_bias={}) == {}


OPEN = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
OPTIONAL = STRICT | {"required": []}
NESTED = STRICT | {"properties": {"a": {"type": "array", "items": {"anyOf": [OPEN]}}}}


@pytest.mark.parametrize(
    ("provider", "schema", "strict", "fault"),
    [
        ("openai", OPEN, True, "additionalProperties"),
        ("openai", OPEN, False, None),
        ("openai", OPTIONAL, True, "a must be required"),
        ("openai", STRICT | {"allOf": []}, True, "allOf"),
        ("openai", NESTED, True, r"properties.a.items.anyOf\[0\] must say"),
        ("groq", OPTIONAL, True, "required"),
        ("groq", STRICT, True, None),
        ("cerebras", OPEN, True, None),
        ("vllm", STRICT | {"allOf": []}, True, None),
    ],
)
def test_a_schema_outside_the_provider_s_subset_is_refused_with_its_place(
    provider: str, schema: dict[str, Any], strict: bool, fault: str | None
) -> None:
    asked = schema_format(schema, strict)
    if fault is None:
        assert fitted(provider, response_format=asked).dropped == ()
        return
    with pytest.raises(RequestError, match=fault) as caught:
        fitted(provider, response_format=asked)
    assert caught.value.param == "response_format"


def test_anthropic_refuses_bounds_in_a_schema_whether_strict_or_not() -> None:
    bounded = STRICT | {"properties": {"a": {"type": "integer", "minimum": 1}}}
    asked = {"format": {"type": "json_schema", "schema": bounded}}
    fitter = Fitter(DIALECTS["anthropic"], "messages")
    with pytest.raises(RequestError, match="minimum"):
        fitter.fit(body(output_config=asked))
    asked["format"]["schema"] = STRICT
    assert fitter.fit(body(output_config=asked)).body == body(output_config=asked)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
RULED = sorted({rule.name for dialect in DIALECTS.values() for rule in dialect.parameters})
NAMES = st.sampled_from([*RULED, "tools", "messages", "response_format", "other"]) | st.text(max_size=6)


@given(st.sampled_from(sorted(DIALECTS)), st.dictionaries(NAMES, JSON_VALUES, max_size=6), st.integers(0, 2))
def test_fitting_is_idempotent_keeps_the_rest_and_accounts_for_what_is_gone(
    provider: str, fields: dict[str, Any], indent: int
) -> None:
    raw = json.dumps(fields, indent=indent or None).encode()
    fitter = Fitter(DIALECTS[provider], "chat")
    try:
        found = fitter.fit(raw)
    except RequestError:
        return  # each refusal has a test of its own
    assert fitter.fit(found.body).body == found.body
    after = json.loads(found.body)
    ruled = {rule.name for rule in DIALECTS[provider].parameters}
    for name, value in fields.items():
        if name not in ruled and name != "messages":
            assert after[name] == value or name in {rule.renamed for rule in DIALECTS[provider].parameters}
    assert set(found.dropped) <= set(fields) | {"messages[].name"}
    if after == fields:
        assert found.body == raw, "what need not be changed is not written anew"


def test_a_body_that_is_no_object_is_the_client_s_fault() -> None:
    for raw in (b"", b"[]", b"nope", b"\xff"):
        with pytest.raises(RequestError):
            Fitter(DIALECTS["groq"], "chat").fit(raw)
        assert Fitter(DIALECTS["openai-compatible"], "chat").fit(raw).body == raw


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=lambda each: each.name)
def test_every_claim_of_a_dialect_has_a_source(dialect: Any) -> None:
    claims = {"auth", "paths"}
    for name in (
        "reasoning",
        "past_reasoning",
        "custom_tools",
        "developer_role",
        "extensions",
        "usage",
        "cached_tokens",
        "error_shape",
        "stream_error",
        "continuation",
        "done_marker",
    ):
        if getattr(dialect, name) != getattr(DIALECTS["openai-compatible"], name):
            claims.add(name)
    if dialect.name != "openai-compatible":
        assert claims <= set(dialect.sources)
    assert all(rule.source for rule in dialect.parameters)
    assert all(row.source and row.message for row in dialect.errors)
    for rule in dialect.parameters:
        assert (rule.treatment is Treatment.RENAME) == bool(rule.renamed)
        assert (rule.treatment is Treatment.REPLACE) == bool(rule.values)


def test_a_signature_equals_the_published_test_vector() -> None:
    """`get-vanilla` of AWS's Signature Version 4 test suite."""
    keys = AwsKeys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    at = {"host": "example.amazonaws.com", "path": "/", "body": b"", "now_unix_s": 1_440_938_160.0}
    lines = sign(keys, "us-east-1", "service", method="GET", **at)  # type: ignore[arg-type]
    assert b"x-amz-date: 20150830T123600Z\r\n" in lines
    assert b"Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31\r\n" in lines
    temporary = sign(keys._replace(session_token="T"), "us-east-1", "service", method="GET", **at)  # type: ignore[arg-type]
    assert b"SignedHeaders=host;x-amz-date;x-amz-security-token," in temporary


def test_a_region_is_read_from_the_host_and_never_guessed() -> None:
    assert region_of("bedrock-runtime.us-east-1.amazonaws.com") == "us-east-1"
    assert region_of("bedrock-mantle.us-gov-west-1.api.aws") == "us-gov-west-1"
    assert region_of("bedrock.internal") is None


def test_the_page_of_the_dialects_is_the_one_that_the_tables_print() -> None:
    page = Path(__file__).parents[2] / "docs" / "dialects.md"
    assert page.read_text() == dialects_page(DIALECTS.values()), "run: headrace dialects > docs/dialects.md"
