"""What exists: accelerators, models, deployments, backends, pools, price terms, shares, the fleet."""

from headrace.fleet.accelerator import Accelerator, Memory
from headrace.fleet.architecture import ParameterCounts, parameter_counts
from headrace.fleet.calibration import Calibration, Measured
from headrace.fleet.commitment import Budget, Commitment, CommittedUnit, Per
from headrace.fleet.contract import Hourly, PerToken, PriceTerms
from headrace.fleet.deployment import Deployment, OperatingPoint, Speculation
from headrace.fleet.entrance import Admin, Tls
from headrace.fleet.fleet import Backend, Fleet, ImageUrls, Limits, Pool, Route, Share, ShareUnit
from headrace.fleet.incident import Down, Flapping, Incident, LostAccelerator, QuotaCut, Slow, Stale, limited_to
from headrace.fleet.kv_cache import KvCache, KvPolicy, Preemption
from headrace.fleet.ledger import Fsync, LedgerSettings
from headrace.fleet.list_price import ListPrice, PriceStatus
from headrace.fleet.model import Attention, Model
from headrace.fleet.peers import Peers
from headrace.fleet.quota import Quantiles, Quota
from headrace.fleet.replicas import Replicas
from headrace.fleet.signals import Signals
from headrace.fleet.spare import Spares
from headrace.fleet.split import Split
from headrace.fleet.system import System
from headrace.fleet.telemetry import LogFormat, TelemetrySettings
from headrace.fleet.tenants import Allowance, Tenants
from headrace.fleet.thin import ThinnedPool, thinned

__all__ = [
    "Accelerator",
    "Admin",
    "Allowance",
    "Attention",
    "Backend",
    "Budget",
    "Calibration",
    "Commitment",
    "CommittedUnit",
    "Deployment",
    "Down",
    "Flapping",
    "Fleet",
    "Fsync",
    "Hourly",
    "ImageUrls",
    "Incident",
    "KvCache",
    "KvPolicy",
    "LedgerSettings",
    "Limits",
    "ListPrice",
    "LogFormat",
    "LostAccelerator",
    "Measured",
    "Memory",
    "Model",
    "OperatingPoint",
    "ParameterCounts",
    "Peers",
    "Per",
    "PerToken",
    "Pool",
    "Preemption",
    "PriceStatus",
    "PriceTerms",
    "Quantiles",
    "Quota",
    "QuotaCut",
    "Replicas",
    "Route",
    "Share",
    "ShareUnit",
    "Signals",
    "Slow",
    "Spares",
    "Speculation",
    "Split",
    "Stale",
    "System",
    "TelemetrySettings",
    "Tenants",
    "ThinnedPool",
    "Tls",
    "limited_to",
    "parameter_counts",
    "thinned",
]
