"""Recognition: which workload class a request belongs to, and which model it asks for.

A class is found by the first of these that says one: the request itself (`controls`), a header rule, the API key, the
path, the model alias, the client, which gives itself away by its headers; else it is the fleet's default class.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from headrace.errors import RequestError, UnknownModel
from headrace.fleet import Fleet
from headrace.workload import CLIENTS, DEFAULT_CLIENTS, WorkloadClass

AGENT = b"user-agent"
MAX_AGENTS = 1024  # kinds of clients whose class is remembered
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
        marks = tuple(_client_marks(classes))
        self._agents = tuple((prefix, of) for name, prefix, of in marks if name == AGENT)
        self._clients = tuple(mark for mark in marks if mark[0] != AGENT)
        self._client_headers = tuple({name: None for name, _, _ in self._clients})
        self._class_of_agent: dict[bytes, str | None] = {}
        self._models = {name: name for name in fleet.models} | fleet.aliases
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

    def workload_class(
        self, headers: dict[bytes, bytes], path: bytes, asked_model: str, named: str | None = None
    ) -> str:
        """Name of the class of a request; `named`: as its body says.

        Raises:
            RequestError: the class that it names is none.
        """
        header = headers.get(CLASS_HEADER)
        if header is not None or named is not None:
            return self._named(header if header is not None else (named or "").encode())
        for name, value, workload_class in self._headers:
            if headers.get(name) == value:
                return workload_class
        if self._keys:
            found = self._keys.get(headers.get(b"authorization", b""))
            if found is not None:
                return found
        found = self._paths.get(path) or self._aliases.get(asked_model)
        return found or self._client_class(headers) or self._default

    def _named(self, name: bytes) -> str:
        found = self._classes.get(name)
        if found is None:
            known, asked = ", ".join(self._classes.values()), name.decode("utf-8", "replace")
            raise RequestError(f"x-headrace-class names no workload class: {asked!r}; use one of: {known}")
        return found

    def _client_class(self, headers: dict[bytes, bytes]) -> str | None:
        agent = headers.get(AGENT, b"")
        found = self._class_of_agent.get(agent, "")
        if found == "":
            found = next((of for prefix, of in self._agents if agent.startswith(prefix)), None)
            if len(self._class_of_agent) < MAX_AGENTS:
                self._class_of_agent[agent] = found
        if found is not None or headers.keys().isdisjoint(self._client_headers):
            return found
        return next(
            (of for name, prefix, of in self._clients if name in headers and headers[name].startswith(prefix)), None
        )


def _client_marks(classes: tuple[WorkloadClass, ...]) -> Iterator[tuple[bytes, bytes, str]]:
    """Header, beginning of its value, and class, for each client that a class claims."""
    said = any(each.match.clients for each in classes)
    for each in classes:
        clients = each.match.clients if said else DEFAULT_CLIENTS.get(each.name, ())
        for client in clients:
            for mark in CLIENTS[client]:
                yield mark.header.encode(), mark.prefix.encode(), each.name


def _model_behind(fleet: Fleet, workload_class: WorkloadClass) -> str:
    """The model that an alias of this class stands for: of its first route that names one, else the fleet's first."""
    for route in fleet.routes:
        if route.model is not None and route.workload_class in (None, workload_class.name):
            return route.model
    return next(iter(fleet.models))
