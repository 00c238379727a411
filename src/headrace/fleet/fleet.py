"""The fleet: all pools with their backends, the classes they serve, and the shares that are steered."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from headrace.fleet.commitment import Budget, Commitment
from headrace.fleet.contract import Hourly, PerToken, PriceTerms
from headrace.fleet.deployment import Deployment
from headrace.fleet.entrance import Admin, Tls
from headrace.fleet.ledger import LedgerSettings
from headrace.fleet.model import Model
from headrace.fleet.peers import Peers
from headrace.fleet.signals import Signals
from headrace.fleet.telemetry import TelemetrySettings
from headrace.fleet.tenants import Tenants

if TYPE_CHECKING:  # traffic is no part of what exists: who asks for a speed alone does not load it
    from headrace.workload import WorkloadClass


@dataclass(frozen=True, slots=True)
class Backend:
    """What the policy picks: one base URL with its credentials and limits.

    Attributes:
        url: base URL without the endpoint path, e.g. `http://10.0.0.1:8000`.
        api_key_env: environment variable that holds the key; None, and no file: no key is sent.
        api_key_file: file that holds it; others than its owner and group may not read it.
        link_local: the URL may be, or lead to, a link-local address, where clouds keep their machines' credentials.
        ca_file: certificates, in PEM, that the backend's is signed by; None: those of the system.
        client_certificate_file, client_key_file: what is shown to a backend that asks for a certificate, in PEM.
        max_in_flight: most attempts dispatched and not ended.
        emulated: `headrace emulate` serves this backend itself.
        dialect: name of the dialect that it speaks (`wire.dialects`).
        token_command: prints a short-lived bearer token; empty: none is used.
        token_refresh_s: how often it is run.
        aws_region: for signatures, where the host does not name it.
        lacks: what its model or server cannot do, of `wire.dialects.CAPABILITIES`: such requests go elsewhere.
        served_model_name: what it calls its pool's model; None: as the fleet does.
    """

    name: str
    pool: str
    url: str
    api_key_env: str | None = None
    max_in_flight: int = 256
    emulated: bool = False
    dialect: str = "openai-compatible"
    token_command: tuple[str, ...] = ()
    token_refresh_s: float = 1800.0
    aws_region: str | None = None
    lacks: tuple[str, ...] = ()
    api_key_file: str | None = None
    link_local: bool = False
    ca_file: str | None = None
    client_certificate_file: str | None = None
    client_key_file: str | None = None
    served_model_name: str | None = None

    @property
    def has_key(self) -> bool:
        """Whether a key is sent."""
        return self.api_key_env is not None or self.api_key_file is not None


@dataclass(frozen=True, slots=True)
class Pool:
    """Interchangeable backends: same deployment, same price terms.

    Attributes:
        max_kv_fraction: how much of its KV room the pool should hold at most, kept by a price; None: no limit.
        kv_starting_price_usd: what that price starts from, in USD per token-second; at least 0.
        assumed_w: power of one replica at the meter, for shares of power; None: as its accelerator's figures say.
        domain: what fails as one with others of the same name; None: its accelerator's vendor, if it has one.
    """

    name: str
    deployment: Deployment
    price: PriceTerms
    backends: tuple[Backend, ...]
    max_kv_fraction: float | None = None
    kv_starting_price_usd: float = 0.0
    assumed_w: float | None = None
    domain: str | None = None

    def model_name_at(self, backend: Backend) -> str:
        """What one of its backends is asked for."""
        return backend.served_model_name or self.deployment.model.name

    @property
    def failure_domain(self) -> str:
        """What fails as one: as declared, its accelerator's vendor, or, where nobody knows that, the pool."""
        chip = self.deployment.accelerator
        return self.domain or (self.name if chip is None else chip.vendor)

    @property
    def finds_prefixes(self) -> bool:
        """Whether what prompts have in common is computed once, or asked less for: declared, observed or priced."""
        cheaper = isinstance(self.price, PerToken) and self.price.cached_input_usd_per_mtok is not None
        return cheaper or self.deployment.finds_prefixes

    @property
    def power_w(self) -> float | None:
        """Watts of one replica at the meter: as assumed, or its accelerators' with their PUE; None: unknown."""
        chip = self.deployment.accelerator
        if self.assumed_w is not None or chip is None or chip.power_w is None:
            return self.assumed_w
        pue = self.price.pue if isinstance(self.price, Hourly) else 1.0
        return chip.power_w * self.deployment.count * pue


class ShareUnit(StrEnum):
    """Share of what. The answers differ by more than 70 times, so there is no default."""

    REQUESTS = "requests"
    OUTPUT_TOKENS = "output_tokens"
    COMPUTE = "compute"  # seconds on a reference deployment, wherever a request ran
    SPEND = "spend"  # USD at the terms of the pool where it ran, hours attributed by the seconds that it was busy
    POWER = "power"  # joules of the pool where it ran

    @property
    def by_pool(self) -> bool:
        """Whether what a request counts depends on the pool that serves it."""
        return self in (ShareUnit.SPEND, ShareUnit.POWER)


