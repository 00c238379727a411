"""The policy engine as an endpoint picker for Envoy (`ext_proc`): Envoy carries the bytes, headrace decides."""

from headrace.epp.bootstrap import Places, bootstrap
from headrace.epp.server import picker

__all__ = ["Places", "bootstrap", "picker"]
