"""Keys and limits at the gateway: 401, 403 and 429 in the shape of each API, and headers that say how limits stand."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from gateway_rig import STREAM, WHOLE, Rig, RunRig, ScriptedBackend, error_response, post

from headrace import rng
from headrace.config import parse_fleet, sample_fleet_text
from headrace.fleet import Allowance, Fleet, Tenants
from headrace.gateway import Entrance
from headrace.gateway.access import Access, owner_of
from headrace.gateway.admin_key import AdminKey
from headrace.policy import Arrived, PolicyEngine
from headrace.tenancy import Accounts, Key, KeyWatch, changing, new_secret

USD = 12 * 0.1e-6 + 5 * 0.4e-6  # of the scripted answer, at the rig's prices


class Guard:
    """A key file and the entrance that knows it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with changing(path):
            pass
        self.keys = KeyWatch(path)
        self.entrance = Entrance(keys=self.keys, accounts=Accounts())

    def key(self, name: str, *, expires_unix_s: float | None = None, **limits: Any) -> bytes:
        """The header line of a new key of tenant `acme`, which the gateway knows at once."""
        secret = new_secret(0.0, expires_unix_s)
        with changing(self.path) as keys:
            keys.append(Key(name=name, tenant="acme", secrets=(secret.kept,), allowance=Allowance(**limits)))
        assert self.keys.look()
        return b"authorization: Bearer " + secret.text.encode() + b"\r\n"


@pytest.fixture
def guard(tmp_path: Path) -> Guard:
    return Guard(tmp_path / "keys.json")


def acme(**limits: Any) -> Callable[[Fleet], Fleet]:
    """The fleet, in which tenant `acme` may so much."""
    return lambda fleet: replace(fleet, tenants=Tenants("x-tenant", allowances={"acme": Allowance(**limits)}))


def real(fleet: Fleet) -> PolicyEngine:
    return PolicyEngine(fleet, rng.stream(1, "policy"))


def message(body: bytes) -> Any:
    return json.loads(body)["error"]


def test_without_a_valid_key_nothing_is_served(run_rig: RunRig, guard: Guard) -> None:
    backend = ScriptedBackend(WHOLE)
    key = guard.key("ci")

    async def scenario(rig: Rig) -> None:
        for line in (b"", b"authorization: Bearer hr_0_x\r\n", b"x-api-key: no\r\n"):
            status, headers, body, _ = await rig.ask(post(line))
            assert status == 401
            assert headers[b"www-authenticate"] == b"Bearer"
            assert message(body)["code"] == "invalid_api_key"
        for path in (b"/v1/models", b"/v1/models/m", b"/openapi.json", b"/v1/responses/r", b"/no"):
            status, *_ = await rig.ask(b"GET %b HTTP/1.1\r\nhost: h\r\n\r\n" % path)
            assert status == 401, path
        assert (await rig.ask(b"GET /health HTTP/1.1\r\nhost: h\r\n\r\n"))[0] == 200
        assert (await rig.ask(b"GET /metrics HTTP/1.1\r\nhost: h\r\n\r\n"))[0] == 404
        assert (await rig.ask(b"GET /v1/models HTTP/1.1\r\nhost: h\r\n%b\r\n" % key))[0] == 200
        assert not backend.heads
        assert (await rig.ask(post(key)))[0] == 200
        assert rig.ledger.ended[0]["tenant"] == "acme"
        assert rig.ledger.ended[0]["key"] == "ci"

    run_rig(scenario, backend, entrance=guard.entrance)


def test_a_key_is_told_of_the_models_that_it_may_have(run_rig: RunRig, guard: Guard) -> None:
    own, other = guard.key("own", models=("m",)), guard.key("other", models=("none",))

    async def scenario(rig: Rig) -> None:
        for key, names, status in ((own, ["m", "fast-m"], 200), (other, [], 404)):
            listed = (await rig.ask(b"GET /v1/models HTTP/1.1\r\nhost: h\r\n%b\r\n" % key))[2]
            assert [each["id"] for each in json.loads(listed)["data"]] == names
            assert (await rig.ask(b"GET /v1/models/m HTTP/1.1\r\nhost: h\r\n%b\r\n" % key))[0] == status

    run_rig(scenario, ScriptedBackend(WHOLE), entrance=guard.entrance)


