"""`headrace simulate --faults --workers`: the same bytes whatever the process, and words for what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

Command = Callable[..., tuple[int, str, str]]

FAULTS = """
schema = 1

[[faults]]
type = "down"
vendors = ["Cerebras", "AMD"]
from_s = 10
to_s = 20

[[faults]]
type = "slow"
pools = ["h100"]
from_s = 5
factor = 3

[[faults]]
type = "flapping"
backends = ["b200-1", "groq-1"]
from_s = 0
period_s = 7
"""


def simulated(folder: Path, hash_seed: str) -> bytes:
    """The result of a process of its own, whose hashes are salted so."""
    arguments = ["simulate", "--seconds", "40", "--faults", "faults.toml", "--workers", "3", "--json", "-"]
    done = subprocess.run(
        [sys.executable, "-m", "headrace.cli", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        check=True,
    )
    return done.stdout


def test_faults_and_workers_give_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    (tmp_path / "faults.toml").write_text(FAULTS)
    first, second = simulated(tmp_path, "1"), simulated(tmp_path, "2")
    assert first == second
    requests = msgspec.json.decode(first)["requests"]
    assert requests["arrived"] == sum(requests[each] for each in ("completed", "rejected", "failed", "cancelled"))
    assert requests["failed"] > 0


def test_a_fault_file_is_checked_before_anything_is_simulated(command: Command, tmp_path: Path) -> None:
    (tmp_path / "faults.toml").write_text(FAULTS.replace("AMD", "AMDD"))
    code, out, err = command("simulate", "--faults", "faults.toml")
    assert (code, out) == (2, "")
    assert "faults[0].vendors[1]: no vendor 'AMDD'; did you mean 'AMD'?" in err


def test_a_sample_says_which_faults_do_not_happen(command: Command, tmp_path: Path) -> None:
    (tmp_path / "faults.toml").write_text(FAULTS)
    (tmp_path / "t.csv").write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.97,100,10\n")
    code, _, err = command("simulate", "--trace", "chat=t.csv", "--sample", "0.5", "--faults", "faults.toml")
    assert code == 0
    assert "faults: 1 of the backends that they hit are not in the sample" in err
