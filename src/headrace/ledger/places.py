"""Where the files of several workers are: one file has one writer, so each worker has its own in one directory."""

from __future__ import annotations

from pathlib import Path

from headrace.errors import ConfigError, Fault


def writer_of(worker: int) -> str:
    """The name by which a worker writes into a directory."""
    return f"worker-{worker}"


def journal_of(directory: Path, worker: int, restarts: int) -> Path:
    """A worker's journal: one more after every restart, for a journal is of one run."""
    return directory / f"{writer_of(worker)}.{restarts + 1:08d}.jsonl"


def make_directory(path: Path, what: str) -> None:
    """A directory for the files of several workers.

    Raises:
        ConfigError: it is a file, or cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "is a file" if path.exists() else f"cannot be made: {error.strerror}"
        said = f"{reason}; several workers need a directory, name another"
        raise ConfigError(what, [Fault(str(path), said)]) from error
