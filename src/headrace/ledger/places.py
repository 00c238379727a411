"""Where the files of several workers are: one file has one writer, so each worker has its own in one directory."""

from __future__ import annotations

from pathlib import Path

from headrace.errors import ConfigError, Fault


def worker_file(directory: Path, number: int, start: int = 0) -> Path:
    """The file of one worker; `start`: what it does not go on with, from its so manieth restart on."""
    return directory / (f"worker-{number}.jsonl" if not start else f"worker-{number}.{start}.jsonl")


def left_behind(directory: Path, workers: int) -> list[Path]:
    """Ledgers of workers that there were once and are no more: nobody else goes on with them."""
    known = {worker_file(directory, number) for number in range(workers)}
    return sorted(path for path in directory.glob("worker-*.jsonl") if path not in known)


def make_directory(path: Path, what: str) -> None:
    """A directory for the files of several workers.

    Raises:
        ConfigError: it is a file, or cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "is a file" if path.exists() else f"cannot be made: {error.strerror}"
        raise ConfigError(
            what, [Fault(str(path), f"{reason}; several workers need a directory, name another")]
        ) from error
