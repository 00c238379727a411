"""A request, fitted to a dialect: edits at the top level of the body, as bytes.

Only the top level is taken apart; each value goes on as it came. Where nothing has to be changed, the body that comes
out is the body that went in, byte for byte; a dialect that changes nothing does not look at it at all.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from msgspec import Raw

from headrace.errors import RequestError
from headrace.wire.api import ApiName
from headrace.wire.body import top_level
from headrace.wire.dialects.capability import CAPABILITIES, PREFILL
from headrace.wire.dialects.dialect import Dialect, Parameter, Treatment
from headrace.wire.dialects.json_schema import schema_fault

MESSAGE_FIELD = "messages[]."
_messages = msgspec.json.Decoder(list[dict[str, Raw]])
_lists = msgspec.json.Decoder(list[Raw])


class Fitted(NamedTuple):
    """A body as the backend takes it.

    Attributes:
        dropped: parameters that were left out although they asked for something.
        approximated: parameters whose value became its nearest neighbour.
    """

    body: bytes
    dropped: tuple[str, ...] = ()
    approximated: tuple[str, ...] = ()


class Fitter:
    """Fits requests of one API to one dialect."""

    __slots__ = ("_dialect", "_lacks", "_message_rules", "_rules", "idle")

    def __init__(self, dialect: Dialect, api: ApiName, lacks: tuple[str, ...] = ()) -> None:
        """
        Args:
            lacks: capabilities that the model behind it does not have.
        """
        rules = [rule for rule in dialect.parameters if api in rule.apis]
        self._dialect = dialect
        self._rules = [rule for rule in rules if not rule.name.startswith(MESSAGE_FIELD)]
        self._message_rules = [rule for rule in rules if rule.name.startswith(MESSAGE_FIELD)]
        self._lacks = tuple(lacked for lacked in lacks if lacked != PREFILL)
        self.idle = not rules and not self._lacks and dialect.max_tools is None and dialect.json_schema is None

    def fit(self, body: bytes) -> Fitted:
        """The body as this dialect's backend takes it.

        Raises:
            RequestError: it asks for what this backend cannot give; `param` names it.
        """
        if self.idle:
            return Fitted(body)
        fields = top_level(body)
        edit = _Edit(fields, self._dialect.title)
        for rule in self._rules:
            if rule.name in fields:
                edit.apply(rule)
        for rule in self._message_rules:
            edit.drop_from_messages(rule)
        self._check_capabilities(fields)
        self._check_tools(fields)
        self._check_schema(fields)
        changed = msgspec.json.encode(fields) if edit.changed else body
        return Fitted(changed, tuple(edit.dropped), tuple(edit.approximated))

    def _check_capabilities(self, fields: dict[str, Raw]) -> None:
        for lacked in self._lacks:
            name = CAPABILITIES[lacked](fields)
            if name is not None:
                message = f"{name}: the model, as it is served here, has no {lacked}; leave it out or ask another model"
                raise RequestError(message, name)

    def _check_tools(self, fields: dict[str, Raw]) -> None:
        most, tools = self._dialect.max_tools, fields.get("tools")
        if most is None or tools is None or not bytes(tools).startswith(b"["):
            return
        count = len(_lists.decode(tools))
        if count > most:
            raise RequestError(f"tools: {self._dialect.title} takes at most {most}, these are {count}", "tools")

    def _check_schema(self, fields: dict[str, Raw]) -> None:
        subset = self._dialect.json_schema
        name = "response_format" if "response_format" in fields else "output_config"
        asked = fields.get(name)
        if subset is None or asked is None or b"json_schema" not in bytes(asked):
            return
        fault = schema_fault(bytes(asked), subset)
        if fault is not None:
            raise RequestError(f"{name}: {self._dialect.title} does not keep to this schema: {fault}", name)


class _Edit:
    """Edits of one body on their way."""

    def __init__(self, fields: dict[str, Raw], title: str) -> None:
        self.fields = fields
        self.changed = False
        self.dropped: list[str] = []
        self.approximated: list[str] = []
        self._title = title

    def apply(self, rule: Parameter) -> None:
        """Treat the parameter as the rule says."""
        fields, name = self.fields, rule.name
        value = bytes(fields[name])
        if value in rule.passed or (rule.beside and rule.beside not in fields):
            return
        if rule.treatment is Treatment.RENAME:
            fields.setdefault(rule.renamed, fields[name])
            self._remove(name)
        elif rule.treatment is Treatment.REPLACE:
            if value in rule.values:
                fields[name] = Raw(rule.values[value])
                self.changed = True
                self.approximated.append(name)
        elif value in rule.harmless:
            self._remove(name)
        elif rule.treatment is Treatment.DROP:
            self._remove(name)
            self.dropped.append(name)
        else:
            raise RequestError(f"{name}: {self._title} cannot serve it, {rule.why}", name)

    def drop_from_messages(self, rule: Parameter) -> None:
        """Leave a field out of every message."""
        name, messages = rule.name.removeprefix(MESSAGE_FIELD), self.fields.get("messages")
        if messages is None or bytes(messages).find(f'"{name}"'.encode()) < 0:
            return
        try:
            decoded = _messages.decode(messages)
        except msgspec.DecodeError:
            return  # not a list of objects: the backend says so better
        named = [message for message in decoded if message.pop(name, None) is not None]
        if named:
            self.fields["messages"] = Raw(msgspec.json.encode(decoded))
            self.changed = True
            self.dropped.append(rule.name)

    def _remove(self, name: str) -> None:
        del self.fields[name]
        self.changed = True
