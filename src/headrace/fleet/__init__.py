"""What exists: accelerators, models, deployments, backends, pools, price terms, shares, the fleet."""

from headrace.fleet.accelerator import Accelerator, Memory
from headrace.fleet.calibration import Calibration, Measured
from headrace.fleet.contract import Hourly, PerToken, PriceTerms
from headrace.fleet.deployment import Deployment, OperatingPoint
from headrace.fleet.fleet import Backend, Fleet, Limits, Pool, Route, Share, ShareUnit
from headrace.fleet.model import Model

__all__ = [
    "Accelerator",
    "Backend",
    "Calibration",
    "Deployment",
    "Fleet",
    "Hourly",
    "Limits",
    "Measured",
    "Memory",
    "Model",
    "OperatingPoint",
    "PerToken",
    "Pool",
    "PriceTerms",
    "Route",
    "Share",
    "ShareUnit",
]
