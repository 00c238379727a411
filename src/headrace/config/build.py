"""From a parsed fleet file to a `Fleet`, with every fault of the file collected on the way.

Each section is converted table by table. A broken table becomes None under its name: references to it are not
reported again, and everything else is still checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from headrace.config import deployment_tables
from headrace.config import document as doc
from headrace.config.calibration import load_calibration
from headrace.config.commitments import budgets, commitments
from headrace.config.faults import Faults
from headrace.config.fit import fit_faults
from headrace.config.ledger import ledger_settings
from headrace.config.limits_table import limits
from headrace.config.names import name_lists, names
from headrace.config.peers_table import peers
from headrace.config.policies import load_policy
from headrace.config.serving import kv_cache, operating_point, quota, replicas, spares, speculation, split
from headrace.config.telemetry_table import telemetry
from headrace.config.tenants_table import admin, tenants, tls
from headrace.errors import ConfigError
from headrace.fleet import (
    Accelerator,
    Backend,
    Calibration,
    Deployment,
    Fleet,
    Hourly,
    Model,
    PerToken,
    Pool,
    PriceTerms,
    Route,
    Share,
    ShareUnit,
    Signals,
    catalog,
)
from headrace.fleet.check import Declared, backend_faults, check_fleet
from headrace.fleet.model_check import model_faults
from headrace.policy import PRICES
from headrace.workload import Match, Slo, WorkloadClass

T = TypeVar("T")

SCHEMA = 1


def build_fleet(raw: Mapping[str, object], source: str, folder: Path | None = None) -> Fleet:
    """The fleet that a parsed document describes.

    Args:
        raw: the document as `tomllib` reads it.
        source: where it comes from, for messages.
        folder: calibration files are relative to it; None: to the present directory.

    Raises:
        ConfigError: with every fault that was found.
    """
    faults = Faults()
    builder = _Builder(raw, faults, folder or Path())
    fleet = builder.fleet()  # notes its own faults, so it comes before the checks
    for fault in (*check_fleet(fleet, builder.declared()), *fit_faults(fleet)):
        faults.add(fault.path, fault.message)
    if len(faults):
        raise ConfigError(source, faults.all())
    return fleet


class Silicon(NamedTuple):
    """What a document declares of silicon and models: its accelerators beside those of the catalog, both by name."""

    accelerators: dict[str, Accelerator]
    models: dict[str, Model]
    deployments: dict[str, Deployment]


def build_silicon(raw: Mapping[str, object], source: str, folder: Path | None = None) -> Silicon:
    """The silicon of a parsed document, which need not be a whole fleet; arguments as in `build_fleet`.

    Raises:
        ConfigError: with every fault that was found.
    """
    faults = Faults()
    found = _Builder(raw, faults, folder or Path()).silicon()
    if len(faults):
        raise ConfigError(source, faults.all())
    return found


class _Builder:
    """Builds section by section; what could not be built is None under its name."""

    def __init__(self, raw: Mapping[str, object], faults: Faults, folder: Path) -> None:
        self._raw = raw
        self._folder = folder
        self._faults = faults
        self._reported: list[str] = []
        self._check_top_level()
        self._models = self._build_models()
        self._accelerators = self._build_accelerators()
        self._deployments = self._build_deployments()
        self._pools = self._build_pools()
        self._classes = self._build_classes()

    def fleet(self) -> Fleet:
        """The parts that could be built."""
        return Fleet(
            models=_built(self._models),
            deployments=_built(self._deployments),
            pools=_built(self._pools),
            classes=_built(self._classes),
            shares=self._build_shares(),
            routes=self._build_routes(),
            limits=limits(self._raw, self._faults),
            default_class=self._default_class(),
            policy=self._policy(),
            signals=self._build_signals(),
            peers=peers(self._raw, self._faults),
            tenants=tenants(self._raw, self._faults, self._folder),
            tls=tls(self._raw, self._faults, self._folder),
            admin=admin(self._raw, self._faults, self._folder),
            ledger=ledger_settings(self._section("ledger"), self._faults),
            telemetry=telemetry(self._section("telemetry"), self._faults),
            commitments=commitments(self._section("commitments"), self._faults),
            budgets=budgets(self._section("budgets"), self._faults),
            aliases=names(self._section("aliases"), self._faults),
            fallbacks=name_lists(self._section("fallbacks"), self._faults),
        )

    def silicon(self) -> Silicon:
        """The parts that need no traffic."""
        return Silicon(_built(self._accelerators), _built(self._models), _built(self._deployments))

    def declared(self) -> Declared:
        """Every name that the document declares, built or not."""
        return Declared(tuple(self._models), tuple(self._pools), tuple(self._classes), tuple(self._reported))

    def _check_top_level(self) -> None:
        for key in self._raw:
            if key not in doc.TOP_LEVEL:
                self._faults.add(key, f"unknown setting; {catalog.close_matches(key, doc.TOP_LEVEL)}")
        schema = self._raw.get("schema")
        if schema != SCHEMA or isinstance(schema, bool):
            said = "missing" if schema is None else f"{schema!r} is not supported"
            self._faults.add("schema", f"{said}; this version reads schema = {SCHEMA}")

    def _refer(self, path: str, kind: str, name: str, known: Mapping[str, T | None]) -> T | None:
        if name not in known:
            self._faults.add(path, f"no {kind} {name!r}; {catalog.close_matches(name, known)}")
        return known.get(name)

    def _section(self, name: str) -> object:
        return self._raw.get(name, {})

    def _default_class(self) -> str:
        name = self._raw.get("default_class", "")
        if not isinstance(name, str):
            self._faults.add("default_class", "expected the name of a class")
            return ""
        return name or next(iter(self._classes), "")

    def _policy(self) -> str:
        name = self._raw.get("policy", PRICES.name)
        if not isinstance(name, str):
            self._faults.add("policy", "expected the name of a policy")
            return PRICES.name
        try:
            return load_policy(name).name
        except ConfigError as error:
            for fault in error.faults:
                self._faults.add(fault.path, fault.message)
            return PRICES.name

    def _build_models(self) -> dict[str, Model | None]:
        raw = self._section("models")
        if not isinstance(raw, Mapping):
            self._faults.add("models", "expected tables [models.NAME]")
            return {}
        return {name: self._model(name, table) for name, table in raw.items()}

    def _model(self, name: str, raw: object) -> Model | None:
        path = f"models.{name}"
        if raw == {}:
            known = {each.name: each for each in catalog.models()}
            if name not in known:
                advice = catalog.close_matches(name, known)
                self._faults.add(
                    path, f"not in the catalog ({advice}); use its name, or give every figure of the model"
                )
            return known.get(name)
        table = self._faults.table(raw, doc.ModelTable, path)
        if table is None:
            return None
        model = Model(name=name, **msgspec.structs.asdict(table))
        faults = list(model_faults(path, model))
        for fault in faults:
            self._faults.add(fault.path, fault.message)
        return None if faults else model

    def _build_accelerators(self) -> dict[str, Accelerator | None]:
        known: dict[str, Accelerator | None] = {each.name: each for each in catalog.accelerators()}
        tables = self._faults.tables(self._section("accelerators"), doc.AcceleratorTable, "accelerators")
        own = {name: self._accelerator(name, table, known) for name, table in tables.items()}
        return known | own

    def _accelerator(
        self, name: str, table: doc.AcceleratorTable | None, known: Mapping[str, Accelerator | None]
    ) -> Accelerator | None:
        if table is None:
            return None
        path = f"accelerators.{name}"
        like = self._refer(f"{path}.like", "accelerator", table.like, known)
        speed = like
        if table.speed_as is not None:
            speed = self._refer(f"{path}.speed_as", "accelerator", table.speed_as, known)
        if like is None or speed is None:
            return None
        given = {key: value for key, value in msgspec.structs.asdict(table).items() if value is not None}
        own = {"availability": None, **given, "speed_as": speed.name, "unverified": ()}
        own.pop("like")
        chip = replace(like, name=name, **own)
        if chip.memory is not speed.memory:
            said = f"{speed.name!r} keeps its weights in {speed.memory} memory and {name!r} in {chip.memory}"
            self._faults.add(f"{path}.speed_as", f"{said}: name a chip that serves the same way")
            return None
        return chip

    def _build_deployments(self) -> dict[str, Deployment | None]:
        tables = self._faults.tables(self._section("deployments"), deployment_tables.DeploymentTable, "deployments")
        return {name: self._deployment(name, table) for name, table in tables.items()}

    def _deployment(self, name: str, table: deployment_tables.DeploymentTable | None) -> Deployment | None:
        if table is None:
            return None
        path = f"deployments.{name}"
        model = self._refer(f"{path}.model", "model", table.model, self._models)
        chip = None
        if table.accelerator is not None:
            chip = self._refer(f"{path}.accelerator", "accelerator", table.accelerator, self._accelerators)
        calibrated = self._calibration(f"{path}.calibrated", table.calibrated)
        if not self._has_one_speed(path, table):
            return None
        if model is None or (table.accelerator is not None and chip is None):
            return None
        if table.calibrated is not None and calibrated is None:
            return None
        if table.count % table.attention_ranks:
            self._faults.add(f"{path}.attention_ranks", f"count = {table.count} cannot be split into so many groups")
        return self._described(name, table, model, chip, calibrated)

    def _has_one_speed(self, path: str, table: deployment_tables.DeploymentTable) -> bool:
        """Whether it says in one way how fast it is; else notes the fault."""
        elsewhere = table.accelerator is not None or table.calibrated is not None
        if elsewhere != (table.observed is not None):
            return True
        said = "more than one is set" if elsewhere else "none is set"
        self._faults.add(
            path,
            f"{said}: give accelerator (speed predicted), [{path}.observed] (speed measured) or calibrated "
            "(a file that `headrace calibrate` wrote)",
        )
        return False

    def _described(
        self,
        name: str,
        table: deployment_tables.DeploymentTable,
        model: Model,
        chip: Accelerator | None,
        calibrated: Calibration | None,
    ) -> Deployment:
        return Deployment(
            name,
            model,
            chip,
            count=table.count,
            weight_bits=table.weight_bits,
            max_batch=table.max_batch if calibrated is None else calibrated.max_batch,
            software=table.software,
            attention_ranks=table.attention_ranks,
            expert_parallel=table.expert_parallel,
            observed=operating_point(table.observed),
            calibrated=calibrated,
            release=table.release,
            speculation=speculation(table.speculation),
            kv_cache=kv_cache(table.kv_cache),
            quota=quota(table.quota),
            replicas=replicas(table.replicas),
            split=split(table.split),
            spares=spares(table.spares),
        )

    def _calibration(self, path: str, file: str | None) -> Calibration | None:
        if file is None:
            return None
        try:
            return load_calibration(self._folder / file)
        except ConfigError as error:
            for fault in error.faults:
                self._faults.add(path, f"{file}: {fault}")
            return None

    def _build_pools(self) -> dict[str, Pool | None]:
        tables = self._faults.tables(self._section("pools"), doc.PoolTable, "pools")
        return {name: self._pool(name, table) for name, table in tables.items()}

    def _pool(self, name: str, table: doc.PoolTable | None) -> Pool | None:
        if table is None:
            return None
        path = f"pools.{name}.deployment"
        deployment = self._refer(path, "deployment", table.deployment, self._deployments)
        backends = tuple(_backend(name, table, each, deployment) for each in table.backends)
        if deployment is None:
            for fault in backend_faults(name, backends):
                self._faults.add(fault.path, fault.message)
            return None
        return Pool(
            name,
            deployment,
            _price(table.price),
            backends,
            max_kv_fraction=table.max_kv_fraction,
            kv_starting_price_usd=table.kv_starting_price_usd,
            assumed_w=table.assumed_w,
            domain=table.domain,
        )

    def _build_classes(self) -> dict[str, WorkloadClass | None]:
        tables = self._faults.tables(self._section("classes"), doc.ClassTable, "classes")
        return {name: None if table is None else _workload_class(name, table) for name, table in tables.items()}

    def _build_shares(self) -> dict[str, Share]:
        tables = self._faults.tables(self._section("shares"), doc.ShareTable, "shares")
        return _built({name: self._share(name, table) for name, table in tables.items()})

    def _share(self, name: str, table: doc.ShareTable | None) -> Share | None:
        if table is None:
            return None
        path = f"shares.{name}"
        reference = None
        if table.reference is not None:
            reference = self._refer(f"{path}.reference", "deployment", table.reference, self._deployments)
        unit = self._share_unit(f"{path}.of", table.of)
        if unit is None or (table.reference is not None and reference is None):
            self._reported.append(f"{path}.reference")
        unit = unit or ShareUnit.REQUESTS  # never seen: the document has a fault
        pools = tuple(table.pools)
        return Share(name, pools, table.target, unit, reference, table.report_only, table.starting_price_usd)

    def _share_unit(self, path: str, name: str) -> ShareUnit | None:
        if name not in tuple(ShareUnit):
            self._faults.add(path, f"{name!r} is no unit of work; use {_listed(ShareUnit)}")
        else:
            return ShareUnit(name)
        return None

    def _build_routes(self) -> tuple[Route, ...]:
        raw = self._raw.get("routes", [])
        if not isinstance(raw, list):
            self._faults.add("routes", "expected an array of tables [[routes]]")
            return ()
        tables = [self._faults.table(item, doc.RouteTable, f"routes[{index}]") for index, item in enumerate(raw)]
        # A broken route stays in its place without conditions, so that the others keep their numbers in messages.
        placeholder = Route(tuple(self._pools)[:1])
        return tuple(
            placeholder if table is None else Route(tuple(table.pools), table.model, table.tenant, table.workload_class)
            for table in tables
        )

    def _build_signals(self) -> Signals | None:
        if "signals" not in self._raw:
            return None
        table = self._faults.table(self._raw["signals"], doc.SignalsTable, "signals")
        return None if table is None else Signals(**_given(table))


def _built(parts: Mapping[str, T | None]) -> dict[str, T]:
    return {name: part for name, part in parts.items() if part is not None}


def _given(table: msgspec.Struct) -> dict[str, Any]:
    """The settings that a table sets."""
    return {key: value for key, value in msgspec.structs.asdict(table).items() if value is not None}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(str(name)) for name in names)


def _backend(pool: str, table: doc.PoolTable, backend: doc.BackendTable, deployment: Deployment | None) -> Backend:
    """The backend, with its pool's name of the model where it has none itself, and none where that is the fleet's."""
    name = backend.served_model_name or table.served_model_name
    known = None if deployment is None else deployment.model.name
    settings = {**msgspec.structs.asdict(backend), "served_model_name": None if name == known else name}
    return Backend(pool=pool, **settings)


def _price(table: doc.PerTokenTable | doc.HourlyTable) -> PriceTerms:
    kind = PerToken if isinstance(table, doc.PerTokenTable) else Hourly
    return kind(**msgspec.structs.asdict(table))


def workload_class(
    name: str, value_of_time_usd_per_s: float, slo: Slo, rules: doc.MatchTable, timeout_s: float
) -> WorkloadClass:
    """A class with its rules of recognition; the rest of it as by default."""
    match = Match(
        headers=tuple((header.lower(), value) for header, value in rules.headers.items()),
        api_key_envs=tuple(rules.api_key_envs),
        paths=tuple(rules.paths),
        model_aliases=tuple(rules.model_aliases),
        clients=tuple(rules.clients),
    )
    return WorkloadClass(name, value_of_time_usd_per_s, slo, match, timeout_s)


def _workload_class(name: str, table: doc.ClassTable) -> WorkloadClass:
    slo = Slo(**msgspec.structs.asdict(table.slo))
    made = workload_class(name, table.value_of_time_usd_per_s, slo, table.match, table.timeout_s)
    return replace(made, expected_output_tokens=table.expected_output_tokens, ttft_timeout_s=table.ttft_timeout_s)
