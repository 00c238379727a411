"""The scenario file: what `headrace plan` is asked, checked whole, with every fault of the document at once.

Models, accelerators and deployments are declared as in a fleet file, and read by the same code. A broken table is
reported once: what refers to it is left out, and everything else is still checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import msgspec

from headrace.config import scenario_tables as tables
from headrace.config.build import SCHEMA, Silicon, build_silicon, workload_class
from headrace.config.faults import Faults
from headrace.config.fit import deployment_faults
from headrace.config.fleet_file import parse_document, read_document
from headrace.config.scenario_demand import demand
from headrace.config.scenario_rules import rules
from headrace.config.scenario_terms import contract, terms
from headrace.errors import ConfigError, Fault
from headrace.fleet import Deployment
from headrace.fleet.catalog import close_matches
from headrace.fleet.scenario import (
    Horizon,
    Interval,
    Offer,
    PlannedClass,
    ProofSettings,
    Scenario,
    SolverLimits,
    Uncertainty,
)
from headrace.fleet.scenario_check import Broken, NamedRule, check_scenario
from headrace.fleet.serving_check import serving_faults
from headrace.fleet.terms import Committed, Contract, Owned, Terms
from headrace.workload import Slo

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)


def load_scenario(path: Path, traces: Mapping[str, str] | None = None) -> Scenario:
    """The scenario that the file at `path` describes.

    Args:
        traces: files by workload class, whose shape replaces what the file says of that class's demand.

    Raises:
        ConfigError: the file cannot be read, is not TOML (with line and column), or has faults; it carries all of them.
    """
    return build_scenario(_extended(path, ()), str(path), path.parent, traces)


def parse_scenario(text: str, source: str, folder: Path | None = None) -> Scenario:
    """The scenario that a TOML document describes; files that it names are relative to `folder`. Raises as above."""
    return build_scenario(parse_document(text, source), source, folder)


def build_scenario(
    raw: Mapping[str, object], source: str, folder: Path | None = None, traces: Mapping[str, str] | None = None
) -> Scenario:
    """The scenario of a parsed document. Raises ConfigError with every fault that was found."""
    faults = Faults()
    builder = _Builder(raw, source, folder or Path(), traces or {}, faults)
    scenario = builder.scenario()
    if scenario is not None:
        for fault in check_scenario(scenario, builder.named_rules, builder.broken):
            faults.add(*fault)
    if len(faults) or scenario is None:
        raise ConfigError(source, faults.all())
    return scenario


def _extended(path: Path, above: tuple[Path, ...]) -> dict[str, object]:
    """The document at `path` over the one that it `extends`: tables are merged, everything else is replaced."""
    own = read_document(path)
    base = own.get("extends")
    if base is None:
        return own
    if not isinstance(base, str):
        raise ConfigError(str(path), [Fault("extends", "expected the path of another scenario file")])
    seen = (*above, path.resolve())
    if (path.parent / base).resolve() in seen:
        raise ConfigError(str(path), [Fault("extends", f"{base} extends this file in turn; let one stand alone")])
    return _merged(_extended(path.parent / base, seen), own)


def scenario_texts(path: Path) -> tuple[str, ...]:
    """The texts of a scenario file that loads and of those that it extends, the first one's base first."""
    base = read_document(path).get("extends")
    above = scenario_texts(path.parent / base) if isinstance(base, str) else ()
    return (*above, path.read_text(encoding="utf-8"))


def _merged(base: Mapping[str, object], own: Mapping[str, object]) -> dict[str, object]:
    found = dict(base)
    for key, value in own.items():
        below = found.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        found[key] = _merged(below, value) if both else value  # type: ignore[arg-type]
    return found


