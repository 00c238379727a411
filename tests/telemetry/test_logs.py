"""Logs: a line for people or an object for machines, an access log that survives rotation, sinks that may fail."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from headrace.fleet import LogFormat
from headrace.telemetry import AccessLog, Family, Histogram, Recorder, Trail, render, set_up_logs, tell
from headrace.telemetry.recorder import MOST_WAITING


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("headrace", "asyncio")]
    before = [(each.handlers, each.propagate, each.level) for each in loggers]
    yield
    for each, (handlers, propagate, level) in zip(loggers, before, strict=True):
        each.handlers, each.propagate = handlers, propagate
        each.setLevel(level)


def trail(tenant: str = "t", status: int = 200) -> Trail:
    return Trail(
        request_id="a-1",
        api="chat",
        path=b"/v1/chat/completions",
        arrived_s=1.0,
        tenant=tenant,
        workload_class="chat",
        model="m",
        backend="b",
        dispatched=1,
        tokens=(12, 5, 3),
        spent_usd=0.25,
        first_token_s=1.5,
        ended_s=3.0,
        ended_unix_s=1_800_000_000.0,
        status=status,
        outcome="completed",
    )


def test_people_read_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs(LogFormat.HUMAN)
    tell("the disk is full")
    assert capsys.readouterr().err == "headrace: the disk is full\n"


def test_machines_read_an_object_also_of_asyncio(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs(LogFormat.JSON)
    tell("up", logging.INFO)
    try:
        raise ValueError("inside")
    except ValueError:
        logging.getLogger("asyncio").exception("a task failed")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["level"], first["logger"], first["message"]) == ("info", "headrace", "up")
    assert (second["level"], second["message"]) == ("error", "a task failed")
    assert "ValueError: inside" in second["exception"]


def test_a_line_for_machines_has_every_figure(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    AccessLog(str(path), LogFormat.JSON).record([trail()])
    assert json.loads(path.read_text()) == {
        "time": "2027-01-15T08:00:00.000Z",
        "request_id": "a-1",
        "tenant": "t",
        "class": "chat",
        "model": "m",
        "api": "chat",
        "backend": "b",
        "attempts": 1,
        "status": 200,
        "outcome": "completed",
        "input_tokens": 12,
        "output_tokens": 5,
        "cached_input_tokens": 3,
        "ttft_s": 0.5,
        "e2e_s": 2.0,
        "usd": 0.25,
        "trace_id": None,
    }
    assert path.stat().st_mode & 0o007 == 0, "nobody else reads it"


def test_a_name_from_outside_stays_a_word_on_its_line(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    AccessLog(str(path), LogFormat.HUMAN).record([trail("x status=500\n2027 forged\u2028é")])
    (line,) = path.read_text().splitlines()
    assert line.split(" ")[4] == r"tenant=x\x20status=500\n2027\x20forged\u2028\xe9"


def test_a_file_that_was_moved_away_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(str(path), LogFormat.HUMAN)
    log.record([trail()])
    path.rename(tmp_path / "access.log.1")
    log.record([trail(), trail()])
    assert len((tmp_path / "access.log.1").read_text().splitlines()) == 1
    assert len(path.read_text().splitlines()) == 2


def test_a_sink_that_fails_is_told_of_once_and_the_others_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs(LogFormat.HUMAN)
    got: list[Trail] = []

    def fails(trails: list[Trail]) -> None:
        raise OSError(28, "No space left on device")

    recorder = Recorder([fails, got.extend], interval_s=0.001)
    for _ in range(3):
        before = len(got)
        recorder.add(trail())
        while len(got) == before:
            pass
    recorder.close()
    assert len(got) == 3
    assert capsys.readouterr().err.count("No space left on device") == 1


def test_what_is_too_much_is_dropped_and_counted() -> None:
    got: list[Trail] = []
    recorder = Recorder([got.extend], interval_s=1e6)
    one = trail()
    for _ in range(MOST_WAITING + 7):
        recorder.add(one)
    recorder.close()
    (metric,) = recorder.metrics()
    assert (len(got), metric.value) == (MOST_WAITING, 7)


def test_text_is_read_back_as_it_was_meant() -> None:
    strange = 'a"b\\c\nd'
    histogram = Histogram((0.1, 1.0))
    for value in (0.1, 0.5, 7.0):
        histogram.observe(value)
    page = render(
        [
            Family("x_total", "counter", "of\nlines \\ and", [((("name", strange),), 3)]),
            Family("y_seconds", "histogram", "h", histograms=[((("name", strange),), histogram), ((), Histogram(()))]),
        ]
    ).decode()
    counter, read = text_string_to_metric_families(page)
    assert (counter.documentation, counter.samples[0].labels["name"]) == ("of\nlines \\ and", strange)
    found = {(s.name, s.labels.get("le")): s.value for s in read.samples if s.labels.get("name") == strange}
    assert found == {
        ("y_seconds_bucket", "0.1"): 1,
        ("y_seconds_bucket", "1.0"): 2,
        ("y_seconds_bucket", "+Inf"): 3,
        ("y_seconds_sum", None): 7.6,
        ("y_seconds_count", None): 3,
    }
