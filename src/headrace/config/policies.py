"""Find a policy by its name: one that ships with headrace, or one that an installed package offers.

A package offers policies in its entry points (group `headrace.policies`), each a callable that takes a fleet and a
random stream and makes a `policy.Picker`. Nothing of a package is imported before its policy is asked for, and a name
that ships with headrace always means headrace's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from headrace.errors import ConfigError, Fault
from headrace.policy import POLICIES, Policy

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

PLUG_IN_GROUP = "headrace.policies"


def policy_names() -> tuple[str, ...]:
    """Every policy that can be asked for: headrace's own, then plug-ins by name."""
    offered = sorted({point.name for point in _offered()} - set(POLICIES))
    return (*POLICIES, *offered)


def load_policy(name: str, source: str = "policy", also: Iterable[str] = ()) -> Policy:
    """The policy called `name`.

    Args:
        source: what named it, for messages.
        also: names that the caller knows besides, for messages.

    Raises:
        ConfigError: there is none of this name (it lists what there is), two packages offer it, or it cannot be loaded.
    """
    found = POLICIES.get(name)
    if found is not None:
        return found
    points = tuple(point for point in _offered() if point.name == name)
    if not points:
        known = (*policy_names(), *also)
        raise _wrong(source, f"no policy {name!r}; there are {', '.join(known)}")
    if len(points) > 1:
        offered = " and ".join(map(_where, points))
        raise _wrong(source, f"{name!r} is offered by {offered}; uninstall one")
    return _loaded(points[0], source)


def _offered() -> tuple[EntryPoint, ...]:
    from importlib.metadata import entry_points  # here: it takes 20 ms, and most commands never look

    return tuple(entry_points(group=PLUG_IN_GROUP))


def _loaded(point: EntryPoint, source: str) -> Policy:
    where = _where(point)
    try:
        maker = point.load()
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        raise _wrong(source, f"{point.name!r} of {where} cannot be loaded: {said}; mend or uninstall it") from error
    if not callable(maker):
        said = f"{point.name!r} of {where} is {maker!r}, not something that makes a picker"
        raise _wrong(source, f"{said}: point the entry at a class or function of (fleet, rng)")
    return Policy(point.name, f"plug-in of {where}", maker, plug_in=where)


def _where(point: EntryPoint) -> str:
    package = "an unknown package" if point.dist is None else point.dist.name
    return f"{package}, {point.value}"


def _wrong(source: str, message: str) -> ConfigError:
    return ConfigError(source, [Fault("policy", message)])
