"""What a plan's fleet file says of itself: where its figures come from, by path of the setting."""

from __future__ import annotations

from headrace.fleet import Fleet
from headrace.study.plan.make import Made

STARTS = "the plan's price; the controller goes on from here"


def comments(made: Made) -> dict[str, str]:
    """Comments for `config.fleet_text` of the fleet of a plan."""
    answer, fleet = made.answer, made.fleet()
    found = {
        "": (
            f"Written by `headrace plan`: {answer.scenario}.\n"
            "Units, routes, targets and starting prices are the plan's. Backends are emulated on loopback addresses: "
            "write yours in their place."
        )
    }
    return found | _prices(fleet)


def _prices(fleet: Fleet) -> dict[str, str]:
    """Behind every starting price that is not 0."""
    named = [(f"shares.{name}", each.starting_price_usd) for name, each in fleet.shares.items()]
    named += [(f"classes.{name}.slo", each.slo.starting_price_usd) for name, each in fleet.classes.items()]
    named += [(f"commitments.{name}", each.starting_price_usd) for name, each in fleet.commitments.items()]
    named += [(f"budgets.{name}", each.starting_price_usd) for name, each in fleet.budgets.items()]
    found = {f"{path}.starting_price_usd": STARTS for path, price in named if price}
    found |= {
        f"pools.{name}.kv_starting_price_usd": STARTS for name, p in fleet.pools.items() if p.kv_starting_price_usd
    }
    return found