def test_stored_answers_are_a_keys_whichever_secret_of_it_asks(guard: Guard) -> None:
    """A rotated key goes on with its conversations, and no other key does."""
    secrets = [new_secret(0.0) for _ in range(2)]
    with changing(guard.path) as keys:
        keys.append(Key(name="ours", tenant="acme", secrets=tuple(each.kept for each in secrets)))
    other = guard.key("other")
    access = Access(parse_fleet(sample_fleet_text(), "sample"), guard.keys)

    def owner(line: bytes) -> bytes:
        headers = {b"authorization": line.partition(b": ")[2].strip()}
        return owner_of(access.caller(headers), headers)

    old, new = (owner(b"authorization: Bearer " + each.text.encode()) for each in secrets)
    assert old == new != owner(other)


@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/responses", b"/v1/messages"])
def test_each_api_says_it_in_its_own_shape(run_rig: RunRig, guard: Guard, path: bytes) -> None:
    async def scenario(rig: Rig) -> None:
        request = post().replace(b"/v1/chat/completions", path)
        status, _, body, _ = await rig.ask(request)
        assert status == 401
        said = json.loads(body)
        assert said["error"]["type"] == ("authentication_error" if b"messages" in path else "invalid_request_error")
        assert ("type" in said) == (b"messages" in path)

    run_rig(scenario, ScriptedBackend(WHOLE), entrance=guard.entrance)


def test_the_clients_key_never_reaches_a_backend(run_rig: RunRig, guard: Guard) -> None:
    backend = ScriptedBackend(WHOLE)
    key = guard.key("ci")
    secret = key.partition(b"Bearer ")[2].strip()

    async def scenario(rig: Rig) -> None:
        await rig.ask(post(key))
        await rig.ask(post(key + b"x-api-key: %b\r\napi-key: %b\r\ncookie: %b\r\n" % (secret, secret, secret)))
        await rig.ask(post(b"x-api-key: %b\r\n" % secret))
        assert len(backend.heads) == 3
        assert not any(secret in head for head in backend.heads)
        assert all(b"authorization: Bearer backend-secret\r\n" in head for head in backend.heads)

    run_rig(scenario, backend, entrance=guard.entrance)


def test_a_revoked_key_is_refused_and_a_broken_file_refuses_nobody(run_rig: RunRig, guard: Guard) -> None:
    key = guard.key("ci")

    async def scenario(rig: Rig) -> None:
        assert (await rig.ask(post(key)))[0] == 200
        guard.path.write_bytes(b'{"schema":1,"keys":[')
        await rig.until(lambda: guard.keys.fault)  # the running gateway looks by itself
        assert (await rig.ask(post(key)))[0] == 200
        shown = (await rig.ask(b"GET /metrics HTTP/1.1\r\nhost: h\r\n\r\n", rig.gateway.admin_port))[2]
        assert b"headrace_key_file_faulty 1\n" in shown.replace(b"1.0\n", b"1\n")
        guard.path.write_bytes(b'{"schema":1,"keys":[]}')
        await rig.until(lambda: not guard.keys.ring.keys)
        assert (await rig.ask(post(key)))[0] == 401

    run_rig(scenario, ScriptedBackend(WHOLE), entrance=guard.entrance)


def test_a_ledger_that_cannot_be_written_is_no_401(run_rig: RunRig, guard: Guard) -> None:
    key = guard.key("ci")

    async def scenario(rig: Rig) -> None:
        rig.ledger.fault = OSError(28, "No space left on device")
        assert [(await rig.ask(post(key)))[0] for _ in range(3)] == [200] * 3
        rig.ledger.fault = None

    run_rig(scenario, ScriptedBackend(WHOLE), entrance=guard.entrance)


