"""Documents to typed objects: the fleet file, checked whole, with every fault reported at once."""

from headrace.config.build import Silicon
from headrace.config.calibration import load_calibration
from headrace.config.fleet_file import load_fleet, load_silicon, parse_fleet, sample_fleet_text

__all__ = ["Silicon", "load_calibration", "load_fleet", "load_silicon", "parse_fleet", "sample_fleet_text"]
