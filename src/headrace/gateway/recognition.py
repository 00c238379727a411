"""Recognition: which workload class a request belongs to, and which model it asks for.

A class is found by the first of these that says one: the header `x-headrace-class`, a header rule, the API key, the
path, the model alias; else it is the fleet's default class.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from headrace.errors import RequestError, UnknownModel
from headrace.fleet import Fleet
from headrace.workload import WorkloadClass

CLASS_HEADER = b"x-headrace-class"


class Recognizer:
    """The rules of one fleet, prepared for look-ups. API keys are read from the environment once."""

    def __init__(self, fleet: Fleet, environment: Mapping[str, str] = os.environ) -> None:
        classes = tuple(fleet.classes.values())
        self._classes = {workload_class.name.encode(): workload_class.name for workload_class in classes}
        self._headers = [
            (name.encode(), value.encode(), workload_class.name)
            for workload_class in classes
            for name, value in workload_class.match.headers
        ]
        self._keys = {
            b"Bearer " + environment[variable].encode(): workload_class.name
            for workload_class in classes
            for variable in workload_class.match.api_key_envs
            if variable in environment
        }
        self._paths = {path.encode(): c.name for c in classes for path in c.match.paths}
        self._aliases = {alias: c.name for c in classes for alias in c.match.model_aliases}
        self._default = fleet.default_class or next(iter(fleet.classes))
        self._models = {name: name for name in fleet.models}
        for workload_class in classes:
            for alias in workload_class.match.model_aliases:
                self._models.setdefault(alias, _model_behind(fleet, workload_class))

    @property
    def model_names(self) -> tuple[str, ...]:
        """Every model name that a client may use."""
        return tuple(self._models)

    def model(self, asked: str) -> str:
        """The model that `asked` names.

        Raises:
            UnknownModel: no model and no alias has this name.
        """
        found = self._models.get(asked)
        if found is None:
            known = ", ".join(self._models)
            raise UnknownModel(f"the model {asked!r} is not served here; ask for one of: {known}", "model")
        return found

    def workload_class(self, headers: dict[bytes, bytes], path: bytes, asked_model: str) -> str:
        """Name of the class of a request.

        Raises:
            RequestError: the class header names no class.
        """
        named = headers.get(CLASS_HEADER)
        if named is not None:
            found = self._classes.get(named)
            if found is None:
                known = ", ".join(self._classes.values())
                asked = named.decode("latin-1")
                raise RequestError(f"x-headrace-class names no workload class: {asked!r}; use one of: {known}")
            return found
        for name, value, workload_class in self._headers:
            if headers.get(name) == value:
                return workload_class
        if self._keys:
            found = self._keys.get(headers.get(b"authorization", b""))
            if found is not None:
                return found
        return self._paths.get(path) or self._aliases.get(asked_model) or self._default


def _model_behind(fleet: Fleet, workload_class: WorkloadClass) -> str:
    """The model that an alias of this class stands for: of its first route that names one, else the fleet's first."""
    for route in fleet.routes:
        if route.model is not None and route.workload_class in (None, workload_class.name):
            return route.model
    return next(iter(fleet.models))
