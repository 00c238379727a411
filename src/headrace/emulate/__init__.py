"""The emulator: simulated model servers in real time behind real ports, honest about being emulated."""

from headrace.emulate.backend import EmulatedBackend
from headrace.emulate.emulator import Emulator
from headrace.emulate.process import EmulatorProcess
from headrace.emulate.script import Script, read_script

__all__ = ["EmulatedBackend", "Emulator", "EmulatorProcess", "Script", "read_script"]
