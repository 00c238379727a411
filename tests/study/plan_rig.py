"""A small scenario, planned once: eight H100s of one's own, more by the hour, and a fast API that must do a tenth."""

from __future__ import annotations

from functools import cache

from headrace.config.scenario_file import parse_scenario
from headrace.fleet.scenario import Scenario
from headrace.plan.build import Built, build
from headrace.plan.problem import Problem
from headrace.plan.solution import Solution
from headrace.plan.solve import Settings, solve

SCENARIO = """
schema = 1
name = "small"

[horizon]
start = 2027-01-01
years = 1
days_in_cycle = 1
period_hours = 12

[models."llama-3.1-8b"]

[deployments.h100]
model = "llama-3.1-8b"
accelerator = "H100"
max_batch = 64

[deployments.fast-api] # measured from outside
model = "llama-3.1-8b"
observed = { ttft_s = 0.2, input_tokens_per_s = 20000.0, tpot_s = 0.001 }

[terms.owned]
type = "owned"
capex_usd = 30000.0               # a quote
life_years = 5.0
discount_rate = 0.08
electricity_usd_per_kwh = 0.08    # assumed
idle_fraction = 0.3
hosting_usd_per_kw_month = 130.0
staff_usd_per_year = 600.0

[terms.spot]
type = "rented"
usd_per_hour = 2.0
term = "spot"
interruptions_per_hour = 6.0
recover_s = 60.0

[terms.token]
type = "per_token"
input_usd_per_mtok = 1.0
output_usd_per_mtok = 4.0

[candidates.own]
deployment = "h100"
terms = ["owned"]
site = "own room"
max_accelerators = 2

[candidates.rent]
deployment = "h100"
terms = ["spot"]
vendor = "GPU cloud"
site = "GPU cloud"

[candidates.fast]
deployment = "fast-api"
terms = ["token"]
vendor = "Fast"

[classes.chat]
models = ["llama-3.1-8b"]
value_of_time_usd_per_s = 0.0
slo = { ttft_s = 1.0, tpot_s = 0.05, attainment = 0.95 }
burstiness = 2.0

[classes.chat.demand]
type = "stated"
requests_per_day = 1.0e6
profile = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]
buckets = [
    { input_tokens = 500.0, output_tokens = 100.0, fraction = 0.5 },
    { input_tokens = 2000.0, output_tokens = 300.0, fraction = 0.5 },
]

[classes.batch]
models = ["llama-3.1-8b"]
value_of_time_usd_per_s = 0.0
timeout_s = 300.0

[classes.batch.demand]
type = "stated"
requests_per_day = 2.0e5
buckets = [{ input_tokens = 3000.0, output_tokens = 200.0, fraction = 1.0 }]

[[constraints]]
type = "share"
name = "fast share"
of = "requests"
vendors = ["Fast"]
at_least = 0.1
reason = "somebody wants to know"

[[constraints]]
type = "survival"
name = "no cloud"
lose = "vendor"
who = "GPU cloud"
level = { chat = 0.9 }
reason = "clouds fail"

[uncertainty]
demand = { low = 0.8, high = 1.3 }
price = { low = 0.8, high = 1.2 }
futures = 3
miss_chance = 0.1

[solver]
gap = 0.01
time_limit_s = 30.0

[proof]
duration_s = 120.0
max_requests = 3000
rounds = 1
"""


def scenario(text: str = SCENARIO) -> Scenario:
    return parse_scenario(text, "small.toml")


def solved(problem: Problem) -> Solution:
    return solve(problem, Settings(0.01, 30.0, 1))


@cache
def planned(text: str = SCENARIO) -> tuple[Built, Solution]:
    """A scenario's problem and its plan."""
    built = build(scenario(text))
    return built, solved(built.problem)
