"""Runs inside the environment that has aiconfigurator, never imported by the project.

Reads one JSON command a line from stdin, answers each with one JSON line:

    {"kind": "about"} -> {"version": V, "python": P}
    {"kind": "predict", "rows": [ROW...]} -> a line a row: {"id": I, "ttft_ms": T, "tpot_ms": T, ...} or a refusal
    {"kind": "time", "row": ROW, "place": K, "calls": N, "loads": [[INPUT, OUTPUT, BATCH]...]} -> CPU seconds

A ROW has `tries`: arguments of `cli_estimate`, of which the first that is not refused answers.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import platform
import sys
import time
import warnings
from contextlib import redirect_stdout
from importlib.metadata import version
from typing import Any

from aiconfigurator.cli.api import cli_estimate
from aiconfigurator.sdk.inference_session import InferenceSession
from aiconfigurator.sdk.perf_database import get_latest_database_version

latest: dict[tuple[str, str], str | None] = {}


def with_version(tried: dict[str, Any]) -> dict[str, Any]:
    """The arguments with the newest database of the system and software: looking it up anew takes seconds a call."""
    place = tried["system_name"], tried["backend_name"]
    if place not in latest:
        latest[place] = get_latest_database_version(system=place[0], backend=place[1])
    return {**tried, "backend_version": latest[place]}


def predict(row: dict[str, Any]) -> dict[str, Any]:
    reasons = []
    for place, tried in enumerate(row["tries"]):
        try:
            found = cli_estimate(**with_version(tried))
        except Exception as error:  # whatever it cannot do is a refusal, and is reported with its words
            reasons.append(f"{type(error).__name__}: {error}")
            continue
        return {
            "id": row["id"],
            "ttft_ms": float(found.ttft),
            "tpot_ms": float(found.tpot),
            "try": place,
            "database": found.backend_version,
            "quant": "/".join(str(found.raw.get(name)) for name in ("gemm", "moe", "kvcache")),
            "over_capacity": bool(found.kv_cache_warning),
            "refusals": reasons,
        }
    return {"id": row["id"], "refused": reasons[0]}


def timed(row: dict[str, Any], place: int, calls: int, loads: list[list[int]]) -> dict[str, float]:
    """CPU seconds a prediction: as documented, with the database's version given, and of a session that is kept."""
    tried = row["tries"][place]
    given = with_version(tried)
    kept: list[tuple[Any, Any, dict[str, Any]]] = []
    original = InferenceSession.run_agg

    def keep(session: Any, runtime: Any, **options: Any) -> Any:
        kept.append((session, runtime, options))
        return original(session, runtime, **options)

    InferenceSession.run_agg = keep
    cli_estimate(**given)
    InferenceSession.run_agg = original
    documented_s = cpu_s(lambda k: cli_estimate(**{**tried, "batch_size": tried["batch_size"] + k}), 1)
    given_s = cpu_s(lambda k: cli_estimate(**{**given, "batch_size": tried["batch_size"] + k}), calls)
    session, runtime, options = kept[0]
    asked = [
        (dataclasses.replace(runtime, isl=isl, osl=osl, batch_size=batch), {**options, "ctx_tokens": isl})
        for isl, osl, batch in loads
    ]
    session_s = cpu_s(lambda k: session.run_agg(asked[k][0], **asked[k][1]).get_result_dict(), len(loads))
    return {"documented_s": documented_s, "given_s": given_s, "session_s": session_s}


def cpu_s(call: Any, times: int) -> float:
    """CPU seconds a call, the first one apart."""
    started_s = time.process_time()
    for k in range(times):
        call(k)
    return (time.process_time() - started_s) / times


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    answers = sys.stdout
    for line in sys.stdin:
        command = json.loads(line)
        with redirect_stdout(sys.stderr):
            if command["kind"] == "about":
                found = [{"version": version("aiconfigurator"), "python": platform.python_version()}]
            elif command["kind"] == "time":
                found = [timed(command["row"], command["place"], command["calls"], command["loads"])]
            else:
                found = map(predict, command["rows"])
            for answer in found:
                print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
