"""Backends: whether they answer, with the model and in the dialect that the fleet file says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headrace.cli.diagnosis.finding import Finding, Severity
from headrace.cli.endpoints import Seen, known_model
from headrace.fleet import Fleet
from headrace.wire.dialects import COMPATIBLE, DIALECTS


def backend_findings(fleet: Fleet, seen: Sequence[Seen]) -> Iterator[Finding]:
    """What is wrong with those that were asked; if none of them answers, nothing is."""
    dead = Severity.STOPS if seen and all(one.listing is None for one in seen) else Severity.IMPAIRS
    for one in seen:
        where = f"backends.{one.backend.name}"
        if one.listing is None:
            yield Finding(dead, where, f"{one.backend.url}: {one.fault}", "start it, or mend its URL or key")
            continue
        yield from _model(where, fleet, one)
        yield from _dialect(where, one)


def _model(where: str, fleet: Fleet, one: Seen) -> Iterator[Finding]:
    model = fleet.pools[one.backend.pool].model_name_at(one.backend)
    listed = () if one.listing is None else one.listing.models
    if listed and model not in listed:
        what = f"serves {', '.join(listed[:5])}, and not {model}"
        yield Finding(Severity.IMPAIRS, where, what, _renaming(model, listed))
    elif not listed and DIALECTS[one.backend.dialect].models_path is not None:
        status = 0 if one.listing is None else one.listing.status
        what = f"names no models (it answers {status})"
        yield Finding(Severity.ADVICE, where, what, f"headrace check --live {one.backend.name}")


def _renaming(model: str, listed: Sequence[str]) -> str:
    """What to do about a backend that lists other names: one of them may stand for the model."""
    wanted = known_model(model)
    same = next((name for name in listed if wanted is not None and known_model(name) == wanted), None)
    if same is not None:
        return f'set served_model_name = "{same}"'
    return "if one of these is the model, set served_model_name to it; else name another backend"


def _dialect(where: str, one: Seen) -> Iterator[Finding]:
    said, set_to = one.says_dialect, one.backend.dialect
    if said is not None and not set_to.startswith(said):
        severity = Severity.ADVICE if set_to == COMPATIBLE.name else Severity.IMPAIRS
        yield Finding(severity, where, f"says that it is {said}, and is set to {set_to}", f'set dialect = "{said}"')
    if one.listing is not None and one.listing.emulated:
        what = "its speed is emulated, and the fleet file takes it for a real one"
        yield Finding(Severity.ADVICE, where, what, "fine for a trial; give the URL of the real one afterwards")
