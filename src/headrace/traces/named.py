"""`CLASS=PATH`: how options and files name the trace of a workload class."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from headrace.errors import Fault


def named_traces(options: Iterable[str], classes: Collection[str], where: str) -> tuple[dict[str, str], list[Fault]]:
    """`CLASS=PATH` texts as a mapping, and what is wrong with them.

    Args:
        classes: the workload classes that there are.
        where: path of a fault; `{}` in it stands for the text.
    """
    traces: dict[str, str] = {}
    faults = []
    for option in options:
        name, equals, path = option.partition("=")
        if not equals or not path:
            faults.append(Fault(where.format(option), "expected CLASS=PATH, for instance coding=code.csv"))
        elif name not in classes:
            faults.append(Fault(where.format(option), f"the fleet has no class {name!r}; it has {', '.join(classes)}"))
        elif name in traces:
            faults.append(Fault(where.format(option), f"class {name!r} has a trace already"))
        else:
            traces[name] = path
    return traces, faults
