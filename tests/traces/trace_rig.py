"""Small traces of every format, written to disk as their publishers write them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path

ROUNDS = "session_id,arrival_time,round_idx,prefix_len,input_len,output_len,tool_wait_after_ms\n"


def lines(path: Path, *rows: object, header: str = "") -> Path:
    """JSON or text lines."""
    text = header + "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def mooncake(at_ms: int, tokens: int = 1000, output: int = 5, ids: Iterable[int] = (0, 1)) -> dict[str, object]:
    return {"timestamp": at_ms, "input_length": tokens, "output_length": output, "hash_ids": list(ids)}


def row(at_s: float, tokens: int = 128, ids: Iterable[int] = (1, 2), **more: object) -> dict[str, object]:
    return {"t": at_s, "type": "n", "in": tokens, "out": 7, "hash_ids": list(ids), "api_time": 2.0, **more}


def claude(path: Path, *requests: dict[str, object], name: str = "s1", scope: str = "local") -> Path:
    path.parent.mkdir(exist_ok=True)
    held = {"id": name, "models": [], "block_size": 64, "hash_id_scope": scope, "requests": list(requests)}
    path.write_text(json.dumps(held))
    return path


def lmcache(at_us: int, prompt: str, answer: str = "answer", session: str = "a") -> dict[str, object]:
    return {"timestamp": 1_760_000_000_000_000 + at_us, "input": prompt, "output": answer, "session_id": session}


def tracelab(session: str, number: int, start: str, end: str) -> dict[str, object]:
    events = [{"event_type": "user_message", "timestamp": start}, {"event_type": "text", "timestamp": end}]
    sizes = {"input_tokens_total": 1000 + number, "output_tokens": 10}
    return {"session_id": session, "round_index": number, **sizes, "timing_events": events}
