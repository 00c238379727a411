"""What a fleet must satisfy beyond types: the checks that need no file, and no speed model.

Each check returns every fault it finds, with the path of the setting in the fleet file. `declared` names what the
document declares even where the table itself was broken, so that one mistake is reported once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple
from urllib.parse import urlsplit

from headrace.errors import Fault
from headrace.fleet.addresses import forbidden
from headrace.fleet.catalog import close_matches
from headrace.fleet.contract import Hourly, PerToken
from headrace.fleet.dialect_check import dialect_faults, spoken_dialect
from headrace.fleet.fleet import Backend, Fleet, Pool, Share
from headrace.fleet.limit_check import (
    budget_faults,
    commitment_faults,
    kv_faults,
    names_faults,
    slo_faults,
    tenant_faults,
    unit_faults,
)
from headrace.fleet.name_check import alias_faults, capability_faults, client_faults
from headrace.fleet.serving_check import serving_faults, shared_quota_faults
from headrace.workload.clients import DEFAULT_CLIENTS

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
REDIS_SCHEMES = ("redis://", "rediss://", "unix://")


class Declared(NamedTuple):
    """Names that the document declares, also those whose table could not be built.

    Attributes:
        reported: paths that have a fault already; what a check finds there only follows from it.
    """

    models: tuple[str, ...]
    pools: tuple[str, ...]
    classes: tuple[str, ...]
    reported: tuple[str, ...] = ()


def check_fleet(fleet: Fleet, declared: Declared | None = None) -> tuple[Fault, ...]:
    """Every fault of `fleet`, in the order of the fleet file; empty when it can run."""
    known = declared or Declared(tuple(fleet.models), tuple(fleet.pools), tuple(fleet.classes))
    checks: Sequence[Callable[[Fleet, Declared], Iterator[Fault]]] = (
        _presence,
        _names,
        _serving,
        _pools,
        _backend_names,
        _emulated_urls,
        _classes,
        _aliases,
        _shares,
        _share_overlaps,
        _commitments,
        _budgets,
        _tenants,
        _routes,
        _limits,
        _signals,
        _peers,
    )
    return tuple(fault for check in checks for fault in check(fleet, known) if fault.path not in known.reported)


def fleet_warnings(fleet: Fleet) -> tuple[Fault, ...]:
    """What deserves a look but does not stop a run: unverified figures, mixed price bases, unreachable pools."""
    warnings = (_unverified, _price_bases, _unreachable_pools, _unmatched_classes)
    return tuple(warning for check in warnings for warning in check(fleet))


def _presence(fleet: Fleet, declared: Declared) -> Iterator[Fault]:
    for kind, names in (("models", declared.models), ("pools", declared.pools), ("classes", declared.classes)):
        if not names:
            yield Fault(kind, f"none is declared; add at least one [{kind}.NAME]")
    if fleet.default_class and fleet.default_class not in declared.classes:
        yield Fault(
            "default_class", f"no class {fleet.default_class!r}; {close_matches(fleet.default_class, declared.classes)}"
        )


def _names(fleet: Fleet, declared: Declared) -> Iterator[Fault]:
    named = [(f"pools.{name}", name) for name in declared.pools]
    named += [(f"classes.{name}", name) for name in declared.classes]
    named += [(f"shares.{name}", name) for name in fleet.shares]
    named += [(f"commitments.{name}", name) for name in fleet.commitments]
    named += [(f"budgets.{name}", name) for name in fleet.budgets]
    named += [(f"tenants.{name}", name) for name in fleet.tenants.allowances]
    for pool in fleet.pools.values():
        named += [(f"pools.{pool.name}.backends[{i}].name", each.name) for i, each in enumerate(pool.backends)]
    for path, name in named:
        if not NAME.fullmatch(name):
            yield Fault(
                path, f"{name!r} cannot be a name: it appears in headers and metrics; use letters, digits, . _ -"
            )


def _serving(fleet: Fleet, declared: Declared) -> Iterator[Fault]:
    for deployment in fleet.deployments.values():
        yield from serving_faults(f"deployments.{deployment.name}", deployment)
    yield from shared_quota_faults(fleet.deployments.values())


def _pools(fleet: Fleet, declared: Declared) -> Iterator[Fault]:
    for pool in fleet.pools.values():
        yield from backend_faults(pool.name, pool.backends)
        yield from _price(f"pools.{pool.name}", pool)
        yield from kv_faults(pool)


def backend_faults(pool: str, backends: Sequence[Backend]) -> Iterator[Fault]:
    """Every fault of one pool's backends, each taken alone."""
    path = f"pools.{pool}.backends"
    if not backends:
        yield Fault(path, f"none; add at least one [[{path}]]")
    for index, backend in enumerate(backends):
        yield from _backend(f"{path}[{index}]", backend)


