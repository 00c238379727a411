"""`[aliases]` and `[fallbacks]` of a fleet file: names that stand for models."""

from __future__ import annotations

from collections.abc import Mapping

from headrace.config.faults import Faults


def names(raw: object, faults: Faults) -> dict[str, str]:
    """`[aliases]`: a model for each name."""
    found = {}
    for name, value in _table(raw, "aliases", faults).items():
        if isinstance(value, str) and value:
            found[name] = value
        else:
            faults.add(f"aliases.{name}", 'expected the name of a model, as in "gpt-5" = "gpt-oss-120b"')
    return found


def name_lists(raw: object, faults: Faults) -> dict[str, tuple[str, ...]]:
    """`[fallbacks]`: models for each model."""
    found = {}
    for name, value in _table(raw, "fallbacks", faults).items():
        if isinstance(value, list) and all(isinstance(each, str) and each for each in value):
            found[name] = tuple(value)
        else:
            faults.add(f"fallbacks.{name}", 'expected a list of models, as in ["gpt-oss-20b"]')
    return found


def _table(raw: object, path: str, faults: Faults) -> Mapping[str, object]:
    if isinstance(raw, Mapping):
        return raw
    faults.add(path, f"expected a table [{path}]")
    return {}
