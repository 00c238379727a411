"""A backend says which dialect it speaks and with which credential; what does not go together is a fault."""

from __future__ import annotations

import pytest
from test_fleet_file import changed, faults_of

from headrace.config import parse_fleet
from headrace.fleet.dialect_check import auth_of
from headrace.wire.dialects import Auth

SERVICE = 'url = "https://api.example.com/openai"\napi_key_env = "FAST_KEY"'
PATH = "pools.fast.backends[0]"
GROQ = "https://api.groq.com/openai"
OWN = "https://llm.example.com"
BEDROCK = "https://bedrock-runtime.us-east-1.amazonaws.com/openai"
VERTEX = "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/us-central1/endpoints/openapi"
PUBLISHER = "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/l/publishers/openai/v1"
TOKEN = 'token_command = ["gcloud", "auth", "print-access-token"]'
KEY = 'api_key_env = "KEY"'


def service(url: str, *settings: str) -> str:
    """A fleet whose service is at this URL, with these settings."""
    return changed(SERVICE, "\n".join((f'url = "{url}"', *settings)))


def speaks(name: str) -> str:
    return f'dialect = "{name}"'


@pytest.mark.parametrize(
    ("url", "settings", "auth"),
    [
        (OWN, (), Auth.NONE),
        (OWN, (KEY,), Auth.BEARER),
        (GROQ, (speaks("groq"), KEY), Auth.BEARER),
        ("https://api.cerebras.ai", (speaks("cerebras"), KEY), Auth.BEARER),
        ("https://api.anthropic.com", (speaks("anthropic"), KEY), Auth.X_API_KEY),
        ("https://eu.api.openai.com", (speaks("openai"), KEY), Auth.BEARER),
        (BEDROCK, (speaks("bedrock"), KEY), Auth.BEARER),
        (BEDROCK, (speaks("bedrock"),), Auth.SIGV4),
        (OWN, (speaks("bedrock"), 'aws_region = "eu-west-1"'), Auth.SIGV4),
        (VERTEX, (speaks("vertex"), TOKEN), Auth.TOKEN_COMMAND),
        (PUBLISHER, (speaks("vertex"), TOKEN), Auth.TOKEN_COMMAND),
        (OWN, (speaks("vllm-tpu"),), Auth.NONE),
        ("http://127.0.0.1:9000", (speaks("groq"), "emulated = true"), Auth.NONE),
    ],
)
def test_a_credential_is_chosen_by_what_the_backend_sets(url: str, settings: tuple[str, ...], auth: Auth) -> None:
    backend = parse_fleet(service(url, *settings), "x").pools["fast"].backends[0]
    assert auth_of(backend) is auth


@pytest.mark.parametrize(
    ("url", "settings", "setting", "says"),
    [
        (OWN, (speaks("gorq"),), "dialect", "did you mean 'groq'"),
        (OWN, (speaks("nobody-s"),), "dialect", "known: openai-compatible"),
        (GROQ, (KEY,), "dialect", 'set dialect = "groq"'),
        (BEDROCK, (KEY,), "dialect", 'set dialect = "bedrock"'),
        (GROQ, (speaks("openai"), KEY), "dialect", 'set dialect = "groq"'),
        (GROQ, (speaks("groq"),), "api_key_env", "missing"),
        (VERTEX, (speaks("vertex"),), "token_command", "missing"),
        (VERTEX, (speaks("vertex"), KEY), "api_key_env", "set token_command"),
        ("https://api.anthropic.com", (speaks("anthropic"), TOKEN), "token_command", "set api_key_env instead"),
        (OWN, (KEY, TOKEN), "token_command", "remove one"),
        (OWN, (speaks("bedrock"),), "aws_region", "does not name the region"),
        (f"{OWN}/v1", (), "url", "leave it out"),
    ],
)
def test_what_does_not_go_together_is_a_fault_with_a_remedy(
    url: str, settings: tuple[str, ...], setting: str, says: str
) -> None:
    (fault,) = faults_of(service(url, *settings))
    assert fault.path == f"{PATH}.{setting}"
    assert says in fault.message
