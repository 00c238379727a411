"""The tables of what is lost between APIs, in `docs/apis.md`: made by asking the code, field by field.

python tests/wire/loss_table.py        writes them into the page
"""

from __future__ import annotations

import json
from pathlib import Path

from probes import BASES, PROBES, body
from wire_rig import API_NAMES, send

from headrace.wire.apis import APIS, ApiName

PAGE = Path(__file__).parents[2] / "docs" / "apis.md"
BEGIN, END = "<!-- made by tests/wire/loss_table.py: begin -->", "<!-- end -->"
TITLES = {"chat": "chat", "completions": "completions", "responses": "Responses", "messages": "Messages"}


def fate(client: ApiName, backend: ApiName, probe: str) -> str:
    """What becomes of a field: `yes`, `near`, `dropped` or `400`."""
    passage = send(APIS[client].read_request(body(client, probe)), backend)
    if passage.outgoing is None:
        return "400"
    base = send(APIS[client].read_request(json.dumps(BASES[client]).encode()), backend).outgoing
    usual = () if base is None else (*base.dropped, *base.approximated)
    if set(passage.outgoing.dropped) - set(usual):
        return "dropped"
    return "near" if set(passage.outgoing.approximated) - set(usual) else "yes"


def table(client: ApiName) -> str:
    """One table: the fields of a client's API, and what becomes of each at the backends of the others."""
    backends = [api for api in API_NAMES if api != client]
    head = [f"| from {TITLES[client]} | " + " | ".join(f"to {TITLES[api]}" for api in backends) + " |"]
    head.append("|" + " --- |" * (len(backends) + 1))
    rows = [
        f"| {probe} | " + " | ".join(fate(client, api, probe) for api in backends) + " |" for probe in PROBES[client]
    ]
    return "\n".join(head + rows)


def tables() -> str:
    """All tables, between their marks."""
    return "\n\n".join([BEGIN, *(table(client) for client in API_NAMES), END])


def written() -> str:
    """What the page has between the marks, marks included."""
    page = PAGE.read_text()
    return page[page.index(BEGIN) : page.index(END) + len(END)]


if __name__ == "__main__":
    PAGE.write_text(PAGE.read_text().replace(written(), tables()))
