"""A key is known by its hash, holds until it is revoked or expires, and a broken file takes no key away."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from headrace.errors import ConfigError, Unauthenticated
from headrace.tenancy import Key, KeyRing, KeyWatch, changing, new_secret, read_keys

NOW = 1_800_000_000.0


def bearer(text: str) -> dict[bytes, bytes]:
    return {b"authorization": b"Bearer " + text.encode()}


def a_key(name: str = "ci", expires_unix_s: float | None = None) -> tuple[str, Key]:
    secret = new_secret(NOW, expires_unix_s)
    return secret.text, Key(name=name, secrets=(secret.kept,))


def write(path: Path, *keys: Key) -> None:
    with changing(path) as kept:
        kept[:] = keys


def test_a_secret_is_kept_only_as_a_hash_and_found_by_its_prefix() -> None:
    text, key = a_key()
    kept = msgspec.json.encode(key).decode()
    assert key.secrets[0].prefix == text[:11]
    assert text[12:] not in kept
    assert len(text) >= 11 + 1 + 43  # 256 bits in base 64
    assert a_key()[0] != text


@pytest.mark.parametrize("name", [b"x-api-key", b"authorization"])
def test_a_key_is_found_in_both_headers(name: bytes) -> None:
    text, key = a_key()
    ring = KeyRing([key, a_key("other")[1]])
    value = b"bearer " + text.encode() if name == b"authorization" else text.encode()
    assert ring.key_of({name: value}, NOW) is key


@pytest.mark.parametrize(
    "headers", [{}, bearer("hr_00000000_guess"), {b"authorization": b"Basic x"}, {b"x-api-key": b""}, bearer("")]
)
def test_whoever_has_no_key_is_told_and_nothing_of_it_is_repeated(headers: dict[bytes, bytes]) -> None:
    ring = KeyRing([a_key()[1]])
    with pytest.raises(Unauthenticated) as told:
        ring.key_of(headers, NOW)
    assert "guess" not in str(told.value)


def test_a_hash_is_no_key() -> None:
    _, key = a_key()
    with pytest.raises(Unauthenticated):
        KeyRing([key]).key_of(bearer(key.secrets[0].sha256), NOW)


def test_a_key_holds_until_it_expires() -> None:
    text, key = a_key(expires_unix_s=NOW + 10.0)
    ring = KeyRing([key])
    assert ring.key_of(bearer(text), NOW + 9.9) is key
    with pytest.raises(Unauthenticated, match="has expired"):
        ring.key_of(bearer(text), NOW + 10.0)


def test_what_is_remembered_of_a_key_opens_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    text, key = a_key()
    ring = KeyRing([key])
    for _ in range(3):
        assert ring.key_of(bearer(text), NOW) is key
    for wrong in (text[:-1], text + "x", text.swapcase()):
        with pytest.raises(Unauthenticated):
            ring.key_of(bearer(wrong), NOW)
    with pytest.raises(Unauthenticated):
        ring.key_of({b"x-api-key": bearer(text)[b"authorization"]}, NOW)
    monkeypatch.setattr("headrace.tenancy.keys.hash", lambda presented: 0, raising=False)  # whatever came has the same
    assert ring.key_of(bearer(text), NOW) is key
    with pytest.raises(Unauthenticated):
        ring.key_of(bearer(text + "x"), NOW)


def test_no_more_is_remembered_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.tenancy.keys.MOST_KNOWN", 5)
    text, key = a_key()
    ring = KeyRing([key])
    for number in range(64):
        spelt = "".join(c.upper() if number >> at & 1 else c for at, c in enumerate("bearer"))
        assert ring.key_of({b"authorization": f"{spelt} {text}".encode()}, NOW) is key
        assert 0 < len(ring._known) <= 5


def test_a_revoked_key_holds_no_more() -> None:
    text, key = a_key()
    with pytest.raises(Unauthenticated):
        KeyRing([msgspec.structs.replace(key, revoked_unix_s=NOW)]).key_of(bearer(text), NOW)


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    write(path, a_key()[1])
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_keys(path)


def test_the_file_stays_whose_it_was(tmp_path: Path) -> None:
    """A revocation by root must be read by the gateway's user, or the key would hold on."""
    path = tmp_path / "keys.json"
    write(path, a_key()[1])
    path.chmod(0o640)
    owner = (4242, 4243) if os.geteuid() == 0 else (os.geteuid(), path.stat().st_gid)
    os.chown(path, *owner)
    with changing(path) as kept:
        kept.clear()
    found = path.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (*owner, 0o640)


def test_two_who_change_the_file_at_once_both_do(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    for _ in range(4):
        if not os.fork():
            for number in range(25):
                with changing(path) as kept:
                    kept.append(a_key(f"k{os.getpid()}-{number}")[1])
            os._exit(0)
    codes = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(4)]
    assert codes == [0] * 4
    assert len(read_keys(path)) == 100


@pytest.mark.parametrize(
    "content", [b"", b'{"schema":1,"keys":[{"na', b"[]", b'{"schema":1,"keys":[{"name":"x","a":1}]}']
)
def test_a_broken_file_takes_no_key_away_and_says_so_once(tmp_path: Path, content: bytes) -> None:
    path, said = tmp_path / "keys.json", list[str]()
    text, key = a_key()
    write(path, key)
    watch = KeyWatch(path, tell=said.append)
    path.write_bytes(content)
    assert not watch.look()
    assert not watch.look()
    assert watch.ring.key_of(bearer(text), NOW) == key
    assert watch.fault
    assert watch.faults == 2
    assert len(said) == 1
    write_anew = a_key("new")
    path.unlink()
    assert not watch.look()
    write(path, write_anew[1])
    assert watch.look()
    assert not watch.fault
    assert watch.ring.key_of(bearer(write_anew[0]), NOW).name == "new"


def test_a_worker_that_is_started_again_goes_on_with_the_last_good_file(tmp_path: Path) -> None:
    path, kept = tmp_path / "keys.json", tmp_path / "kept.json"
    text, key = a_key()
    write(path, key)
    KeyWatch(path, kept)
    path.write_bytes(b'{"schema')
    again = KeyWatch(path, kept)
    assert again.fault
    assert again.ring.key_of(bearer(text), NOW) == key
    with pytest.raises(ConfigError, match="no key file"):
        KeyWatch(path)


def test_a_file_that_is_not_there_is_told_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="headrace keys create"):
        KeyWatch(tmp_path / "keys.json")
