"""Questions with flags: what no flag said is asked for at a terminal; without one, all that is missing is named."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import typer

from headrace.cli.output import say
from headrace.errors import ConfigError, Fault, HeadraceError

T = TypeVar("T")
MISSING = "is missing, and there is no terminal to ask at"


class Question(NamedTuple):
    """One question and the flag that answers it; `default` None: there is none, so it must be answered."""

    flag: str
    text: str
    default: str | None = None


def at_a_terminal() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def require(given: dict[str, object]) -> None:
    """Raises ConfigError, with every missing flag at once: one is not given and nobody is there to be asked."""
    faults = [Fault(flag, MISSING) for flag, value in given.items() if not value]
    if faults and not at_a_terminal():
        raise ConfigError("command line", faults)


def answer(question: Question, given: str | None, read: Callable[[str], T]) -> T:
    """The answer as `read` understands it: the flag's, or else asked for until it can be read.

    Raises:
        HeadraceError: what a flag says, or a default without a terminal, cannot be read.
    """
    if given is not None:
        return read(given)
    if not at_a_terminal():
        if question.default is None:
            raise ConfigError("command line", [Fault(question.flag, MISSING)])
        return read(question.default)
    while True:
        try:
            return read(typer.prompt(question.text, default=question.default, err=True))
        except HeadraceError as error:
            say(str(error))
