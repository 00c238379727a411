"""Where results and words for people go: kept apart from what commands import to do their work."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from headrace.errors import HeadraceError

JsonPath = Annotated[Path | None, typer.Option("--json", help="Write the result here; - means standard output.")]


def say(text: str) -> None:
    """A line for people, on standard error."""
    print(f"headrace: {text}", file=sys.stderr, flush=True)


def say_all(texts: Iterable[str]) -> None:
    """Several lines for people."""
    for text in texts:
        say(text)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """An error of the user's, or of a file's, is printed and not traced; the process exits with 2."""
    try:
        yield
    except (HeadraceError, OSError) as error:
        print(f"headrace: {error}", file=sys.stderr)
        sys.exit(2)


def keep_for_results() -> None:
    """Keep standard output for results: what a library in C writes there goes to standard error from now on."""
    out = sys.__stdout__
    if out is not None and sys.stdout is out:
        out.flush()
        kept = os.dup(out.fileno())
        os.dup2(sys.stderr.fileno(), out.fileno())
        sys.stdout = os.fdopen(kept, "w", encoding=out.encoding)


def write_result(json: Path | None, result: Mapping[str, object]) -> None:
    """Write a command's result as JSON, if it was asked for; `-` is standard output."""
    if json is not None:
        write_bytes(json, msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")


def write_bytes(path: Path, content: bytes) -> None:
    """Into a file, or to standard output where the path is `-`."""
    if str(path) == "-":
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
    else:
        path.write_bytes(content)