def _backend(path: str, backend: Backend) -> Iterator[Fault]:
    try:
        parts = urlsplit(backend.url)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        yield Fault(f"{path}.url", f"{backend.url!r} is not a URL ({error}); write http://HOST:PORT or https://HOST")
    else:
        if parts.scheme not in ("http", "https"):
            yield Fault(
                f"{path}.url", f"scheme {parts.scheme!r} of {backend.url!r} is not supported; use http or https"
            )
        elif not host:
            yield Fault(f"{path}.url", f"{backend.url!r} names no host; write http://HOST:PORT or https://HOST")
        elif parts.username is not None or parts.password is not None:
            yield Fault(f"{path}.url", f"{host!r} is given a user or password, which logs would show; set api_key_env")
        elif not backend.link_local and (said := forbidden(host)) is not None:
            yield Fault(f"{path}.url", said)
        elif parts.query or parts.fragment:
            yield Fault(f"{path}.url", f"{backend.url!r} carries a query or fragment; give the base URL only")
        elif parts.path.rstrip("/").endswith("/v1") and spoken_dialect(backend).has_version_in_path:
            yield Fault(
                f"{path}.url", f"{backend.url!r} ends with /v1, which is part of the endpoint path; leave it out"
            )
        elif backend.emulated and parts.scheme != "http":
            yield Fault(f"{path}.url", f"{backend.url!r}: an emulated backend speaks plain HTTP; use http")
    yield from dialect_faults(path, backend)
    yield from capability_faults(path, backend)
    if backend.max_in_flight < 1:
        yield Fault(
            f"{path}.max_in_flight", f"{backend.max_in_flight} is less than 1; a backend takes at least one attempt"
        )


def _price(path: str, pool: Pool) -> Iterator[Fault]:
    if isinstance(pool.price, PerToken):
        return
    chip = pool.deployment.accelerator
    if chip is None:
        yield Fault(
            f"{path}.price.type",
            "hourly needs a deployment with an accelerator, this one is only observed; use per_token",
        )
    elif chip.power_w is None and pool.price.electricity_usd_per_kwh > 0.0:
        yield Fault(
            f"{path}.price.type",
            f"hourly charges energy, and accelerator {chip.name!r} has no power figure; "
            f"declare [accelerators.NAME] with tdp_w, or set electricity_usd_per_kwh = 0 where the hour includes it",
        )


def _backend_names(fleet: Fleet, declared: Declared) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    for pool in fleet.pools.values():
        for index, backend in enumerate(pool.backends):
            path = f"pools.{pool.name}.backends[{index}].name"
            if backend.name in seen:
                yield Fault(
                    path, f"{backend.name!r} is taken by {seen[backend.name]}; backend names are unique in a fleet"
                )
            seen.setdefault(backend.name, path)


def _emulated_urls(fleet: Fleet, declared: Declared) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    for pool in fleet.pools.values():
        for index, backend in enumerate(pool.backends):
            path = f"pools.{pool.name}.backends[{index}].url"
            address = backend.url.partition("://")[2].partition("/")[0] if backend.emulated else ""
            if address in seen:
                yield Fault(path, f"{address} is taken by {seen[address]}; emulated backends need one port each")
            if address:
                seen.setdefault(address, path)


