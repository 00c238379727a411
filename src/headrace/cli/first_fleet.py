"""The first fleet file of an installation: own accelerators, one fast provider beside them, a share between the two.

What is asked for is what nobody else can know; the rest is looked up (list prices, figures of chips and models) or
taken over from the sample fleet (classes with their values of time, the price of electricity), and the file says which
is which. It holds no key: it names the environment variable that one is in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from headrace.config import load_fleet, parse_fleet
from headrace.config.fleet_writer import fleet_text
from headrace.errors import ConfigError, Fault
from headrace.fleet import (
    Backend,
    Deployment,
    Fleet,
    Hourly,
    Model,
    PerToken,
    Pool,
    Route,
    Share,
    ShareUnit,
    catalog,
)
from headrace.fleet.list_price import PriceStatus
from headrace.workload import WorkloadClass

OWN, FAST = "own", "fast"


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider of fast tokens, by the name of its dialect.

    Attributes:
        key_env: the environment variable that its own clients read.
        chip: what serves there, as far as anybody outside knows.
    """

    url: str
    key_env: str
    chip: str


# Cerebras as its Python client has it (cerebras_cloud_sdk 1.91.0); Groq's variable is recalled.
PROVIDERS = {
    "cerebras": Provider("https://api.cerebras.ai", "CEREBRAS_API_KEY", "WSE-3"),
    "groq": Provider("https://api.groq.com/openai", "GROQ_API_KEY", "LPU"),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What goes into the file.

    Attributes:
        model: as clients are to call it; own, fast: where and on what it is served.
        usd_per_accelerator_hour: of the own chips.
        share: of compute, in (0, 1), that the fast pool is to get.
    """

    model: Model
    own: Deployment
    fast: Deployment
    own_backends: tuple[Backend, ...]
    fast_backend: Backend
    usd_per_accelerator_hour: float
    fast_price: PerToken
    share: float


def list_price(provider: str, model: Model) -> PerToken | None:
    """What the provider's price list says now; None: nothing."""
    names = {model.name, *model.aliases}
    for row in catalog.prices():
        if row.provider == provider and row.model in names and row.status is PriceStatus.CURRENT:
            return PerToken(row.input_usd_per_mtok, row.output_usd_per_mtok, row.cached_input_usd_per_mtok)
    return None


def first_fleet_text(wanted: Wanted, source: str) -> str:
    """The fleet file. Raises ConfigError: what was given makes no fleet; it has every fault, with its path."""
    sample = load_fleet()
    pools = {OWN: _own_pool(wanted, sample), FAST: _fast_pool(wanted)}
    share = Share(FAST, (FAST,), wanted.share, ShareUnit.COMPUTE, reference=wanted.own)
    fleet = Fleet(
        models={wanted.model.name: wanted.model},
        deployments={each.name: each for each in (wanted.own, wanted.fast)},
        pools=pools,
        classes={each.name: each for each in _classes(sample)},
        shares={share.name: share},
        routes=(Route((OWN, FAST)),),
        default_class=sample.default_class,
        aliases=dict.fromkeys(_aliases(wanted), wanted.model.name),
    )
    text = fleet_text(fleet, _comments(wanted))
    parse_fleet(text, source)
    return text


def _own_pool(wanted: Wanted, sample: Fleet) -> Pool:
    terms = next(pool.price for pool in sample.pools.values() if isinstance(pool.price, Hourly))
    price = replace(terms, usd_per_accelerator_hour=wanted.usd_per_accelerator_hour)
    return Pool(OWN, wanted.own, price, wanted.own_backends)


def _fast_pool(wanted: Wanted) -> Pool:
    return Pool(FAST, wanted.fast, wanted.fast_price, (wanted.fast_backend,))


def _classes(sample: Fleet) -> Iterator[WorkloadClass]:
    """The sample's, without the names of its model."""
    for each in sample.classes.values():
        yield replace(each, match=replace(each.match, model_aliases=()))


def _aliases(wanted: Wanted) -> Iterator[str]:
    """What servers call the model, and the catalog, where that is another name."""
    model = wanted.model
    for backend in (*wanted.own_backends, wanted.fast_backend):
        if backend.served_model_name is not None:
            yield backend.served_model_name
    for known in catalog.models():
        if known.name != model.name and replace(known, name=model.name, aliases=model.aliases) == model:
            yield known.name


def _comments(wanted: Wanted) -> dict[str, str]:
    sample = "taken over from the sample fleet: assumptions, so put in your own"
    return {
        "": "Written by `headrace init`. `headrace check` says what it means; a running gateway sees changes at once.",
        f"deployments.{FAST}": "The fewest chips that hold the model, unless you said otherwise: a guess at what the"
        "\nprovider runs. `headrace probe` and `headrace calibrate` measure its speed instead.",
        f"pools.{OWN}.price": f"The hour is yours, or the catalog's; the price of electricity is\n{sample}.",
        f"pools.{FAST}.price": "List prices (`headrace catalog prices`), unless you gave your own.",
        f"classes.{next(iter(load_fleet().classes))}": f"Classes, their values of time and SLOs are\n{sample}.",
        f"shares.{FAST}": "Of compute, in seconds of your own deployment, wherever a request really runs.",
    }


def unusable(path: str, message: str) -> ConfigError:
    """One thing that was given and cannot be used."""
    return ConfigError("init", [Fault(path, message)])
