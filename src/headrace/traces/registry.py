"""The formats that can be read, and how a file shows which one it is.

A format is recognised by the first bytes of the first file, never by a name or an option alone, in the order of this
table: forms that look like a part of another come first. `format` overrides it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike

from headrace.errors import ConfigError, Fault, TraceError
from headrace.traces import (
    azure,
    bailian,
    burstgpt,
    claude_code,
    lengths,
    lmcache,
    mooncake,
    own,
    prompts,
    rounds,
    servegen,
    tracelab,
)
from headrace.traces.source import Head, Source
from headrace.traces.trace import TraceFile, TraceSettings


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Attributes:
        shows: what it is recognised by, for messages.
        carries: what it says of a request besides lengths.
    """

    reader: type[TraceFile]
    recognises: Callable[[Head], bool]
    shows: str
    carries: str

    @property
    def name(self) -> str:
        """What the option `--format` calls it."""
        return self.reader.format


_ALL = (
    Format(own.LedgerTrace, own.recognises_ledger, own.LEDGER_SHOWS, "wall clock, retries"),
    Format(own.JournalTrace, own.recognises_journal, own.JOURNAL_SHOWS, "clock, tenant, model, token ceiling"),
    Format(lengths.LengthsTrace, lengths.recognises, lengths.SHOWS, "no clock"),
    Format(azure.AzureTrace, azure.recognises, azure.SHOWS, "wall clock"),
    Format(burstgpt.BurstGptTrace, burstgpt.recognises, burstgpt.SHOWS, "clock; release 3: sessions, pauses"),
    Format(rounds.RoundsTrace, rounds.recognises, rounds.SHOWS, "sessions, tool time, shared prefix; clock optional"),
    Format(bailian.BailianTrace, bailian.recognises, bailian.SHOWS, "clock, sessions, blocks of 16 tokens"),
    Format(mooncake.MooncakeTrace, mooncake.recognises, mooncake.SHOWS, "clock, blocks of 512 tokens"),
    Format(tracelab.TraceLabTrace, tracelab.recognises, tracelab.SHOWS, "wall clock, sessions, tool time"),
    Format(lmcache.LmcacheTrace, lmcache.recognises, lmcache.SHOWS, "wall clock, sessions, text: blocks of 64 tokens"),
    Format(
        claude_code.ClaudeCodeTrace,
        claude_code.recognises,
        claude_code.SHOWS,
        "no clock; sessions, sub-agents, pauses, blocks of 64 tokens",
    ),
    Format(
        servegen.ServeGenTrace, servegen.recognises, servegen.SHOWS, "rates and laws of clients: requests are drawn"
    ),
    Format(prompts.PromptsTrace, prompts.recognises, prompts.SHOWS, "no clock; text: blocks of 64 tokens"),
)
FORMATS = {one.name: one for one in _ALL}
"""Every format by name."""


def open_trace(
    path: str | PathLike[str],
    workload_class: str = "default",
    format: str | None = None,
    settings: TraceSettings | None = None,
) -> TraceFile:
    """A trace file, ready to be read.

    Args:
        path: a file, an archive or a folder; `FILE#NAME` takes a part of it.
        format: how it is read; None: as its first bytes say.

    Raises:
        ConfigError: `format` is unknown.
        TraceError: the file cannot be opened, or its format not recognised; the message names those that are known.
    """
    source = Source(path)
    found = FORMATS[recognise(path)] if format is None else FORMATS.get(format)
    if found is None:
        message = f"unknown trace format {format!r}; known formats: {', '.join(FORMATS)}"
        raise ConfigError("trace options", [Fault("format", message)])
    return found.reader(source, workload_class, settings or TraceSettings())


def recognise(path: str | PathLike[str]) -> str:
    """The name of a trace's format.

    Raises:
        TraceError: it cannot be opened, or is of no known format; the message names those that are known.
    """
    source = Source(path)
    head = source.head()
    for one in FORMATS.values():
        if one.recognises(head):
            return one.name
    known = "\n".join(f"  {one.name}: {one.shows}" for one in FORMATS.values())
    first = head.lines[0].decode("utf-8", "replace").strip()
    found = f"the first line is {first[:100]!r}" if first else "the first line is empty"
    raise TraceError(source.name, 1, f"unknown trace format: {found}; known formats:\n{known}")
