"""Probes of a backend that answers, refuses, limits and breaks: what is sent, written down and spent."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from probe_rig import PLAN, Probed, answer

from headrace.bench import (
    Budget,
    ProbeFile,
    ProbeHeader,
    ProbePlan,
    Spend,
    complete_cells,
    fit_sizing,
    read_probe,
    select,
    spent_before,
    summarise,
)
from headrace.errors import BackendError, ConfigError, TraceError
from headrace.http import Exchange, header_lines

JSON = header_lines((b"content-type", b"application/json"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "probe.jsonl"


def test_every_request_is_written_down_with_what_was_measured(path: Path) -> None:
    outcome = Probed(path).run()
    _, records = read_probe(path)
    assert outcome.missing == []
    assert len(records) == sum(len(cell.shots) for cell in PLAN.cells())
    assert list(complete_cells(records, PLAN.cells())) == [cell.name for cell in PLAN.cells()]
    for record in records:
        assert record.outcome == "completed"
        assert record.output_tokens == record.max_tokens
        assert record.ttft_s is not None
        assert record.rate_limit_headers["x-ratelimit-reset-requests-day"] == "33011.38"
        assert (record.rate_limits[0].of, record.rate_limits[0].window) == ("requests", "day")


def test_no_prompt_comes_twice_and_sizes_are_right(path: Path) -> None:
    probed = Probed(path)
    probed.run()
    prompts = [str(body["messages"]) for body in probed.seen]
    assert len(set(prompts)) == len(prompts)
    _, records = read_probe(path)
    for record in records:
        if record.kind != "sizing":
            asked = int(record.cell.split("-")[1 if record.kind != "batch" else 2])
            if record.kind in ("single", "batch"):
                assert record.input_tokens == pytest.approx(asked, abs=1)


def test_prompts_share_a_beginning_where_the_prefix_cache_is_measured(path: Path) -> None:
    probed = Probed(path)
    probed.run()
    first, again, other = [body["messages"][0]["content"] for body in probed.seen[-3:]]  # type: ignore[index]
    assert first != again
    assert first[: len(first) // 2] == again[: len(again) // 2]
    assert first[:20] != other[:20]


@pytest.mark.parametrize("budget", [Budget(requests=9), Budget(tokens=4000), Budget(requests=5, tokens=20_000)])
def test_a_budget_is_never_exceeded_and_what_it_leaves_out_is_named(path: Path, budget: Budget) -> None:
    cells = PLAN.cells()
    selection = select(cells, (), Spend(), budget)
    outcome = Probed(path).run(budget=budget)
    _, records = read_probe(path)
    spent = spent_before(records)
    assert spent == outcome.spent
    assert budget.allows(spent)
    assert spent.tokens <= selection.worst.tokens
    assert selection.left_out
    assert len(selection.cells) + len(selection.left_out) == len(cells)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(96, 20_000),
    st.integers(1, 40),
    st.integers(1, 4),
    st.none() | st.integers(0, 500),
    st.none() | st.integers(0, 500_000),
)
def test_the_worst_case_of_what_is_chosen_fits_any_budget(
    max_input: int, concurrency: int, repeats: int, requests: int | None, tokens: int | None
) -> None:
    cells = ProbePlan(max_input, concurrency, repeats).cells()
    selection = select(cells, (), Spend(), Budget(requests, tokens))
    assert Budget(requests, tokens).allows(selection.worst)
    assert selection.worst.requests == sum(len(cell.shots) for cell in selection.cells)
    assert len({cell.name for cell in cells}) == len(cells)
    assert max(shot.input_tokens for cell in cells[1:] for shot in cell.shots) <= max_input


def test_an_interrupted_probe_sends_only_what_is_missing(path: Path) -> None:
    probed = Probed(path)
    stopped = probed.run(stop_after=9)
    assert stopped.stopped
    _, records = read_probe(path)
    before = complete_cells(records, PLAN.cells())
    assert {record.outcome for record in records} == {"completed", "cancelled"}
    sent = len(probed.seen)
    assert probed.run().missing == []
    rest = [cell for cell in PLAN.cells() if cell.name not in before]
    assert len(probed.seen) - sent == sum(len(cell.shots) for cell in rest)
    assert Probed(path).run().measured == 0


def test_a_line_that_was_cut_off_is_measured_again(path: Path) -> None:
    Probed(path).run()
    content = path.read_bytes()
    path.write_bytes(content[:-20])
    again = Probed(path)
    assert again.run().missing == []
    assert len(again.seen) == 3  # the last cell, whole


def test_a_file_of_another_endpoint_or_with_a_broken_line_is_refused(path: Path) -> None:
    Probed(path).run(budget=Budget(requests=2))
    with pytest.raises(ConfigError, match="a probe of m at http://backend"):
        ProbeFile(path, ProbeHeader(1, "http://other", "m", ""))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "{}", *lines[1:]]) + "\n")
    with pytest.raises(TraceError, match=r"probe.jsonl:2"):
        read_probe(path)


def test_a_rate_limit_is_waited_for_and_the_cell_sent_again(path: Path) -> None:
    refused = []

    def limited(exchange: Exchange) -> None:
        if len(refused) < 2:
            refused.append(exchange)
            exchange.respond(429, header_lines((b"retry-after-ms", b"30")), b'{"error":{"message":"slow down"}}')
        else:
            answer(exchange)

    outcome = Probed(path, limited).run()
    _, records = read_probe(path)
    assert outcome.missing == []
    assert [record.status for record in records[:3]] == [429, 429, 200]
    assert spent_before(records[:1]) == Spend(1, 0, 0)
    assert summarise(records).completed == len(records) - 2


@pytest.mark.parametrize(
    ("status", "words"), [(401, "--api-key-env"), (404, "--model"), (400, "--token-field"), (413, "--max-input")]
)
def test_what_can_never_succeed_ends_the_probe_with_what_to_do(path: Path, status: int, words: str) -> None:
    probed = Probed(path, lambda exchange: exchange.respond(status, JSON, b'{"error":{"message":"no such thing"}}'))
    with pytest.raises(BackendError, match=f"HTTP {status}.*no such thing(.|\n)*{words}"):
        probed.run()
    assert len(probed.seen) == 1


def test_a_pause_that_is_too_long_ends_the_probe(path: Path) -> None:
    headers = header_lines((b"retry-after", b"3600"))
    with pytest.raises(BackendError, match=r"pause of 3600 s(.|\n)*probe.jsonl"):
        Probed(path, lambda exchange: exchange.respond(429, headers, b"{}")).run()


def test_a_backend_that_breaks_every_time_ends_the_probe(path: Path) -> None:
    def broken(exchange: Exchange) -> None:
        if b"chat" in exchange.path and len(exchange.body) > 3000:
            answer(exchange)
        else:
            exchange.abort()

    with pytest.raises(BackendError, match="in a row failed"):
        Probed(path, broken).run(pause_s=0.001, failures=1)
    _, records = read_probe(path)
    assert {record.outcome for record in records} >= {"failed"}
    assert spent_before(records).input_tokens >= 0


def test_a_backend_that_does_not_count_tokens_cannot_be_probed(path: Path) -> None:
    with pytest.raises(BackendError, match="cannot be sized"):
        Probed(path, lambda exchange: answer(exchange, usage=False)).run(pause_s=0.001)


def test_a_stalled_answer_fails_at_its_timeout(path: Path) -> None:
    with pytest.raises(BackendError, match="timeout"):
        Probed(path, lambda exchange: None).run(timeout_s=0.05, pause_s=0.001, attempts=1, failures=1)


@pytest.mark.parametrize("bytes_per_token", [1.3, 4.0, 5.7])
def test_a_tokenizer_is_learnt_from_usage(path: Path, bytes_per_token: float) -> None:
    Probed(path, lambda exchange: answer(exchange, bytes_per_token=bytes_per_token)).run()
    _, records = read_probe(path)
    sizing = fit_sizing((record.prompt_bytes, record.input_tokens or 0) for record in records)
    assert sizing is not None
    assert sizing.bytes_per_token == pytest.approx(bytes_per_token, rel=0.02)
    assert sizing.fixed_tokens == pytest.approx(7, abs=2)
    assert fit_sizing([(600, 150)]) is None
