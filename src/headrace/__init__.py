"""Headrace: an inference layer for mixed silicon. Plan the fleet, prove the plan, run the traffic."""

__version__ = "0.1.0"
