"""The reference: generated pages are what headrace says now, and the page of headers names those of the source."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType

import pytest
from fenced import DOCS, ROOT

from headrace.config import (
    deployment_tables,
    document,
    ledger,
    limits_table,
    peers_table,
    telemetry_table,
    tenants_table,
)
from headrace.config.document import TOP_LEVEL, Table

SOURCE = sorted((ROOT / "src" / "headrace").rglob("*.py"))
HEADER = re.compile(
    r"(?<![\w./*-])(x-[a-z0-9]+(?:-[a-z0-9]+)*|trace(?:parent|state)|retry-after(?:-ms)?|originator|www-authenticate"
    r"|anthropic-(?!compatible)[a-z]+(?:-[a-z]+)*|sec-websocket-[a-z]+)(?![\w*-])"
)
MODULES = (document, deployment_tables, limits_table, peers_table, telemetry_table, tenants_table, ledger)


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """The script that writes the pages."""
    spec = importlib.util.spec_from_file_location("reference_pages", DOCS / "reference" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_what_headrace_says(generate: ModuleType) -> None:
    for name, text in generate.pages().items():
        assert (DOCS / "reference" / name).read_text(encoding="utf-8") == text, "python docs/reference/generate.py"


def test_every_table_of_a_fleet_file_has_a_section(generate: ModuleType) -> None:
    tables = {
        each
        for module in MODULES
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Table) and each.__module__ == module.__name__
    }
    assert tables - {Table} == {each.table for each in generate.SECTIONS if issubclass(each.table, Table)}
    headings = {each.heading.partition(".")[0] for each in generate.SECTIONS}
    assert headings | set(generate.TOP) == set(TOP_LEVEL)
    assert headings & set(generate.TOP) == set()


def test_every_setting_has_a_type_and_a_meaning(generate: ModuleType) -> None:
    for section in generate.SECTIONS:
        assert all(generate.meanings_of(section).values()), section.heading


def test_a_setting_without_a_meaning_is_found(generate: ModuleType) -> None:
    class OddTable(Table, frozen=True, kw_only=True):
        """`[odd]`."""

        odd: int = 1

    with pytest.raises(SystemExit, match="OddTable does not say what"):
        generate.meanings_of(generate.Section("odd", OddTable))


def test_the_page_of_headers_names_those_of_the_source_and_no_others() -> None:
    page = set(HEADER.findall((DOCS / "reference" / "headers.md").read_text(encoding="utf-8")))
    source = {name for path in SOURCE for name in HEADER.findall(path.read_text(encoding="utf-8"))}
    assert (source - page, page - source) == (set(), set())
