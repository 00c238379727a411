"""The ledger as tables: one schema and one set of statements for SQLite and PostgreSQL.

The log is the truth and the tables are a view of it, which is made by reading on from where the last import ended. An
import is a transaction: rows and the new mark of the file go in together or not at all. And every row is written so
that order and repetition do not matter:

    attempts    key (run id, attempt id); a row is made by whichever of its two records comes first, the dispatch fills
                in its part, and an end is taken only while there is none (open -> interrupted -> closed, never back)
    runs, terms key and content come from the same record

So after any cuts, copies and order of imports the tables say what one reading of the log says. A file is known by its
first line, which names its run, so it may be moved, rotated away or copied; if what stands before the mark is not what
was there (a file restored from a backup and written further), it is read again from its beginning, at no harm.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from headrace.metrics.usage import (
    AttemptStatus,
    Closed,
    Interrupted,
    LedgerState,
    Opened,
    Record,
    RunStarted,
    Terms,
)

Row = tuple[object, ...]

TABLES = """
create table if not exists files (
    head text primary key, path text not null, bytes bigint not null, lines bigint not null,
    runs text not null, tail text not null);
create table if not exists runs (run_id text primary key, started_unix_s double precision not null);
create table if not exists terms (
    run_id text not null, number integer not null, backend text not null, pool text not null, model text not null,
    input_usd double precision not null, cached_input_usd double precision not null,
    output_usd double precision not null, primary key (run_id, number));
create table if not exists attempts (
    run_id text not null, attempt_id bigint not null,
    request_id bigint, backend text, class text, tenant text, api text, reason text, terms integer,
    at_s double precision, estimated_input_tokens bigint, reserved_output_tokens bigint,
    status text not null default 'open', ended_s double precision,
    input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, delivered_output_tokens bigint,
    primary key (run_id, attempt_id));
"""

# One row an attempt, as `Entry` says it. Where the two databases differ, each fills in what it needs.
VIEW = """
{create} usage as
select run_id, attempt_id, request_id, backend, class, tenant, api, reason, status, usage,
    coalesce(pool, '') as pool, coalesce(model, '') as model, opened_unix_s, ended_s - at_s as seconds,
    {day} as day,
    input, coalesce(cached, 0) as cached, low as output_low, high as output_high,
    case when usage then (input - coalesce(cached, 0)) * input_usd + coalesce(cached, 0) * cached_input_usd
            + low * output_usd
        when low = 0 then 0.0 * input_usd
        when cached_input_usd < input_usd then input * cached_input_usd + low * output_usd
        else input * input_usd + low * output_usd end as usd_low,
    case when usage then (input - coalesce(cached, 0)) * input_usd + coalesce(cached, 0) * cached_input_usd
            + low * output_usd
        else input * input_usd + high * output_usd end as usd_high
from (
    select a.*, t.pool, t.model, t.input_usd, t.cached_input_usd, t.output_usd,
        r.started_unix_s + a.at_s as opened_unix_s,
        output_tokens is not null as usage, cached_input_tokens as cached,
        case when output_tokens is null then estimated_input_tokens
            else coalesce(input_tokens, estimated_input_tokens) end as input,
        coalesce(output_tokens, delivered_output_tokens, 0) as low,
        case when output_tokens is not null then output_tokens
            when reserved_output_tokens < coalesce(delivered_output_tokens, 0) then delivered_output_tokens
            else reserved_output_tokens end as high
    from attempts a
    left join runs r on r.run_id = a.run_id
    left join terms t on t.run_id = a.run_id and t.number = a.terms
    where a.backend is not null) as attempt;
"""
RUN = "insert into runs values (?, ?) on conflict do nothing"
TERMS = "insert into terms values (?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing"
OPENED = """
insert into attempts (run_id, attempt_id, request_id, backend, class, tenant, api, reason, terms, at_s,
    estimated_input_tokens, reserved_output_tokens) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (run_id, attempt_id) do update set request_id = excluded.request_id, backend = excluded.backend,
    class = excluded.class, tenant = excluded.tenant, api = excluded.api, reason = excluded.reason,
    terms = excluded.terms, at_s = excluded.at_s, estimated_input_tokens = excluded.estimated_input_tokens,
    reserved_output_tokens = excluded.reserved_output_tokens where attempts.backend is null
"""
ENDED = """
insert into attempts (run_id, attempt_id, status, ended_s, input_tokens, output_tokens, cached_input_tokens,
    delivered_output_tokens) values (?, ?, ?, ?, ?, ?, ?, ?)
on conflict (run_id, attempt_id) do update set status = excluded.status, ended_s = excluded.ended_s,
    input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens,
    cached_input_tokens = excluded.cached_input_tokens, delivered_output_tokens = excluded.delivered_output_tokens
    where attempts.status = 'open' or (attempts.status = 'interrupted' and excluded.status <> 'interrupted')
"""
MARK = "select bytes, lines, runs, tail from files where head = ?"
SET_MARK = """
insert into files (head, path, bytes, lines, runs, tail) values (?, ?, ?, ?, ?, ?)
on conflict (head) do update set path = excluded.path, bytes = excluded.bytes, lines = excluded.lines,
    runs = excluded.runs, tail = excluded.tail
"""


class Batch(NamedTuple):
    """Rows by the statement that writes them; a run's dispatches go in before its ends."""

    runs: list[Row]
    terms: list[Row]
    opened: list[Row]
    ended: list[Row]

    def statements(self) -> Iterable[tuple[str, list[Row]]]:
        """Each statement with its rows, in order, without empty ones."""
        pairs = ((RUN, self.runs), (TERMS, self.terms), (OPENED, self.opened), (ENDED, self.ended))
        return [(statement, rows) for statement, rows in pairs if rows]

    def add(self, record: Record, state: LedgerState) -> None:
        """Add what a record says. `state` has read up to it."""
        if isinstance(record, Opened):
            self.opened.append(_opened(record, state))
        elif isinstance(record, Closed | Interrupted):
            self.ended.append(_ended(record, state))
        elif isinstance(record, RunStarted):
            self.runs.append((state.run_id(record.run), record.started_unix_s))
        elif isinstance(record, Terms):
            self.terms.append(_terms(record, state))


def _opened(record: Opened, state: LedgerState) -> Row:
    who = (record.request_id, record.backend, record.workload_class, record.tenant, record.api, record.reason)
    size = (record.terms, record.at_s, record.input_tokens, record.reserved_output_tokens)
    return (*state.key(record), *who, *size)


def _ended(record: Closed | Interrupted, state: LedgerState) -> Row:
    key = state.key(record)
    if isinstance(record, Interrupted):
        return (*key, str(AttemptStatus.INTERRUPTED), None, None, None, None, record.delivered_output_tokens)
    used = (record.input_tokens, record.output_tokens, record.cached_input_tokens, record.delivered_output_tokens)
    return (*key, record.status, record.at_s, *used)


def _terms(record: Terms, state: LedgerState) -> Row:
    prices = (record.input_usd_per_token, record.cached_input_usd_per_token, record.output_usd_per_token)
    return (state.run_id(record.run), record.number, record.backend, record.pool, record.model, *prices)
