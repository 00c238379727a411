"""The ahead-of-time build: with `HEADRACE_COMPILE=1`, mypyc compiles what is on the hot path.

Without the variable nothing is compiled, and headrace is pure Python. Both builds run the same source, to the same bits
(tests/builds): floating-point contraction is off, for a fused multiply-add rounds once where Python rounds twice.

A module that declares `msgspec.Struct`s stays interpreted (mypyc passes a class no keywords), and so do the protocols
that users implement and the tables of what ships.
"""

import os

from setuptools import Extension, setup

COMPILED = {
    "src/headrace": "bucket sums",
    "src/headrace/policy": "admission attempts backend_states breaker budget_price choice columns commitment_price "
    "deadline engine health hedge input_estimator intake kv_price lateness limits pace picked pool_shares predict "
    "prefix prices pricing quota quota_price requests retry routing shared_limit slo_price state timers tpot_limit "
    "waiting windows",
    "src/headrace/modelserver": "batching clock dataflow hosted impaired kv line outage paged pages prefix quota "
    "replicas sequence session_cache span split",
    "src/headrace/sim": "driver kernel oracle run workers",
    "src/headrace/metrics": "feasible share sketch summary",
    "src/headrace/cost": "marginal",
    "src/headrace/perf": "speed",
    "src/headrace/workload": "sessions",
}


def extensions() -> list[Extension]:
    """One shared library with all of them."""
    from mypyc.build import mypycify  # here: only this build needs it

    paths = [f"{folder}/{name}.py" for folder, names in COMPILED.items() for name in names.split()]
    made: list[Extension] = mypycify(paths, opt_level="3", debug_level="0", group_name="headrace")
    for extension in made:
        extension.extra_compile_args = [*extension.extra_compile_args, "-ffp-contract=off"]
    return made


setup(ext_modules=extensions() if os.environ.get("HEADRACE_COMPILE") == "1" else [])
