"""Policies of installed packages: found by name, live and simulated, and told apart when they are wrong."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace import __version__, rng
from headrace.config import load_policy, parse_fleet, policy_names, sample_fleet_text
from headrace.errors import ConfigError
from headrace.ledger.journal import JournalFile
from headrace.policy import POLICIES, Arrived, Dispatch, PolicyEngine
from headrace.policy.journal import JournalHeader

Command = Callable[..., tuple[int, str, str]]
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "write-a-policy.md"


def guide_block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def sample_with(policy: str) -> str:
    """The sample fleet under another policy."""
    return sample_fleet_text().replace('policy = "prices"', f"policy = {policy}")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a package that offers policies on the path, with the metadata that an installer would write."""
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(str(site))

    def package(name: str, entries: str) -> None:
        folder = site / f"{name}-1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[headrace.policies]\n{entries}\n")

    return package


@pytest.fixture
def sticky(install: Callable[[str, str], None], tmp_path: Path) -> None:
    """The policy of the how-to guide, installed as the guide says."""
    (entry,) = tomllib.loads(guide_block("toml"))["project"]["entry-points"]["headrace.policies"].items()
    install("my_policies", f"{entry[0]} = {entry[1]}")
    (tmp_path / "site" / "my_policies.py").write_text(guide_block("python"))


@pytest.mark.usefixtures("sticky")
def test_the_guides_policy_is_simulated_and_reported_by_name(command: Command) -> None:
    code, out, err = command("simulate", "--seconds", "20", "--policy", "sticky", "--json", "-")
    assert code == 0, err
    report = json.loads(out)
    assert report["policy"]["name"] == "sticky"
    assert report["requests"]["completed"] == report["requests"]["arrived"] > 0


@pytest.mark.usefixtures("sticky")
def test_the_guides_policy_does_what_the_guide_says() -> None:
    fleet = parse_fleet(sample_with('"sticky"'), "test")
    assert fleet.policy == "sticky"
    engine = PolicyEngine(fleet, rng.stream(0, "policy"), load_policy(fleet.policy))
    picked = []
    for request_id, tenant in enumerate(("a", "b", "a", "b", "a"), start=1):
        (dispatch, *_) = engine.handle(0.0, Arrived(request_id, "chat", 100, tenant))
        assert isinstance(dispatch, Dispatch)
        picked.append(dispatch.backend)
    assert picked[0] == picked[2] == picked[4] != picked[1] == picked[3]


@pytest.mark.usefixtures("sticky")
def test_a_journal_of_a_plug_in_is_verified_by_its_name(command: Command, tmp_path: Path) -> None:
    fleet, policy = parse_fleet(sample_fleet_text(), "test"), load_policy("sticky")
    engine = PolicyEngine(fleet, rng.stream(0, "policy"), policy)
    file = tmp_path / "day.jsonl"
    with JournalFile(file, JournalHeader(1, __version__, 0, policy.name, sample_fleet_text())) as journal:
        for request_id in range(1, 20):
            event = Arrived(request_id, "chat", 100)
            journal.record(0.0, event, engine.handle(0.0, event))
    code, _, err = command("journal", "verify", str(file))
    assert (code, "identical actions" in err) == (0, True)
    file.write_bytes(file.read_bytes().replace(b'"sticky"', b'"prices"', 1))
    assert command("journal", "verify", str(file))[0] == 1


def test_every_policy_that_ships_is_simulated_and_documented(command: Command) -> None:
    for name in POLICIES:
        code, out, err = command("simulate", "--seconds", "5", "--policy", name, "--json", "-")
        assert code == 0, err
        assert json.loads(out)["policy"]["name"] == name
        assert f"`{name}`" in GUIDE.read_text()


@pytest.mark.usefixtures("sticky")
@pytest.mark.parametrize("arguments", [("simulate", "--policy"), ("serve", "--policy")])
def test_an_unknown_policy_is_refused_with_those_that_there_are(command: Command, arguments: tuple[str, ...]) -> None:
    code, _, err = command(*arguments, "stiky")
    assert code == 2
    assert "no policy 'stiky'" in err
    said = " ".join(err.split())
    assert all(name in said for name in policy_names())
    assert "sticky" in said
    assert ("oracle" in said) is (arguments[0] == "simulate")


def test_a_fleet_files_unknown_policy_is_one_of_its_faults() -> None:
    with pytest.raises(ConfigError) as raised:
        parse_fleet(sample_with('"nearest"') + "\n[limits2]\n", "test")
    assert [fault.path for fault in raised.value.faults] == ["limits2", "policy"]
    with pytest.raises(ConfigError, match="expected the name of a policy"):
        parse_fleet(sample_with("3"), "test")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("mine = absent_module:Mine", "cannot be loaded: ModuleNotFoundError"),
        ("mine = json:nothing", "cannot be loaded: AttributeError"),
        ("mine = json:__name__", "not something that makes a picker"),
    ],
)
def test_what_cannot_be_loaded_is_named(install: Callable[[str, str], None], entry: str, said: str) -> None:
    install("acme", entry)
    with pytest.raises(ConfigError, match=said) as raised:
        load_policy("mine")
    assert "acme" in str(raised.value)


def test_two_packages_with_one_name_are_told_apart_by_nobody(install: Callable[[str, str], None]) -> None:
    install("acme", "mine = json:loads")
    install("other", "mine = json:dumps\nprices = json:dumps")
    with pytest.raises(ConfigError, match=r"'mine' is offered by .*acme.* and .*other"):
        load_policy("mine")
    assert load_policy("prices").plug_in is None, "a name that ships with headrace means headrace's own"