def _classes(fleet: Fleet, declared: Declared) -> Iterator[Fault]:
    for each in fleet.classes.values():
        yield from slo_faults(each)


def _aliases(fleet: Fleet, declared: Declared) -> Iterator[Fault]:
    owner: dict[str, str] = {}
    for each in fleet.classes.values():
        path = f"classes.{each.name}.match.model_aliases"
        for alias in each.match.model_aliases:
            if alias in owner:
                yield Fault(path, f"{alias!r} is an alias of class {owner[alias]!r} too; an alias selects one class")
            owner.setdefault(alias, each.name)
    yield from alias_faults(fleet, declared.models)
    yield from client_faults(fleet)


def _shares(fleet: Fleet, declared: Declared) -> Iterator[Fault]:
    for share in fleet.shares.values():
        path = f"shares.{share.name}"
        if not 0.0 < share.target < 1.0:
            yield Fault(f"{path}.target", f"{share.target} lies outside (0, 1); 0.1 means ten percent")
        yield from unit_faults(fleet, share)
        yield from _pool_names(path, share.pools, declared)
        if declared.pools and not set(declared.pools) - set(share.pools):
            yield Fault(f"{path}.pools", "holds every pool of the fleet; a share needs something outside it")


def _pool_names(path: str, names: tuple[str, ...], declared: Declared) -> Iterator[Fault]:
    if not names:
        yield Fault(f"{path}.pools", "is empty; name at least one pool")
    yield from names_faults(f"{path}.pools", "pool", names, declared.pools)


def _share_overlaps(fleet: Fleet, declared: Declared) -> Iterator[Fault]:
    steered: list[Share] = [share for share in fleet.shares.values() if not share.report_only]
    for first, second in combinations(steered, 2):
        common = [name for name in second.pools if name in first.pools]
        if common:
            yield Fault(
                f"shares.{second.name}.pools",
                f"steered share {first.name!r} holds {', '.join(common)} too; set report_only = true on one of them",
            )


def _commitments(fleet: Fleet, declared: Declared) -> Iterator[Fault]:
    yield from commitment_faults(fleet, declared.pools)


def _budgets(fleet: Fleet, declared: Declared) -> Iterator[Fault]:
    yield from budget_faults(fleet, declared.pools, declared.classes)


def _tenants(fleet: Fleet, declared: Declared) -> Iterator[Fault]:
    yield from tenant_faults(fleet, declared.models, declared.classes, declared.pools)


def _routes(fleet: Fleet, declared: Declared) -> Iterator[Fault]:
    if not fleet.routes:
        yield Fault("routes", "none; add [[routes]] with pools = [...]: without one every request is turned away")
    for index, route in enumerate(fleet.routes):
        path = f"routes[{index}]"
        yield from _pool_names(path, route.pools, declared)
        if route.model is not None and route.model not in declared.models:
            yield Fault(f"{path}.model", f"no model {route.model!r}; {close_matches(route.model, declared.models)}")
        if route.workload_class is not None and route.workload_class not in declared.classes:
            advice = close_matches(route.workload_class, declared.classes)
            yield Fault(f"{path}.workload_class", f"no class {route.workload_class!r}; {advice}")
        yield from _route_models(path, fleet, route.model, route.pools)


def _route_models(path: str, fleet: Fleet, model: str | None, pools: tuple[str, ...]) -> Iterator[Fault]:
    served = {name: fleet.pools[name].deployment.model.name for name in pools if name in fleet.pools}
    distinct = sorted(set(served.values()))
    if model is None and len(distinct) > 1:
        yield Fault(
            path, f"its pools serve several models ({', '.join(distinct)}); write one route per model and set model"
        )
    for name, other in served.items():
        if model is not None and other != model:
            yield Fault(f"{path}.pools", f"pool {name!r} serves {other!r}, not {model!r}; take it out of this route")


