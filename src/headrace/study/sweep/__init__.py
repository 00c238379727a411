"""Sweeps: a grid of fleets, prices, loads, seeds, policies and shares, simulated point by point."""

from headrace.study.sweep.ahead import check_traffic
from headrace.study.sweep.books import TABLE
from headrace.study.sweep.document import TraceOverride, check_values, load_grid
from headrace.study.sweep.estimate import check_size
from headrace.study.sweep.executors import available_cores
from headrace.study.sweep.grid import Grid, Point
from headrace.study.sweep.page import sweep_page
from headrace.study.sweep.rows import COLUMNS, Column, Row, columns, describe, parquet
from headrace.study.sweep.run import run_sweep
from headrace.study.sweep.simulation import Done
from headrace.study.sweep.story import about, payoffs

__all__ = [
    "COLUMNS",
    "TABLE",
    "Column",
    "Done",
    "Grid",
    "Point",
    "Row",
    "TraceOverride",
    "about",
    "available_cores",
    "check_size",
    "check_traffic",
    "check_values",
    "columns",
    "describe",
    "load_grid",
    "parquet",
    "payoffs",
    "run_sweep",
    "sweep_page",
]