@dataclass(frozen=True, slots=True)
class Share:
    """The fraction of the work that a set of pools is to get.

    Attributes:
        target: in (0, 1).
        reference: the deployment whose seconds measure work; set when `of` is compute.
        report_only: measured and reported, not steered.
        starting_price_usd: the price that the controller starts from, in USD per unit of work.
    """

    name: str
    pools: tuple[str, ...]
    target: float
    of: ShareUnit
    reference: Deployment | None = None
    report_only: bool = False
    starting_price_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Route:
    """A rule from (model name, tenant, workload class) to pools; the first that matches holds. None matches all."""

    pools: tuple[str, ...]
    model: str | None = None
    tenant: str | None = None
    workload_class: str | None = None

    def matches(self, model: str | None, tenant: str, workload_class: str) -> bool:
        """Whether a request of this tenant and class goes here; a `model` of None is the fleet's only one."""
        return (
            (self.model is None or model is None or self.model == model)
            and (self.tenant is None or self.tenant == tenant)
            and (self.workload_class is None or self.workload_class == workload_class)
        )


class ImageUrls(StrEnum):
    """What images and files in requests may name for a backend to fetch."""

    ANY = "any"
    PUBLIC = "public"  # nothing private, loopback or link-local, as far as a URL says so itself
    DATA_ONLY = "data-only"  # only what the request holds itself


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits and time guards of the gateway and its policy engine; each is a setting with a default.

    Attributes:
        queue_depth: requests that may wait for a free backend.
        queue_bytes: what requests that wait may take in memory, together.
        queue_timeout_s: longest wait in that queue.
        overload_s: a class of which somebody has waited at any time for so long is overloaded: its requests wait no
            longer than its SLO on the first token allows, and are turned away at once where they would.
        slot_wait_fraction: no request is sent where it would wait longer for a slot than this fraction of the tightest
            SLO on the first token; it waits in the queue, where the more valuable overtake.
        reserve_quota: providers' quotas are reserved before a request is sent; else a 429 says that one is used up.
        right_size: quantile of the output length, in (0, 1), to which a request's ceiling on output is lowered where a
            quota reserves it and the answer can be gone on with; 0: no ceiling is lowered.
        first_byte_timeout_s: a streamed attempt with no first byte by then has failed.
        answer_timeout_s: an attempt that answers as a whole, with no answer by then, has failed.
        max_attempts: tries per request, the first included.
        retry_budget: retries per request dispatched, long-run; `retry_burst` may be spent at once.
        breaker_failures: consecutive failures that open a breaker.
        outlier_error_rate: a backend that fails at least so often, as a fraction, and far more often than the others of
            its pool, is not asked for a cooldown; 1: never.
        outlier_ttft_ratio: the same for one whose first tokens take so many times what was predicted.
        domain_window_s: when most backends of one vendor break within this, the others are asked with care.
        breaker_cooldown_s: first cooldown; it doubles up to `breaker_cooldown_max_s`.
        backoff_base_s: where nobody else is left, a backend is asked again after a random part of this; it doubles with
            every try, up to `backoff_cap_s`.
        rescue: whether an answer that broke off is gone on with elsewhere; else its request has failed.
        hedge_budget: what second attempts, beside first ones that are late, may add to the marginal cost of all
            requests, as a fraction; 0: there are none.
        hedge_quantile: of the time to a first token beside what was predicted; what takes longer is late.
        prefix_index_entries: prompt blocks, and sessions, of which the policy remembers the backend; 0: none.
        max_body_bytes: largest request body.
        max_head_bytes: largest request head.
        max_header_lines: most header lines of a request.
        max_messages, max_tools: most messages (input items, in the Responses API) and tools of a request.
        image_urls: what images and files in requests may name for a backend to fetch.
        head_timeout_s: a client must have sent its whole request head, and then its body, within this.
        keep_alive_timeout_s: a connection on which nothing is asked for this long is closed.
        write_timeout_s: a client that takes no bytes for this long is cut off.
        sweep_interval_s: how often clients' connections are held against these times.
        max_connections: clients' connections beyond this are closed as they are accepted; each worker's own.
        max_connections_per_address: the same for those from one address; None: all may come from one, as they do
            behind a load balancer.
        stall_timeout_s: an answer that has begun, and of which nothing comes for this long, has failed. A backend may
            be silent in the middle as long as before its first token: some send a tool call only when it is whole.
        min_tokens_per_s: so has one that comes more slowly over five seconds, by an estimate from its text; 0: none.
        rescue_max_bytes: text of an answer that is kept so that another backend can go on with it; 0: none does.
        drain_delay_s: graceful shutdown goes on accepting for so long, while `/health/ready` says that it will not.
        drain_timeout_s: it waits at most this long for what is under way.
        default_max_output_tokens: the ceiling that a backend is given where its API must have one and the client gave
            none; at most half of the model's context is.
        stored_responses: answers of the Responses API that clients may go on from by their id; 0: none.
        stored_response_bytes: what these may take in memory, together.
        websocket_lanes: responses that may be in progress at once on one WebSocket connection.
        websocket_queue: requests that may wait there for their lane.
        websocket_lifetime_s: a WebSocket connection takes no request when it is older.
        websocket_idle_timeout_s: one that has not been used for so long is closed.
    """

    queue_depth: int = 1024
    queue_bytes: int = 256 * 1024 * 1024
    queue_timeout_s: float = 30.0
    overload_s: float = 5.0
    slot_wait_fraction: float = 0.1
    reserve_quota: bool = True
    right_size: float = 0.0
    first_byte_timeout_s: float = 60.0
    answer_timeout_s: float = 600.0
    max_attempts: int = 3
    retry_budget: float = 0.2
    retry_burst: int = 10
    breaker_failures: int = 3
    outlier_error_rate: float = 0.25
    outlier_ttft_ratio: float = 4.0
    domain_window_s: float = 10.0
    breaker_cooldown_s: float = 2.0
    breaker_cooldown_max_s: float = 15.0
    backoff_base_s: float = 0.25
    backoff_cap_s: float = 8.0
    rescue: bool = True
    hedge_budget: float = 0.02
    hedge_quantile: float = 0.95
    prefix_index_entries: int = 65_536
    max_body_bytes: int = 16 * 1024 * 1024
    max_head_bytes: int = 32 * 1024
    max_header_lines: int = 256
    max_messages: int = 8192
    max_tools: int = 4096
    image_urls: ImageUrls = ImageUrls.PUBLIC
    head_timeout_s: float = 10.0
    keep_alive_timeout_s: float = 75.0
    write_timeout_s: float = 120.0
    sweep_interval_s: float = 1.0
    max_connections: int = 16_384
    max_connections_per_address: int | None = None
    stall_timeout_s: float = 60.0
    min_tokens_per_s: float = 0.0
    rescue_max_bytes: int = 1024 * 1024
    drain_delay_s: float = 0.0
    drain_timeout_s: float = 30.0
    default_max_output_tokens: int = 32_000
    stored_responses: int = 4096
    stored_response_bytes: int = 256 * 1024 * 1024
    websocket_lanes: int = 16
    websocket_queue: int = 32
    websocket_lifetime_s: float = 3600.0
    websocket_idle_timeout_s: float = 900.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything that can serve, on which terms, for whom. Mappings keep the order of the fleet file.

    Attributes:
        policy: name of what chooses: one that ships with headrace, or an installed plug-in.
        signals: what backends say of their load; None: nothing.
        peers: how several engines over this fleet tell each other what they do.
        tenants: how they are told apart, and what they may do.
        tls: of the clients' port; None: none. admin: who may use the admin port.
        ledger: how the gateway keeps its usage ledger.
        telemetry: how it tells what it does.
        aliases: names that clients may use for a model, with the model's.
        fallbacks: models that may answer where a model's own backends cannot, in order.
    """

    models: dict[str, Model]
    deployments: dict[str, Deployment]
    pools: dict[str, Pool]
    classes: dict[str, WorkloadClass]
    shares: dict[str, Share]
    routes: tuple[Route, ...]
    limits: Limits = Limits()
    default_class: str = ""
    policy: str = "prices"
    signals: Signals | None = None
    peers: Peers = field(default_factory=Peers)
    tenants: Tenants = field(default_factory=Tenants)
    tls: Tls | None = None
    admin: Admin = field(default_factory=Admin)
    ledger: LedgerSettings = field(default_factory=LedgerSettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    commitments: dict[str, Commitment] = field(default_factory=dict)
    budgets: dict[str, Budget] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    fallbacks: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def backends(self) -> tuple[Backend, ...]:
        """Every backend, pool by pool, in the order of the fleet file."""
        return tuple(backend for pool in self.pools.values() for backend in pool.backends)

    def output_ceiling(self, model: str) -> int:
        """Ceiling of output tokens for requests of clients that give none, where there must be one."""
        found, most = self.models.get(model), self.limits.default_max_output_tokens
        return most if found is None else max(1, min(most, found.context_tokens // 2))

    def steered_share(self) -> Share | None:
        """The first share that is steered: the one that `gpu_only` and value captured refer to; None without one."""
        return next((share for share in self.shares.values() if not share.report_only), None)
