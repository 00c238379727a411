"""A real model behind headrace: llama.cpp with a 270M-parameter Gemma, through every API that clients speak.

It is the base model and rambles: nothing is said here about what it says, only that it comes, whole, and is counted.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import anthropic
import openai
import pytest
from rig import TIMEOUT_S, Client, command, free_port

pytestmark = pytest.mark.xdist_group("real model")  # one process is enough
MODEL = "gemma-3-270m"
TOKENS = 12
QUESTION = [{"role": "user", "content": "Count to ten."}]
SPEED = "observed = { ttft_s = 0.1, input_tokens_per_s = 1000.0, tpot_s = 0.02 }"
SIZE = 640  # of its vectors: `hidden_size`


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, examples_dir: Path) -> Iterator[str]:
    """The example of a fleet of one real backend, served."""
    folder, port = tmp_path_factory.mktemp("real"), free_port()
    llama = [Client("llama-cpp").binary("python"), str(examples_dir / "local" / "server.py"), "--port", str(port)]
    server = subprocess.Popen([*llama, "--slots", "2", "--embeddings"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        assert MODEL in server.stdout.readline()
        text = (examples_dir / "local" / "fleet.toml").read_text()
        text = text.replace('calibrated = "calibration.toml"', SPEED).replace("8090", str(port))
        fleet = folder / "fleet.toml"
        fleet.write_text(text)
        with command(folder, "serve", str(fleet), "--port", "0", "--admin-port", "0") as found:
            yield found["url"].removesuffix("/v1")
    finally:
        server.terminate()
        server.wait(TIMEOUT_S)
        server.stdout.close()


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=TIMEOUT_S) as found:
        yield found


def test_chat(client: openai.OpenAI) -> None:
    asked = {"model": MODEL, "messages": QUESTION, "max_tokens": TOKENS, "temperature": 0}
    whole = client.chat.completions.create(**asked)  # type: ignore[call-overload]
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))  # type: ignore[call-overload]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content != ""
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens <= TOKENS


def test_structured_output(client: openai.OpenAI) -> None:
    schema = {"type": "object", "properties": {"n": {"enum": [7]}}, "required": ["n"], "additionalProperties": False}
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    whole = client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=40, response_format=wanted)  # type: ignore[call-overload]
    assert "".join(whole.choices[0].message.content.split()) == '{"n":7}'


def test_completions(client: openai.OpenAI) -> None:
    stream = client.completions.create(model=MODEL, prompt="One, two,", max_tokens=TOKENS, stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream if chunk.choices)


def test_responses(client: openai.OpenAI) -> None:
    whole = client.responses.create(model=MODEL, input="Count to ten.", max_output_tokens=TOKENS)
    assert whole.output_text
    assert 0 < whole.usage.output_tokens <= TOKENS
    with client.responses.stream(model=MODEL, input="Count to ten.", max_output_tokens=TOKENS) as stream:
        types = [event.type for event in stream]
    assert "response.output_text.delta" in types
    assert types[-1] in ("response.completed", "response.incomplete")


def test_messages(url: str) -> None:
    with anthropic.Anthropic(base_url=url, api_key="none", max_retries=0, timeout=TIMEOUT_S) as client:
        with client.messages.stream(model=MODEL, max_tokens=TOKENS, messages=QUESTION) as stream:
            final = stream.get_final_message()
        assert final.content[0].text
        assert 0 < final.usage.output_tokens <= TOKENS
        assert client.messages.count_tokens(model=MODEL, messages=QUESTION).input_tokens > 0


def test_embeddings(client: openai.OpenAI) -> None:
    vectors = client.embeddings.create(model=MODEL, input=["one", "two"]).data
    assert [len(vector.embedding) for vector in vectors] == [SIZE, SIZE]
    assert vectors[0].embedding != vectors[1].embedding
