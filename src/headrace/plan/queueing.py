"""Waiting for a place: how much of its capacity a station can be given before requests wait too long.

A station of c places, each held for `service_s` on average, with load rho of its capacity. Halfin and Whitt (Operations
Research 29, 1981) showed that what matters is the square-root margin beta = (1 - rho) sqrt(c): a request waits with
chance

    P(W > 0) = 1 / (1 + beta Phi(beta) / phi(beta))
    P(W > t) = P(W > 0) exp(-c (1 - rho) t / (service_s z))

which is exact for many places and within five points of Erlang's C for a few. Arrivals burstier than Poisson (variance
over mean z of what is in service) count as a margin smaller by sqrt(z).

So large stations may be filled further than small ones: at 5 % waiting 13 sessions on a wafer hold 7, and 251 hold 222.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Array = NDArray[np.float64]
LARGEST_MARGIN = 30.0  # beyond it nobody waits; the density would underflow


def waiting_chance(places: Array, load: Array, burstiness: Array) -> Array:
    """Chance that a request finds every place taken, at `load` of capacity in [0, 1]."""
    margin = np.clip((1.0 - load) * np.sqrt(places / burstiness), 0.0, LARGEST_MARGIN)
    inverse_density = np.sqrt(2.0 * np.pi) * np.exp(margin**2 / 2.0)
    return np.asarray(1.0 / (1.0 + margin * ndtr(margin) * inverse_density))


def wait_quantile_s(places: Array, load: Array, service_s: Array, burstiness: Array, miss: Array) -> Array:
    """Seconds that at most a part `miss` of the requests waits longer than; infinite at full load."""
    chance = waiting_chance(places, load, burstiness)
    tail = np.log(np.maximum(chance / miss, 1.0))
    room = places * (1.0 - load)
    with np.errstate(divide="ignore", invalid="ignore"):
        wait = tail * service_s * burstiness / room
    return np.asarray(np.where(tail == 0.0, 0.0, wait))


def mean_wait_s(places: Array, load: Array, service_s: Array, burstiness: Array) -> Array:
    """Mean wait of all requests, those that do not wait among them."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(waiting_chance(places, load, burstiness) * service_s * burstiness / (places * (1.0 - load)))
