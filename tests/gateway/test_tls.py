"""TLS on the clients' port: certificates of one's own, taken on anew while it runs; clients' certificates if asked."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from gateway_rig import STREAM, Rig, RunRig, ScriptedBackend, post, read_answer, small_fleet

from headrace.errors import ConfigError
from headrace.fleet import Admin, Fleet, Limits, Tenants, Tls
from headrace.gateway import Entrance, bind_faults, kept_faults
from headrace.gateway.certificates import CertificateWatch


class Authority:
    """Somebody who makes certificates."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.files = Tls(str(folder / "server.pem"), str(folder / "server.key"))
        self.issue()

    def issue(self) -> None:
        """A certificate for 127.0.0.1, in the place of the one before."""
        made = self.ca.issue_cert("127.0.0.1")
        made.private_key_pem.write_to_path(self.files.key)
        made.cert_chain_pems[0].write_to_path(self.files.certificate)

    def trust(self) -> ssl.SSLContext:
        """What a client needs that trusts it."""
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def ask(rig: Rig, context: ssl.SSLContext) -> tuple[int, bytes, bool, bytes]:
    """Status, body, whether it ended, and the certificate that was shown."""
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.gateway.port, ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(True)
    writer.write(post(stream=True))
    status, _, body, ended = await read_answer(reader)
    writer.close()
    return status, body, ended, shown


def watched(files: Tls) -> CertificateWatch:
    return CertificateWatch(files, lambda said: None)


def test_streams_come_over_tls_and_plain_http_does_not(run_rig: RunRig, authority: Authority) -> None:
    async def scenario(rig: Rig) -> None:
        status, body, ended, _ = await ask(rig, authority.trust())
        assert (status, ended) == (200, True)
        assert b"[DONE]" in body
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await rig.ask(post())
        with pytest.raises(ssl.SSLCertVerificationError):
            await ask(rig, ssl.create_default_context())

    run_rig(scenario, ScriptedBackend(STREAM), entrance=Entrance(certificates=watched(authority.files)))


def test_another_certificate_is_taken_on_while_a_connection_stays(run_rig: RunRig, authority: Authority) -> None:
    watch = watched(authority.files)

    async def scenario(rig: Rig) -> None:
        first = (await ask(rig, authority.trust()))[3]
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.gateway.port, ssl=authority.trust())
        Path(authority.files.key).write_bytes(b"half of a")
        await rig.until(lambda: watch.fault)
        assert (await ask(rig, authority.trust()))[3] == first
        authority.issue()
        while (await ask(rig, authority.trust()))[3] == first:
            await asyncio.sleep(0.01)
        assert not watch.fault
        writer.write(post(stream=True))
        assert (await read_answer(reader))[0] == 200
        writer.close()

    run_rig(scenario, ScriptedBackend(STREAM), entrance=Entrance(certificates=watch))


def test_clients_show_a_certificate_where_one_is_asked_for(
    run_rig: RunRig, authority: Authority, tmp_path: Path
) -> None:
    clients = trustme.CA()
    clients.cert_pem.write_to_path(tmp_path / "clients.pem")
    files = replace(authority.files, client_ca=str(tmp_path / "clients.pem"))

    async def scenario(rig: Rig) -> None:
        known, stranger = authority.trust(), authority.trust()
        clients.issue_cert("client.test").configure_cert(known)
        trustme.CA().issue_cert("client.test").configure_cert(stranger)
        assert (await ask(rig, known))[0] == 200
        for context in (authority.trust(), stranger):
            with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
                await ask(rig, context)

    run_rig(scenario, ScriptedBackend(STREAM), entrance=Entrance(certificates=watched(files)))


def test_files_that_do_not_fit_are_told_at_the_start(authority: Authority, tmp_path: Path) -> None:
    other = tmp_path / "other.key"
    authority.ca.issue_cert("127.0.0.1").private_key_pem.write_to_path(str(other))
    for files in (replace(authority.files, key=str(other)), replace(authority.files, certificate="/no/such")):
        with pytest.raises(ConfigError, match=r"tls\.certificate"):
            watched(files)


KEYED, SECURE = Tenants(keys="keys.json"), Tls("a", "b")


@pytest.mark.parametrize(
    ("host", "behind_proxy", "changes", "allowed"),
    [
        ("127.0.0.1", False, {}, True),
        ("::1", False, {}, True),
        ("localhost", False, {}, True),
        ("0.0.0.0", False, {}, False),
        ("::", False, {}, False),
        ("gateway.example", False, {}, False),
        ("0.0.0.0", False, {"tenants": KEYED}, False),
        ("0.0.0.0", False, {"tls": SECURE}, False),
        ("0.0.0.0", False, {"tenants": KEYED, "tls": SECURE}, True),
        ("0.0.0.0", False, {"tls": Tls("a", "b", "c")}, True),
        ("0.0.0.0", True, {}, True),
    ],
)
def test_strangers_are_let_near_only_with_keys_and_tls(
    host: str, behind_proxy: bool, changes: dict[str, object], allowed: bool
) -> None:
    fleet: Fleet = replace(small_fleet([1], Limits()), **changes)  # type: ignore[arg-type]
    faults = list(bind_faults(fleet, host, "127.0.0.1", behind_proxy))
    assert (not faults) == allowed
    assert all("[t" in fault.message for fault in faults)  # each names the table to fill in


def test_the_admin_port_on_another_address_needs_its_key() -> None:
    fleet = small_fleet([1], Limits())
    assert len(list(bind_faults(fleet, "127.0.0.1", "0.0.0.0", False))) == 2
    assert len(list(bind_faults(fleet, "127.0.0.1", "0.0.0.0", True))) == 1
    keyed = replace(fleet, admin=Admin(key_env="KEY"), tls=SECURE)
    assert not list(bind_faults(keyed, "127.0.0.1", "0.0.0.0", False))


def test_a_running_gateway_is_not_made_to_look_guarded() -> None:
    fleet = small_fleet([1], Limits())
    assert [fault.path for fault in kept_faults(fleet, replace(fleet, tenants=KEYED, tls=SECURE))] == [
        "tenants.keys",
        "tls",
    ]
    assert not list(kept_faults(fleet, fleet))
