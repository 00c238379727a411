"""The tables of the dialects as a page for people: every claim, with its source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from headrace.wire.dialects.dialect import Dialect, Parameter, Treatment

INTRODUCTION = """# Dialects

Providers that "speak OpenAI" differ. A backend of the fleet file names the dialect that it speaks:

```toml
[[pools.fast.backends]]
name = "groq-1"
url = "https://api.groq.com/openai"   # ends before the paths below
api_key_env = "GROQ_API_KEY"
dialect = "groq"
```

Without `dialect` it is `openai-compatible`: nothing is changed, and every shape of error is understood. The host of a
known provider with another dialect is a fault of the fleet file: a dialect is never guessed.

What a backend does not know of a request is renamed, replaced by its nearest neighbour (named to the client in
`x-headrace-approximated`), dropped (named in `x-headrace-dropped`), or refused: then another backend is asked, and if
none can serve it, the client gets a 400 that names the field. `headrace check --live BACKEND` asks a backend which of
these claims hold there, with a handful of tiny requests.

This page is printed by `headrace dialects`, from the tables that the gateway uses. "Recalled" means that nobody looked
it up; every other source is a package, a repository or a page, with its version. The messages of errors are examples.
"""
CLAIMS = (
    ("reasoning", "reasoning text"),
    ("past_reasoning", "reasoning of past messages"),
    ("custom_tools", "custom tools"),
    ("developer_role", "role `developer`"),
    ("extensions", "fields outside the API"),
    ("usage", "usage of a stream"),
    ("cached_tokens", "cached input tokens"),
    ("cached_inside_input", "cached tokens are part of the input tokens"),
    ("error_shape", "error body"),
    ("stream_error", "error inside a stream"),
    ("done_marker", "ends with `[DONE]`"),
    ("continuation", "continuing a broken answer"),
    ("may_repeat", "a continuation may repeat the text"),
    ("max_tools", "most tools"),
)

USUAL: tuple[tuple[str, object], ...] = (
    ("cached_inside_input", True),
    ("custom_tools", False),
    ("developer_role", False),
    ("extensions", frozenset()),
    ("may_repeat", True),
)


def dialects_page(dialects: Iterable[Dialect]) -> str:
    """The whole page, in Markdown."""
    return "\n".join((INTRODUCTION, *(line for dialect in dialects for line in dialect_lines(dialect))))


def dialect_lines(dialect: Dialect) -> Iterator[str]:
    """One dialect's section."""
    yield f"## {dialect.title}"
    yield ""
    yield f'`dialect = "{dialect.name}"`'
    yield ""
    yield from _table(("claim", "value", "source"), _claims(dialect))
    if dialect.parameters:
        yield from _table(("parameter", "treatment", "why", "source"), map(_parameter, dialect.parameters))
    if dialect.errors:
        rows = ((str(e.status), _code(e.code or e.type), e.kind.value, e.message, e.source) for e in dialect.errors)
        yield from _table(("status", "code or type", "kind", "message", "source"), rows)
    if dialect.notes:
        yield from (f"- {note}" for note in dialect.notes)
        yield ""


def _claims(dialect: Dialect) -> Iterator[tuple[str, ...]]:
    sources = dialect.sources
    yield "credential", ", ".join(dialect.auth), sources.get("auth", "")
    yield "paths", ", ".join(f"{api} `{path}`" for api, path in dialect.paths.items()), sources.get("paths", "")
    for name, title in CLAIMS:
        value = getattr(dialect, name)
        if value is not None and (name, value) not in USUAL:
            yield title, _said(value), sources.get(name, "")
    subset, limits, reserved = dialect.json_schema, dialect.rate_limits, dialect.reservation
    if subset is not None:
        yield "JSON schemas", _subset(dialect), subset.source
    if limits is not None:
        windows = ", ".join(f"{of} per {window}" for of, window in limits.windows.items()) or "in the name"
        yield "rate-limit headers", f"reset as {limits.encoding}; window: {windows}", limits.source
    if reserved is not None:
        yield "reserved at admission", _reserved(dialect), reserved.source
    for signals in dialect.signals:
        names = ", ".join(f"{name}" for name in (signals.queued, signals.running, signals.kv_fraction) if name)
        needs = f" (needs {signals.needs})" if signals.needs else ""
        yield "load", f"`{signals.path}`: {names or 'unread'}{needs}", signals.source


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, frozenset):
        value = tuple(f"`{each}`" for each in sorted(value))
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def _subset(dialect: Dialect) -> str:
    subset = dialect.json_schema
    assert subset is not None
    rules = ["objects say `additionalProperties: false`"] * subset.closed_objects
    rules += ["all properties are required"] * subset.all_required
    rules += [f"without {', '.join(sorted(subset.refused))}"] if subset.refused else []
    return "; ".join(rules) + ("; where `strict`" if subset.strict_only else "")


def _reserved(dialect: Dialect) -> str:
    reserved = dialect.reservation
    assert reserved is not None
    parts = ["the input's estimate"] if reserved.input_estimate else []
    parts += ["the ceiling on output"] if reserved.output_ceiling else []
    if reserved.assumed_output_tokens is not None:
        parts.append(f"{reserved.assumed_output_tokens:,} tokens without a ceiling")
    if reserved.cached_count is not None:
        parts.append("cached tokens count" if reserved.cached_count else "cached tokens do not count")
    return ", ".join(parts)


def _parameter(rule: Parameter) -> tuple[str, ...]:
    if rule.treatment is Treatment.RENAME:
        treatment = f"renamed `{rule.renamed}`"
    elif rule.treatment is Treatment.REPLACE:
        treatment = ", ".join(f"{old.decode()} becomes {new.decode()}" for old, new in rule.values.items())
    else:
        treatment = "dropped" if rule.treatment is Treatment.DROP else "refused"
        harmless = [value.decode() for value in rule.harmless if value != b"null"]
        passed = [value.decode() for value in rule.passed]
        treatment += f", passed if {' or '.join(passed)}" if passed else ""
        treatment += f", unless {' or '.join(harmless)}" if harmless else ""
        treatment += f", beside `{rule.beside}`" if rule.beside else ""
    return f"`{rule.name}`", treatment, rule.why, rule.source


def _code(code: str | int | None) -> str:
    return "" if code is None else f"`{code}`"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield _row(head)
    yield _row(("---",) * len(head))
    yield from map(_row, rows)
    yield ""


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
