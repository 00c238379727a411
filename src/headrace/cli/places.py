"""What `headrace perf --on` says, as a place to serve from.

    GROUP                                one replica
    GROUP prefill + GROUP decode         disaggregated: prompts on replicas of their own
    NAME                                 a deployment of the fleet file

A GROUP is `[REPLICASx]ACCELERATOR:COUNT`, COUNT accelerators a replica. A replica that decodes may speculate:
`speculation=ACCEPTANCE,TOKENS,COST` (see `fleet.Speculation`), or `speculation=true` where measurements tell what it
brings, as in the fleet file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

from headrace.errors import ConfigError, Fault
from headrace.fleet import Accelerator, Deployment, Model, Speculation, catalog
from headrace.perf import Place, Split

if TYPE_CHECKING:  # loaded where a fleet file is given
    from headrace.config import Silicon

GROUP = re.compile(r"(?:(?P<replicas>[1-9]\d*)x)?(?P<chip>[^:]+):(?P<count>[1-9]\d*)(?P<words>(?: +\S+)*)")
ROLES = ("prefill", "decode")
SPECULATION = "speculation="
MOST_DRAFT_TOKENS = 64
FORM = "write ACCELERATOR:COUNT, for instance H100:8"


class Wanted(NamedTuple):
    """What is served wherever it is served, except from a deployment of the fleet file, which says it itself."""

    model: Model
    max_batch: int
    software: str | None
    weight_bits: int | None


@dataclass(frozen=True, slots=True)
class _Group:
    replicas: int
    chip: Accelerator
    count: int
    role: str | None = None
    speculation: Speculation | bool = False


def model_of(name: str, silicon: Silicon | None) -> Model:
    """The model of the fleet file that is known as `name`, or else of the catalog.

    Raises:
        UnknownName: neither has it.
    """
    own = () if silicon is None else silicon.models.values()
    for model in own:
        if name.lower() in (each.lower() for each in (model.name, *model.aliases)):
            return model
    return catalog.find_model(name)


def place_of(text: str, wanted: Wanted, silicon: Silicon | None) -> Place:
    """The place that one `--on` describes.

    Raises:
        ConfigError: it cannot be read, or names what does not exist.
    """
    if silicon is not None and text in silicon.deployments:
        return Place(_named(text, silicon.deployments[text], wanted.model))
    groups = [_group(text, part.strip(), silicon) for part in text.split("+")]
    if [group.role for group in groups] == [None]:
        if groups[0].replicas > 1:
            raise _fault(text, f"one replica is predicted, so leave out {groups[0].replicas}x")
        return Place(_deployment(text, groups[0], wanted))
    by_role = {group.role: group for group in groups}
    if len(groups) != len(ROLES) or set(by_role) != set(ROLES):
        raise _fault(text, "disaggregated, it takes both: write '2xH100:4 prefill + H100:8 decode'")
    return _split(text, by_role["prefill"], by_role["decode"], wanted)


def _split(text: str, prefill: _Group, decode: _Group, wanted: Wanted) -> Place:
    if prefill.chip != decode.chip:
        raise _fault(text, "prefill and decode on different accelerators are not modelled; name the same one twice")
    if prefill.speculation:
        raise _fault(text, "prefill drafts nothing; say speculation where it decodes")
    return Place(_deployment(text, decode, wanted), Split(decode.replicas, prefill.replicas, prefill.count))


def _named(name: str, deployment: Deployment, model: Model) -> Deployment:
    if deployment.model != model:
        raise _fault(name, f"this deployment serves {deployment.model.name!r}, not {model.name!r}")
    if deployment.calibrated is not None:
        raise _fault(name, "its speed is calibrated, not predicted: `headrace check` shows it")
    return deployment


def _deployment(name: str, group: _Group, wanted: Wanted) -> Deployment:
    return Deployment(
        name,
        wanted.model,
        group.chip,
        group.count,
        wanted.weight_bits,
        max_batch=wanted.max_batch,
        software=wanted.software,
        speculation=group.speculation,
    )


def _group(text: str, part: str, silicon: Silicon | None) -> _Group:
    found = GROUP.fullmatch(part)
    if found is None:
        own = "" if silicon is None else f"; deployments of the fleet file: {', '.join(silicon.deployments) or 'none'}"
        raise _fault(text, FORM + own)
    group = _Group(int(found["replicas"] or 1), _chip(text, found["chip"], silicon), int(found["count"]))
    for word in found["words"].split():
        if word in ROLES and group.role is None:
            group = replace(group, role=word)
        elif word.startswith(SPECULATION) and not group.speculation:
            group = replace(group, speculation=_speculation(text, word.removeprefix(SPECULATION)))
        else:
            raise _fault(text, f"{word!r} is not understood; after the count come prefill, decode or {SPECULATION}...")
    return group


def _chip(text: str, name: str, silicon: Silicon | None) -> Accelerator:
    known = {chip.name: chip for chip in catalog.accelerators()} if silicon is None else silicon.accelerators
    if name not in known:
        raise _fault(text, f"no accelerator {name!r}; {catalog.close_matches(name, known)}")
    return known[name]


def _speculation(text: str, figures: str) -> Speculation | bool:
    if figures == "true":
        return True
    try:
        acceptance, tokens, cost = figures.split(",")
        found = Speculation(float(acceptance), int(tokens), float(cost))
    except ValueError:
        raise _fault(
            text, f"{SPECULATION}ACCEPTANCE,TOKENS,COST takes three numbers, for instance 0.7,4,0.05"
        ) from None
    in_range = 0.0 <= found.acceptance <= 1.0 and 0 <= found.draft_tokens <= MOST_DRAFT_TOKENS
    if not in_range or found.draft_cost < 0.0 or not isfinite(found.draft_cost):
        raise _fault(text, f"acceptance lies in 0 to 1, draft tokens in 0 to {MOST_DRAFT_TOKENS}, the cost from 0")
    return found


def _fault(text: str, message: str) -> ConfigError:
    return ConfigError("command line", [Fault(f"--on {text}", message)])