def test_an_expired_key_is_told_that_it_has_expired(run_rig: RunRig, guard: Guard) -> None:
    key = guard.key("ci", expires_unix_s=1.0)

    async def scenario(rig: Rig) -> None:
        status, _, body, _ = await rig.ask(post(key))
        assert status == 401
        assert "expired" in message(body)["message"]

    run_rig(scenario, ScriptedBackend(WHOLE), entrance=guard.entrance)


@pytest.mark.parametrize("limits", [{"models": ("other",)}, {"classes": ("coding",)}, {"pools": ("elsewhere",)}])
def test_what_a_key_may_not_have_is_403(run_rig: RunRig, guard: Guard, limits: dict[str, Any]) -> None:
    backend = ScriptedBackend(WHOLE)
    key = guard.key("ci", **limits)

    async def scenario(rig: Rig) -> None:
        status, _, body, _ = await rig.ask(post(key))
        assert status == 403
        assert message(body)["code"] == "permission_denied"
        assert not backend.heads

    run_rig(scenario, backend, entrance=guard.entrance, engine_for=real)


def test_requests_go_only_to_pools_that_are_allowed(run_rig: RunRig, guard: Guard) -> None:
    first, second = ScriptedBackend(WHOLE), ScriptedBackend(WHOLE)
    key = guard.key("ci", pools=("p1",))

    async def scenario(rig: Rig) -> None:
        for _ in range(5):
            assert (await rig.ask(post(key)))[0] == 200
        assert not first.heads
        assert len(second.heads) == 5

    run_rig(scenario, first, second, entrance=guard.entrance, engine_for=real)


def test_limits_are_stated_and_kept(run_rig: RunRig, guard: Guard) -> None:
    key = guard.key("ci", requests_per_minute=2, tokens_per_minute=100_000)

    async def scenario(rig: Rig) -> None:
        for left in (b"1", b"0"):
            status, headers, _, _ = await rig.ask(post(key))
            assert status == 200
            assert headers[b"x-ratelimit-limit-requests"] == b"2"
            assert headers[b"x-ratelimit-remaining-requests"] == left
            assert headers[b"x-ratelimit-limit-tokens"] == b"100000"
            assert b"x-ratelimit-reset-tokens" in headers
        status, headers, body, _ = await rig.ask(post(key))
        assert status == 429
        assert message(body)["code"] == "rate_limit_exceeded"
        assert 1 <= int(headers[b"retry-after"]) <= 30
        assert headers[b"x-ratelimit-remaining-requests"] == b"0"

    run_rig(scenario, ScriptedBackend(WHOLE), entrance=guard.entrance)


def test_tokens_are_trued_up_with_what_the_backend_counted(run_rig: RunRig, guard: Guard) -> None:
    key = guard.key("ci", tokens_per_minute=600)

    async def scenario(rig: Rig) -> None:
        await rig.ask(post(key, max_tokens=400, stream=True))
        (found,) = [each for each in rig.gateway.gateway.access.standings() if "key" in each]
        left = int(found["headers"]["x-ratelimit-remaining-tokens"])  # type: ignore[index]
        assert left >= 600 - 12 - 5 - 1  # 12 and 5 are used; and it refills

    run_rig(scenario, ScriptedBackend(STREAM), entrance=guard.entrance)