def _limits(fleet: Fleet, declared: Declared) -> Iterator[Fault]:
    limits = fleet.limits
    if limits.breaker_cooldown_max_s < limits.breaker_cooldown_s:
        yield Fault(
            "limits.breaker_cooldown_max_s",
            f"{limits.breaker_cooldown_max_s} is less than breaker_cooldown_s = {limits.breaker_cooldown_s}",
        )


def _signals(fleet: Fleet, declared: Declared) -> Iterator[Fault]:
    signals = fleet.signals
    if signals is not None and signals.max_age_s <= signals.delay_s:
        said = f"{signals.max_age_s:g} is not more than delay_s = {signals.delay_s:g}: no signal would ever count"
        yield Fault("signals.max_age_s", said)


def _peers(fleet: Fleet, declared: Declared) -> Iterator[Fault]:
    peers = fleet.peers
    if peers.dead_after_s < 2.0 * peers.interval_s:
        said = f"{peers.dead_after_s:g} is less than two intervals of {peers.interval_s:g} s: who lives would seem dead"
        yield Fault("peers.dead_after_s", said)
    if peers.redis is not None:
        yield from _redis(peers.redis)
    if peers.redis is None and peers.password_env is not None:
        yield Fault("peers.password_env", "is of no use without redis")


def _redis(url: str) -> Iterator[Fault]:
    """A fleet file is kept in journals and shown in faults, so it holds no password; nor is one repeated here."""
    user = url.partition("://")[2].rpartition("@")[0]
    if ":" in user or "password=" in url:
        yield Fault("peers.redis", "the URL has a password, which journals would show; take it out, set password_env")
    elif not url.startswith(REDIS_SCHEMES):
        yield Fault("peers.redis", f"{url!r} is no URL of a server; it begins with {' or '.join(REDIS_SCHEMES)}")


def _unverified(fleet: Fleet) -> Iterator[Fault]:
    for deployment in fleet.deployments.values():
        chip, model = deployment.accelerator, deployment.model
        figures = {} if chip is None else {"accelerator": (chip.name, chip.unverified)}
        for setting, (name, recalled) in (figures | {"model": (model.name, model.unverified)}).items():
            used = [figure for figure in recalled if figure != "sram_bytes"]  # nothing is computed from that one
            if used:
                yield Fault(
                    f"deployments.{deployment.name}.{setting}",
                    f"{name}: figures without a checked source: {'; '.join(used)}",
                )


def _price_bases(fleet: Fleet) -> Iterator[Fault]:
    bases: dict[str, list[str]] = {}
    for pool in fleet.pools.values():
        chip = pool.deployment.accelerator
        if not isinstance(pool.price, Hourly) or chip is None or chip.price_usd_per_h is None:
            continue
        if pool.price.usd_per_accelerator_hour == chip.price_usd_per_h:
            basis = (chip.price_basis or "unknown basis").partition(";")[0].partition(",")[0]
            bases.setdefault(basis, []).append(pool.name)
    if len(bases) > 1:
        listed = "; ".join(f"{basis}: {', '.join(names)}" for basis, names in bases.items())
        yield Fault("pools", f"hourly prices are on different bases, so their costs do not compare ({listed})")


def _unreachable_pools(fleet: Fleet) -> Iterator[Fault]:
    reached = {name for route in fleet.routes for name in route.pools}
    for name in fleet.pools:
        if name not in reached:
            yield Fault(f"pools.{name}", "no route leads here; it will get no request")


def _unmatched_classes(fleet: Fleet) -> Iterator[Fault]:
    for each in fleet.classes.values():
        rules = each.match
        matched = rules.headers or rules.api_key_envs or rules.paths or rules.model_aliases or rules.clients
        if not matched and each.name != fleet.default_class and each.name not in DEFAULT_CLIENTS:
            yield Fault(
                f"classes.{each.name}.match", "no rule, and not default_class: no gateway request will be of this class"
            )
