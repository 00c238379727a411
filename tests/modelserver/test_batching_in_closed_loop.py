"""A closed loop through the batching server and the closed form: two ways to the same speed.

The form averages, the server runs every step. With constant lengths the server's clients bunch up: prompts that come
together are prefilled together, so TTFT grows and TPOT falls, and whole requests take as long. The form has three waits
that a server does not have: for the scheduler, for a client's own last answer, for a front end that others keep busy.
"""

from __future__ import annotations

import pytest

from headrace.fleet import Deployment, catalog
from headrace.modelserver import BatchingServer, Job, Milestone
from headrace.perf import Load, closed_loop, speed_curve

ROUNDS = 6
PLACES = [
    ("H100", "gpt-oss-120b", 8, None),
    ("B200", "llama-3.1-70b", 8, "trtllm"),
    ("H200", "qwen3-32b", 2, "vllm"),
    ("MI355X", "deepseek-r1", 8, None),
    ("TPU v6e", "llama-3.1-8b", 4, None),
]
LOADS = [(300, 300), (1000, 1000), (8000, 500)]


def served(place: Deployment, load: Load) -> tuple[float, float]:
    """Mean TTFT and TPOT of the later half of the requests; clients start one after the other."""
    curve, clients = speed_curve(place), round(load.concurrency)
    server, seconds = BatchingServer(curve), load.output_tokens * curve.tpot_s(clients, load.input_tokens)
    starts = [seconds * client / clients for client in range(clients)]
    sent: dict[int, float] = {}
    first: dict[int, float] = {}
    done: list[tuple[float, float]] = []
    while len(done) < ROUNDS * clients:
        due_s = server.next_s()
        now_s = starts[0] if starts and (due_s is None or starts[0] <= due_s) else due_s
        assert now_s is not None
        senders = 1 if starts and starts[0] == now_s else 0
        del starts[:senders]
        for report in server.advance(now_s):
            if report.milestone is Milestone.FIRST_TOKEN:
                first[report.job_id] = report.at_s
            else:
                ttft_s = first[report.job_id] - sent[report.job_id]
                done.append((ttft_s, (report.at_s - first[report.job_id]) / (load.output_tokens - 1)))
                senders += 1
        for _ in range(senders):
            sent[len(sent) + 1] = now_s
            server.submit(now_s, Job(len(sent), load.input_tokens, load.output_tokens))
    late = done[len(done) // 2 :]
    return sum(ttft_s for ttft_s, _ in late) / len(late), sum(tpot_s for _, tpot_s in late) / len(late)


@pytest.mark.parametrize(("chip", "model", "count", "software"), PLACES)
@pytest.mark.parametrize(("inputs", "outputs"), LOADS)
@pytest.mark.parametrize("clients", [2, 8, 32, 96])
def test_the_server_agrees_with_the_closed_form(
    chip: str, model: str, count: int, software: str | None, inputs: int, outputs: int, clients: int
) -> None:
    place = Deployment("d", catalog.model(model), catalog.accelerator(chip), count, software=software)
    load = Load(inputs, outputs, clients)
    form = closed_loop(place, [load])[0]
    ttft_s, tpot_s = served(place, load)
    whole_s = form.ttft.value + (outputs - 1) * form.tpot.value
    assert ttft_s + (outputs - 1) * tpot_s == pytest.approx(whole_s, rel=0.12)
    if inputs <= outputs:  # longer prompts bunch
        assert tpot_s == pytest.approx(form.tpot.value, rel=0.08)
        assert 0.4 * form.ttft.value <= ttft_s <= 1.15 * form.ttft.value
