"""Documents to typed objects: the fleet file, checked whole, with every fault reported at once."""

from headrace.config.build import Silicon
from headrace.config.calibration import load_calibration
from headrace.config.fault_file import build_incidents, load_incidents
from headrace.config.fleet_file import SAMPLE, load_fleet, load_silicon, parse_fleet, read_text, sample_fleet_text
from headrace.config.fleet_writer import fleet_text
from headrace.config.policies import PLUG_IN_GROUP, load_policy, policy_names
from headrace.config.scenario_file import load_scenario, parse_scenario, scenario_texts

__all__ = [
    "PLUG_IN_GROUP",
    "SAMPLE",
    "Silicon",
    "build_incidents",
    "fleet_text",
    "load_calibration",
    "load_fleet",
    "load_incidents",
    "load_policy",
    "load_scenario",
    "load_silicon",
    "parse_fleet",
    "parse_scenario",
    "policy_names",
    "read_text",
    "sample_fleet_text",
    "scenario_texts",
]
