"""The catalogue: every model that clients may ask for, in the shape of OpenAI's list and of Anthropic's at once.

Both shapes are lists of objects under `data`, with different fields, so one body serves clients of both. What headrace
knows beyond them is in the field `headrace`: the APIs that reach the model, what it is called by, its context, and
which capabilities no backend of it has.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from headrace.errors import UnknownModel
from headrace.fleet import Fleet
from headrace.gateway.fitting import Fittings
from headrace.gateway.recognition import Recognizer

Allowed = frozenset[str] | None  # models that somebody may have; None: all
_CREATED = "1970-01-01T00:00:00Z"  # nobody knows it, and Anthropic's clients want a time


class Catalogue:
    """The models of one fleet, encoded once."""

    def __init__(self, fleet: Fleet, recognizer: Recognizer, fittings: Fittings) -> None:
        self._fleet = fleet
        self._recognizer = recognizer
        self._fittings = fittings
        names = recognizer.model_names
        self._one = {name: msgspec.json.encode(self._entry(name)) for name in names}
        self._all = self._list(names)

    def list(self, allowed: Allowed) -> bytes:
        """The models that somebody may have, by each of their names."""
        if allowed is None:
            return self._all
        return self._list(tuple(name for name in self._one if self._recognizer.model(name) in allowed))

    def _list(self, names: tuple[str, ...]) -> bytes:
        ends = {"has_more": False, "first_id": names[0] if names else None, "last_id": names[-1] if names else None}
        return msgspec.json.encode({"object": "list", "data": [Raw(self._one[name]) for name in names], **ends})

    def one(self, name: str, allowed: Allowed) -> bytes:
        """One model.

        Raises:
            UnknownModel: there is no such model, or not for who asks.
        """
        found = self._one.get(name)
        if found is not None and allowed is not None and self._recognizer.model(name) not in allowed:
            raise UnknownModel(f"this key or tenant may not use the model {name!r}", "model")
        if found is None:
            self._recognizer.model(name)
            raise UnknownModel(f"the model {name!r} is not served here", "model")
        return found

    def _entry(self, name: str) -> dict[str, Any]:
        model = self._recognizer.model(name)
        links = self._fittings.candidates(model, self._fleet.default_class)
        lacking = [frozenset(link.backend.lacks) for link in links]
        known = {
            "model": model,
            "apis": self._fittings.apis(model),
            "context_tokens": self._fleet.models[model].context_tokens,
            "fallbacks": list(self._fleet.fallbacks.get(model, ())),
            "lacks": sorted(frozenset.intersection(*lacking)) if lacking else [],
        }
        openai = {"id": name, "object": "model", "created": 0, "owned_by": "headrace"}
        return openai | {"type": "model", "display_name": name, "created_at": _CREATED, "headrace": known}
