"""Whether the names of a fleet that stand for something else do: aliases, fallback models, capabilities and clients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headrace.errors import Fault
from headrace.fleet.catalog import close_matches
from headrace.fleet.fleet import Backend, Fleet
from headrace.wire.dialects import CAPABILITIES
from headrace.workload import CLIENTS


def alias_faults(fleet: Fleet, models: Sequence[str]) -> Iterator[Fault]:
    """Every fault of `[aliases]` and `[fallbacks]`; `models`: all that the document declares."""
    for alias, model in fleet.aliases.items():
        path = f"aliases.{alias}"
        if alias in models:
            yield Fault(path, "it is a model's own name; a name stands for one model: choose another")
        if model not in models:
            yield Fault(path, f"no model {model!r}; {close_matches(model, models)}")
    for model, others in fleet.fallbacks.items():
        path = f"fallbacks.{model}"
        if model not in models:
            yield Fault(path, f"no model {model!r}; {close_matches(model, models)}")
        for other in others:
            if other not in models:
                yield Fault(path, f"no model {other!r}; {close_matches(other, models)}")
        if model in others or len(set(others)) < len(others):
            yield Fault(path, "a fallback is another model, and is named once: remove the second")


def client_faults(fleet: Fleet) -> Iterator[Fault]:
    """Every fault of `match.clients`: a client that is unknown, or of two classes."""
    owner: dict[str, str] = {}
    for each in fleet.classes.values():
        path = f"classes.{each.name}.match.clients"
        for client in each.match.clients:
            if client not in CLIENTS:
                yield Fault(path, f"no client {client!r} is known; {close_matches(client, CLIENTS)}")
            elif client in owner:
                yield Fault(path, f"{client!r} is a client of class {owner[client]!r} too; a client is of one class")
            owner.setdefault(client, each.name)


def capability_faults(path: str, backend: Backend) -> Iterator[Fault]:
    """Every capability that a backend is said to lack and that there is not."""
    for name in backend.lacks:
        if name not in CAPABILITIES:
            yield Fault(f"{path}.lacks", f"no capability {name!r}; {close_matches(name, CAPABILITIES)}")
