"""`headrace top`: what the dashboard shows, in a terminal."""

from __future__ import annotations

import os
import sys
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from headrace.cli.top_screen import screen
from headrace.dashboard import fetch_frame

INTERVAL_S = 1.0
PIPED_COLUMNS = 140  # where no terminal says how wide it is


def top(
    url: Annotated[str, typer.Option(help="Of the gateway's admin port.")] = "http://127.0.0.1:8081",
    once: Annotated[bool, typer.Option("--once", help="Show one second and end.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print frames as JSON, one a line.")] = False,
    key_env: Annotated[
        str, typer.Option(help="Environment variable with the admin port's key.")
    ] = "HEADRACE_ADMIN_KEY",
) -> None:
    """Show a running gateway, once a second, until Ctrl-C."""
    key = os.environ.get(key_env, "")
    frame, raw = fetch_frame(url, key)
    if json:
        _print_json(url, key, raw, once)
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPED_COLUMNS)
    if once or not console.is_terminal:
        console.print(screen(frame))
        return
    with Live(screen(frame), console=console, screen=True, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(INTERVAL_S)
                live.update(screen(fetch_frame(url, key)[0]), refresh=True)
        except KeyboardInterrupt:
            return


def _print_json(url: str, key: str, raw: bytes, once: bool) -> None:
    try:
        while True:
            sys.stdout.buffer.write(raw + b"\n")
            sys.stdout.flush()
            if once:
                return
            time.sleep(INTERVAL_S)
            raw = fetch_frame(url, key)[1]
    except KeyboardInterrupt:
        return
