"""Every figure that an answer rests on, with its source: from the scenario's own comments, and from the speed model.

A scenario states its figures and says in a comment behind each, or above its table, where it comes from. So the text
is read again for the comments; what the figures mean has been checked by whoever built the scenario from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from headrace.fleet import Deployment
from headrace.perf import coefficients, speed_curve
from headrace.plan.build import Built
from headrace.study.plan.answer import Assumption

RULE = "---"  # a line of these parts a file into sections
LONGEST_VALUE = 60  # letters


def assumptions(texts: Iterable[str], built: Built) -> list[Assumption]:
    """Figures of the scenario's texts that say where they come from, then those of the speed model.

    Args:
        texts: of the scenario's files; what a later one says of a figure replaces what an earlier one says.
    """
    stated = {each.what: each for text in texts for each in _stated(text)}
    return [*stated.values(), *_speeds(built)]


def _stated(text: str) -> Iterator[Assumption]:
    table, above = "", list[str]()
    for line in text.splitlines():
        bare = line.strip()
        if bare.startswith("#"):
            words = bare.lstrip("# ").strip()
            above = [] if RULE in words else [*above, words]
        elif bare.startswith("["):
            header, _, behind = bare.partition("#")
            table = header.strip(" []")
            source = behind.strip() or " ".join(above).strip()
            if source:
                yield Assumption(table, "", source)
            above = []
        elif not bare:
            above = []
        else:
            statement, comment = _split(bare)
            key, _, value = statement.partition("=")
            if comment:
                where = f"{table}.{key.strip()}" if table else key.strip()
                yield Assumption(where, _short(value.strip()), comment)


def _split(line: str) -> tuple[str, str]:
    """Statement and comment: a `#` within quotes begins none."""
    quote = ""
    for index, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter == "#":
            return line[:index].strip(), line[index + 1 :].strip()
    return line, ""


def _short(value: str) -> str:
    return value if len(value) <= LONGEST_VALUE else f"{value[:LONGEST_VALUE]} ..."


def _speeds(built: Built) -> Iterator[Assumption]:
    deployments: dict[str, Deployment] = {}
    for supply in built.supplies:
        deployments.setdefault(supply.offer.deployment.name, supply.offer.deployment)
    for name, deployment in deployments.items():
        chip = deployment.accelerator
        if chip is not None and deployment.observed is None and deployment.calibrated is None:
            curve = speed_curve(deployment)
            batch = min(curve.max_batch, len(curve.step_s) - 1)
            said = f"{1e3 * curve.step_s[1]:.3g} ms a token alone, {1e3 * curve.step_s[batch]:.3g} ms at {batch}"
            yield Assumption(f"speed of {name}", said, _speed_source(deployment))
            yield Assumption(f"accelerator {chip.name}", f"{chip.power_w or 0.0:,.0f} W", chip.source)


def _speed_source(deployment: Deployment) -> str:
    """Where the coefficients of the chip's law come from."""
    chip = deployment.accelerator
    own = [each for each in coefficients() if chip is not None and each.accelerator in (chip.name, chip.speed_as)]
    sources = dict.fromkeys(each.source for each in own)
    return "; ".join(sources) or "headrace.perf: fitted to public measurements (speed_parameters.csv)"
