"""What commitments, budgets and the other priced limits must satisfy: faults with their paths and remedies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headrace.errors import Fault
from headrace.fleet.catalog import close_matches
from headrace.fleet.fleet import Fleet, Pool, Share, ShareUnit
from headrace.fleet.tenants import Allowance
from headrace.workload import WorkloadClass


def names_faults(path: str, kind: str, names: tuple[str, ...], declared: Sequence[str]) -> Iterator[Fault]:
    """A fault for every name of a list that is not declared, or is there twice."""
    for index, name in enumerate(names):
        if name not in declared:
            yield Fault(f"{path}[{index}]", f"no {kind} {name!r}; {close_matches(name, declared)}")
        elif name in names[:index]:
            yield Fault(f"{path}[{index}]", f"{name!r} is named twice; remove one")


def commitment_faults(fleet: Fleet, pools: Sequence[str]) -> Iterator[Fault]:
    """Every fault of the commitments; `pools`: those that the document declares."""
    for each in fleet.commitments.values():
        path = f"commitments.{each.name}.pools"
        if not each.pools:
            yield Fault(path, "is empty; name at least one pool")
        yield from names_faults(path, "pool", each.pools, pools)


def budget_faults(fleet: Fleet, pools: Sequence[str], classes: Sequence[str]) -> Iterator[Fault]:
    """Every fault of the budgets; `pools` and `classes`: those that the document declares."""
    for each in fleet.budgets.values():
        yield from names_faults(f"budgets.{each.name}.pools", "pool", each.pools, pools)
        yield from names_faults(f"budgets.{each.name}.classes", "class", each.classes, classes)


def tenant_faults(fleet: Fleet, models: Sequence[str], classes: Sequence[str], pools: Sequence[str]) -> Iterator[Fault]:
    """Every fault of what tenants may do; the names are those that the document declares."""
    for name, each in fleet.tenants.allowances.items():
        yield from allowance_faults(f"tenants.{name}", each, models, classes, pools)


def allowance_faults(
    path: str, allowance: Allowance, models: Sequence[str], classes: Sequence[str], pools: Sequence[str]
) -> Iterator[Fault]:
    """Every fault of what a tenant or a key may do."""
    yield from names_faults(f"{path}.models", "model", allowance.models, models)
    yield from names_faults(f"{path}.classes", "class", allowance.classes, classes)
    yield from names_faults(f"{path}.pools", "pool", allowance.pools, pools)


def kv_faults(pool: Pool) -> Iterator[Fault]:
    """Every fault of a pool's KV limit."""
    path = f"pools.{pool.name}"
    if pool.max_kv_fraction is not None and pool.deployment.accelerator is None:
        yield Fault(
            f"{path}.max_kv_fraction",
            "its deployment is a service, whose KV room nobody knows; remove it, or limit max_in_flight",
        )
    if pool.max_kv_fraction is None and pool.kv_starting_price_usd:
        yield Fault(f"{path}.kv_starting_price_usd", "there is no limit to price; set max_kv_fraction, or remove it")


def slo_faults(each: WorkloadClass) -> Iterator[Fault]:
    """Every fault of a class's SLO."""
    path, slo = f"classes.{each.name}.slo", each.slo
    if not 0.0 < slo.attainment <= 1.0:
        yield Fault(f"{path}.attainment", f"{slo.attainment} lies outside (0, 1]")
    if slo.priced and slo.ttft_s is None and slo.tpot_s is None:
        yield Fault(f"{path}.priced", "there is no threshold to keep; set ttft_s or tpot_s, or remove it")
    if slo.priced and slo.attainment == 1.0:
        yield Fault(f"{path}.priced", "with attainment = 1 the price could never fall; set attainment below 1")
    if slo.starting_price_usd and not slo.priced:
        yield Fault(f"{path}.starting_price_usd", "the SLO is not priced; set priced = true, or remove it")


def unit_faults(fleet: Fleet, share: Share) -> Iterator[Fault]:
    """Every fault of what a share is of."""
    path = f"shares.{share.name}"
    if share.of is ShareUnit.COMPUTE and share.reference is None:
        yield Fault(f"{path}.reference", 'missing; of = "compute" is measured in seconds on a reference deployment')
    if share.of is not ShareUnit.COMPUTE and share.reference is not None:
        yield Fault(f"{path}.reference", f'only meant for of = "compute", not {share.of.value!r}; remove it')
    if share.of is ShareUnit.POWER:
        unknown = [pool.name for pool in fleet.pools.values() if pool.power_w is None]
        for name in unknown:
            yield Fault(
                f"pools.{name}.assumed_w",
                f"missing; share {share.name!r} is of power, and nobody knows that of this pool: "
                "give the watts of one replica at the meter",
            )
