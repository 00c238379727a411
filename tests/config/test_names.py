"""Names that stand for models, models that stand in for others, what a backend lacks, and clients of a class."""

from __future__ import annotations

import pytest
from test_fleet_file import BASE, changed, faults_of

from headrace.config import parse_fleet
from headrace.config.fleet_writer import fleet_text

MODEL = next(iter(parse_fleet(BASE, "x").models))
NAMES = f'\n[aliases]\n"gpt-9" = "{MODEL}"\n'
URL = 'url = "http://10.0.0.2:8000"'


def test_names_are_read_and_written_back() -> None:
    text = changed(URL, URL + '\nlacks = ["tools", "images"]') + NAMES
    fleet = parse_fleet(text, "x")
    assert fleet.aliases == {"gpt-9": MODEL}
    assert ("tools", "images") in [backend.lacks for backend in fleet.backends]
    again = parse_fleet(fleet_text(fleet), "y")
    assert (again.aliases, again.fallbacks) == (fleet.aliases, fleet.fallbacks)
    assert [backend.lacks for backend in again.backends] == [backend.lacks for backend in fleet.backends]


@pytest.mark.parametrize(
    ("added", "path", "message"),
    [
        (f'[aliases]\n"{MODEL}" = "{MODEL}"', f"aliases.{MODEL}", "a model's own name"),
        ('[aliases]\nx = "y"', "aliases.x", "no model 'y'"),
        ("[aliases]\nx = 3", "aliases.x", "expected the name of a model"),
        (f'[fallbacks]\n"{MODEL}" = ["{MODEL}"]', f"fallbacks.{MODEL}", "another model"),
        (f'[fallbacks]\n"{MODEL}" = ["no"]', f"fallbacks.{MODEL}", "no model 'no'"),
        (f'[fallbacks]\n"{MODEL}" = "no"', f"fallbacks.{MODEL}", "expected a list of models"),
        (f'[fallbacks]\nx = ["{MODEL}"]', "fallbacks.x", "no model 'x'"),
    ],
)
def test_a_name_that_stands_for_nothing_is_a_fault(added: str, path: str, message: str) -> None:
    assert any(fault.path == path and message in fault.message for fault in faults_of(f"{BASE}\n{added}\n"))


def test_what_a_backend_lacks_and_who_a_class_is_of_are_known_names() -> None:
    faults = faults_of(changed(URL, URL + '\nlacks = ["tool"]'))
    assert [str(fault) for fault in faults if "'tools'" in fault.message]
    faults = faults_of(changed('model_aliases = ["coder"]', 'model_aliases = ["coder"], clients = ["codecs"]'))
    assert [str(fault) for fault in faults if "'codex'" in fault.message]