class _Builder:
    """Builds section by section; what could not be built is None under its name."""

    def __init__(
        self, raw: Mapping[str, object], source: str, folder: Path, traces: Mapping[str, str], faults: Faults
    ) -> None:
        self._raw, self._source, self._folder, self._faults = raw, source, folder, faults
        self._check_top_level(traces)
        self._deployments = self._build_deployments()
        self._contracts = self._build_contracts()
        self._terms = self._build_terms()
        self._classes = self._build_classes(traces)
        self.named_rules: tuple[NamedRule, ...] = ()
        self.broken = Broken()

    def scenario(self) -> Scenario | None:
        """What could be built; None without a horizon."""
        horizon = self._horizon()
        offers = tuple(self._offers(horizon))
        built = {offer.candidate for offer in offers}
        self.broken = Broken(
            tuple(name for name in self._names("candidates") if name not in built),
            tuple(name for name, one in self._classes.items() if one is None),
            tuple(name for name, one in self._contracts.items() if one is None),
        )
        classes = tuple(self._classes)
        rule_list = rules(self._raw.get("constraints", []), self._deployments, classes, self._faults)
        self.named_rules = tuple(NamedRule(path, rule) for path, rule in rule_list)
        uncertainty = self._uncertainty()
        solver = self._settings("solver", tables.SolverTable)
        proof = self._settings("proof", tables.ProofTable)
        if horizon is None:
            return None
        return Scenario(
            self._text("name", self._source),
            horizon,
            tuple(_built(self._classes).values()),
            offers,
            _built(self._contracts),
            tuple(named.rule for named in self.named_rules),
            self._number("requests_per_day", above=0.0),
            self._number("discount_rate", above=-1.0) or 0.0,
            uncertainty,
            SolverLimits(**msgspec.structs.asdict(solver)),
            ProofSettings(**msgspec.structs.asdict(proof)),
        )

    def _check_top_level(self, traces: Mapping[str, str]) -> None:
        for key in self._raw:
            if key not in tables.TOP_LEVEL:
                self._faults.add(key, f"unknown setting; {close_matches(key, tables.TOP_LEVEL)}")
        schema = self._raw.get("schema", "missing")
        if schema is not SCHEMA:
            self._faults.add("schema", f"{schema!r}; this version reads schema = {SCHEMA}")
        for section in ("classes", "candidates", "terms"):
            if not self._raw.get(section):
                self._faults.add(section, f"none is declared; add at least one [{section}.NAME]")
        for name in traces:
            if name not in self._names("classes"):
                advice = close_matches(name, self._names("classes"))
                self._faults.add(f"--demand {name}", f"no class {name!r}; {advice}")

    def _names(self, section: str) -> tuple[str, ...]:
        raw = self._raw.get(section, {})
        return tuple(raw) if isinstance(raw, Mapping) else ()

    def _text(self, key: str, default: str) -> str:
        value = self._raw.get(key, default)
        if not isinstance(value, str):
            self._faults.add(key, "expected a text")
            return default
        return value

    def _number(self, key: str, above: float) -> float | None:
        value = self._raw.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not above < value < float("inf"):
            self._faults.add(key, f"expected a number above {above:g}, got {value!r}")
            return None
        return float(value)

    def _refer(self, path: str, kind: str, name: str, known: Mapping[str, T | None]) -> T | None:
        if name not in known:
            self._faults.add(path, f"no {kind} {name!r}; {close_matches(name, known)}")
        return known.get(name)

    def _settings(self, name: str, kind: type[S]) -> S:
        table = self._faults.table(self._raw.get(name, {}), kind, name)
        return kind() if table is None else table

    def _horizon(self) -> Horizon | None:
        if "horizon" not in self._raw:
            self._faults.add("horizon", "missing; write e.g. [horizon] start = 2026-01-01, years = 3")
            return None
        table = self._faults.table(self._raw["horizon"], tables.HorizonTable, "horizon")
        return None if table is None else Horizon(**msgspec.structs.asdict(table))

    def _build_deployments(self) -> dict[str, Deployment | None]:
        names: dict[str, Deployment | None] = dict.fromkeys(self._names("deployments"))
        subset = {key: self._raw[key] for key in tables.SILICON if key in self._raw and key != "schema"}
        try:
            silicon: Silicon = build_silicon({**subset, "schema": SCHEMA}, self._source, self._folder)
        except ConfigError as error:
            for fault in error.faults:
                self._faults.add(*fault)
            return names
        for name, deployment in silicon.deployments.items():
            path = f"deployments.{name}"
            found = [*serving_faults(path, deployment)]
            if deployment.accelerator is not None:
                found += deployment_faults(path, deployment)
            for fault in found:
                self._faults.add(*fault)
            names[name] = None if found else deployment
        return names

    def _tagged(
        self, section: str, kinds: tuple[type[msgspec.Struct], ...]
    ) -> Iterator[tuple[str, str, msgspec.Struct | None]]:
        raw = self._raw.get(section, {})
        if not isinstance(raw, Mapping):
            self._faults.add(section, f"expected tables [{section}.NAME]")
            return
        for name, item in raw.items():
            path = f"{section}.{name}"
            yield name, path, self._faults.tagged(item, kinds, path)

    def _build_contracts(self) -> dict[str, Contract | None]:
        found = self._tagged("contracts", tables.CONTRACTS)
        return {name: contract(name, table, path, self._faults) for name, path, table in found}

    def _build_terms(self) -> dict[str, Terms | None]:
        return {name: terms(table, path, self._faults) for name, path, table in self._tagged("terms", tables.TERMS)}

    def _build_classes(self, traces: Mapping[str, str]) -> dict[str, PlannedClass | None]:
        found = self._faults.tables(self._raw.get("classes", {}), tables.ScenarioClassTable, "classes")
        return {
            name: None if table is None else self._class(name, table, traces.get(name)) for name, table in found.items()
        }

    def _class(self, name: str, table: tables.ScenarioClassTable, trace: str | None) -> PlannedClass | None:
        path = f"classes.{name}"
        asked = demand(table.demand, trace, self._folder, f"{path}.demand", self._faults)
        if asked is None:
            return None
        slo = table.slo
        return PlannedClass(
            workload_class(
                name,
                table.value_of_time_usd_per_s,
                Slo(slo.ttft_s, slo.tpot_s, slo.attainment),
                table.match,
                table.timeout_s,
            ),
            asked,
            table.models,
            slo.e2e_s,
            table.growth_per_year,
            table.cached_input_fraction,
            table.cache_hold_s,
            table.burstiness,
            table.degraded.ttft_s,
            table.degraded.tpot_s,
        )

    def _offers(self, horizon: Horizon | None) -> Iterator[Offer]:
        found = self._faults.tables(self._raw.get("candidates", {}), tables.CandidateTable, "candidates")
        for name, table in found.items():
            if table is not None:
                yield from self._candidate(name, table, horizon)

    def _candidate(self, name: str, table: tables.CandidateTable, horizon: Horizon | None) -> Iterator[Offer]:
        path = f"candidates.{name}"
        deployment = self._refer(f"{path}.deployment", "deployment", table.deployment, self._deployments)
        if table.available_from is not None and table.lead_time_days is not None:
            self._faults.add(f"{path}.lead_time_days", "available_from is set too; keep one of them")
        start = table.available_from
        if table.lead_time_days is not None and horizon is not None:
            start = horizon.start + timedelta(days=table.lead_time_days)
        for index, term_name in enumerate(table.terms):
            self._refer(f"{path}.terms[{index}]", "terms", term_name, self._terms)
            on_terms = self._terms.get(term_name)
            if deployment is None or on_terms is None:
                continue
            vendor = table.vendor or (deployment.accelerator.vendor if deployment.accelerator is not None else None)
            if vendor is None:
                self._faults.add(
                    f"{path}.vendor", "missing; nobody knows the accelerator of a service: say whose it is"
                )
                return
            site = self._site(path, table, on_terms, vendor)
            if site is None:
                return
            offer_name = name if len(table.terms) == 1 else f"{name}.{term_name}"
            yield Offer(
                offer_name,
                name,
                deployment,
                on_terms,
                vendor,
                site,
                available_from=start,
                max_accelerators=table.max_accelerators,
                min_accelerators=table.min_accelerators,
                utilization=table.utilization,
                pooled_units=table.pooled_units,
            )

    def _site(self, path: str, table: tables.CandidateTable, on_terms: Terms, vendor: str) -> str | None:
        if isinstance(on_terms, Committed):
            promised = self._refer(f"{path}.terms", "contract", on_terms.contract, self._contracts)
            if table.site is not None:
                self._faults.add(f"{path}.site", "committed capacity stands at its contract's site; set it there")
            return None if promised is None else getattr(promised, "site", None) or on_terms.contract
        if isinstance(on_terms, Owned) and table.site is None:
            self._faults.add(f"{path}.site", "missing; what is owned stands somewhere: name the site")
            return None
        return table.site or vendor

    def _uncertainty(self) -> Uncertainty:
        table = self._settings("uncertainty", tables.UncertaintyTable)
        intervals = {name: self._interval(name, getattr(table, name)) for name in ("demand", "growth", "price")}
        return Uncertainty(**{**msgspec.structs.asdict(table), **intervals})

    def _interval(self, name: str, table: tables.IntervalTable) -> Interval:
        if table.low > table.high:
            self._faults.add(f"uncertainty.{name}.low", f"{table.low:g} is more than high = {table.high:g}")
        return Interval(table.low, table.high)


def _built(parts: Mapping[str, T | None]) -> dict[str, T]:
    return {name: part for name, part in parts.items() if part is not None}