@pytest.mark.parametrize("hard", [True, False])
def test_a_budget_of_two_requests_lets_two_by(run_rig: RunRig, hard: bool) -> None:
    async def scenario(rig: Rig) -> None:
        line = b"x-tenant: acme\r\n"
        statuses = [(await rig.ask(post(line, max_tokens=5)))[0] for _ in range(4)]
        assert statuses == ([200, 200, 429, 429] if hard else [200] * 4)
        _, headers, body, _ = await rig.ask(post(line))
        assert float(headers[b"x-headrace-budget-left-usd"]) <= 0.0
        if hard:
            assert message(body)["code"] == "insufficient_quota"
        assert (await rig.ask(post(b"x-tenant: other\r\n")))[0] == 200
        (found,) = rig.gateway.gateway.access.standings()
        assert found["day_usd"] == pytest.approx(USD * (2 if hard else 5))
        assert found["reserved_usd"] == 0.0

    fleet_with = acme(usd_per_day=1.5 * USD, hard=hard)
    run_rig(scenario, ScriptedBackend(WHOLE), fleet_with=fleet_with, entrance=Entrance(accounts=Accounts()))


def test_failed_attempts_cost_their_tenant_nothing_and_leave_nothing_reserved(run_rig: RunRig) -> None:
    async def scenario(rig: Rig) -> None:
        for _ in range(3):
            assert (await rig.ask(post(b"x-tenant: acme\r\n")))[0] >= 500
        (found,) = rig.gateway.gateway.access.standings()
        assert found["day_usd"] == found["reserved_usd"] == 0.0

    run_rig(
        scenario,
        ScriptedBackend(error_response(500)),
        fleet_with=acme(usd_per_day=1.0),
        entrance=Entrance(accounts=Accounts()),
    )


def test_priority_and_value_of_time_are_those_of_the_tenant(run_rig: RunRig) -> None:
    async def scenario(rig: Rig) -> None:
        line = b"x-tenant: acme\r\n"
        for value in (
            b"",
            b"x-headrace-value-of-time-usd-per-s: 0.001\r\n",
            b"x-headrace-value-of-time-usd-per-s: 9\r\n",
        ):
            await rig.ask(post(line + value))
        told = [event.value_of_time_usd_per_s for event in rig.engine.events if isinstance(event, Arrived)]
        assert told == [pytest.approx(0.006), 0.001, pytest.approx(0.006)]  # a client's own wish has a ceiling

    fleet_with = acme(value_of_time_usd_per_s=0.002, priority=3.0)
    run_rig(scenario, ScriptedBackend(WHOLE), fleet_with=fleet_with, entrance=Entrance(accounts=Accounts()))


def test_the_admin_port_has_a_key_of_its_own(run_rig: RunRig) -> None:
    secret = "a-secret-of-the-operators"

    async def scenario(rig: Rig) -> None:
        port = rig.gateway.admin_port
        for path in (b"/admin/state", b"/admin/tenants", b"/metrics", b"/nothing"):
            assert (await rig.ask(b"GET %b HTTP/1.1\r\nhost: h\r\n\r\n" % path, port))[0] == 401
        assert (await rig.ask(b"GET /health/live HTTP/1.1\r\nhost: h\r\n\r\n", port))[0] == 200
        for value in (b"Bearer " + secret.encode(), b"Basic " + b64encode(b"anybody:" + secret.encode())):
            line = b"authorization: %b\r\n" % value
            assert (await rig.ask(b"GET /admin/state HTTP/1.1\r\nhost: h\r\n%b\r\n" % line, port))[0] == 200
        assert (await rig.ask(post()))[0] == 200  # clients need it not

    run_rig(scenario, ScriptedBackend(WHOLE), entrance=Entrance(admin_key=AdminKey(secret)))


def test_standings_are_json(run_rig: RunRig, guard: Guard) -> None:
    guard.key("ci", usd_per_day=1.0)

    async def scenario(rig: Rig) -> None:
        body = (await rig.ask(b"GET /admin/tenants HTTP/1.1\r\nhost: h\r\n\r\n", rig.gateway.admin_port))[2]
        named = [each.get("tenant") or each.get("key") for each in msgspec.json.decode(body)["tenants"]]
        assert named == ["acme", "ci"]

    run_rig(scenario, ScriptedBackend(WHOLE), entrance=guard.entrance)
