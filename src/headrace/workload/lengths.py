"""Sizes and gaps: lognormal mixtures with walls.

Token counts are near lognormal in the middle and stop at a wall (a context limit, an output limit), where real traffic
piles up: a draw beyond a bound is moved to it, not drawn again.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from random import Random


@dataclass(frozen=True, slots=True)
class LogNormal:
    """exp(N(mu, sigma**2)), held within [low, high]."""

    mu: float
    sigma: float
    low: float = 0.0
    high: float = inf

    def draw(self, random: Random) -> float:
        """One value."""
        return min(max(random.lognormvariate(self.mu, self.sigma), self.low), self.high)


@dataclass(frozen=True, slots=True)
class LogNormalMixture:
    """A mixture of lognormals, held within [low, high].

    Attributes:
        parts: (weight, mu, sigma) each; the weights add up to 1.
    """

    parts: tuple[tuple[float, float, float], ...]
    low: float = 0.0
    high: float = inf

    def draw(self, random: Random) -> float:
        """One value."""
        choice = random.random()
        mu, sigma = self.parts[-1][1:]
        for weight, part_mu, part_sigma in self.parts:
            choice -= weight
            if choice < 0:
                mu, sigma = part_mu, part_sigma
                break
        return min(max(random.lognormvariate(mu, sigma), self.low), self.high)

    def draw_tokens(self, random: Random) -> int:
        """One value as a whole number of tokens, at least 1."""
        return max(round(self.draw(random)), 1)
