"""The models that clients may ask for, as OpenAI's and Anthropic's clients read them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from gateway_rig import WHOLE, Rig, RunRig, ScriptedBackend
from openai.types import Model

from headrace import rng
from headrace.fleet import Fleet
from headrace.policy import PolicyEngine


def test_the_catalogue_has_models_and_aliases_with_what_reaches_them(run_rig: RunRig) -> None:
    def with_names(fleet: Fleet) -> Any:
        fleet.models["m2"] = replace(fleet.models["m"], name="m2")
        fleet.aliases["gpt/9"] = "m"
        fleet.fallbacks["m"] = ("m2",)
        return PolicyEngine(fleet, rng.stream(0, "policy"))

    async def scenario(rig: Rig) -> None:
        status, _, body, _ = await rig.ask(b"GET /v1/models HTTP/1.1\r\nhost: h\r\n\r\n")
        answer = json.loads(body)
        assert status == 200
        assert [entry["id"] for entry in answer["data"]] == ["m", "m2", "gpt/9", "fast-m"]
        for entry in answer["data"]:
            Model.model_validate(entry, strict=True)
            assert (entry["type"], entry["display_name"]) == ("model", entry["id"]), "as Anthropic's clients read it"
        alias = answer["data"][2]["headrace"]
        assert (alias["model"], alias["fallbacks"], alias["lacks"]) == ("m", ["m2"], ["images"])
        assert alias["apis"] == ["chat", "completions", "responses", "messages", "embeddings"]
        _, _, body, _ = await rig.ask(b"GET /v1/models/gpt%2F9 HTTP/1.1\r\nhost: h\r\n\r\n")
        assert json.loads(body) == answer["data"][2]
        status, _, body, _ = await rig.ask(b"GET /v1/models/none HTTP/1.1\r\nhost: h\r\n\r\n")
        assert (status, json.loads(body)["error"]["code"]) == (404, "model_not_found")
        assert (await rig.ask(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"))[0] == 200

    run_rig(scenario, ScriptedBackend(WHOLE), engine_for=with_names, settings=[{"lacks": ("images",)}])
