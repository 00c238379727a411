"""Fitting: what of a request goes to which backend, decided once, when it arrives, for those that may serve it.

A backend that speaks the client's API gets the body as it came, edited where its dialect needs it. One that does not is
given a translation: the request is read once, into neutral form, and written for each dialect among the candidates.
What a dialect cannot give makes its backends unfit, and the policy never picks them; if all are, the client is told
which field it was, and why.

Dialects that pass everything cost nothing here, and those of backends that no route leads to are not asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from headrace.errors import Forbidden, RequestError
from headrace.fleet import Fleet
from headrace.fleet.tenants import DEFAULT_TENANT
from headrace.gateway.backends import BackendLink
from headrace.gateway.rescue import Continuing, Rescue
from headrace.policy import resizable_backends
from headrace.wire import ApiName, encode_error, with_output_ceiling
from headrace.wire.apis import APIS, PLAIN, Accepts, ToolNames
from headrace.wire.dialects import Dialect, Fitter
from headrace.wire.resume import Progress, continued, pause_obstacle, takes_over

if TYPE_CHECKING:
    from headrace.gateway.request import GatewayRequest

# What stands for an API where a backend does not speak it, the nearest first.
_NEAREST: dict[ApiName, tuple[ApiName, ...]] = {
    "chat": ("responses", "messages", "completions"),
    "completions": ("chat", "responses", "messages"),
    "responses": ("chat", "messages", "completions"),
    "messages": ("chat", "responses", "completions"),
    "embeddings": (),
}
MAX_PLANS = 4096


class Prepared(NamedTuple):
    """A request as it goes to the backends of one dialect.

    Attributes:
        api: the API that they are asked by; `translated`: it is another than the client's.
        tools: gives tool calls in the answer the names that the client knows.
        dropped, approximated: what the client is told of what was lost.
    """

    api: ApiName
    body: bytes
    translated: bool = False
    tools: ToolNames = PLAIN
    dropped: tuple[str, ...] = ()
    approximated: tuple[str, ...] = ()


class Plan:
    """What becomes of requests of one API at the backends of one dialect. Those that pass untouched have none."""

    __slots__ = ("_accepts", "_fitters", "_resuming", "api", "backends", "dialect", "key")

    def __init__(self, api: ApiName, link: BackendLink, max_output_tokens: int) -> None:
        dialect = link.dialect
        self.api = api
        self.dialect = dialect
        self.key = link.fit_key
        self.backends: list[str] = []
        spoken = (api,) if dialect.path(api) is not None else tuple(a for a in _NEAREST[api] if dialect.path(a))
        self._fitters = [(each, Fitter(dialect, each, link.backend.lacks)) for each in spoken]
        templated = "completions" not in (api, *spoken[:1])  # then a bare prompt has no place for what was said
        near = tuple(each for each in (api, *_NEAREST[api]) if not (templated and each == "completions"))
        going_on = (each for each in near if takes_over(dialect, each, link.backend.lacks))
        self._resuming = [(each, Fitter(dialect, each, link.backend.lacks)) for each in going_on]
        self._accepts = _accepts(dialect, max_output_tokens)

    @property
    def idle(self) -> bool:
        """Whether the body passes untouched."""
        return bool(self._fitters) and self._fitters[0][0] == self.api and self._fitters[0][1].idle

    def prepare(self, request: GatewayRequest) -> Prepared:
        """The request as it goes there: by the first API that can say it.

        Raises:
            RequestError: it asks for what these backends cannot give; `param` names it.
        """
        refused: RequestError | None = None
        for api, fitter in self._fitters:
            try:
                return self._same(request, fitter) if api == self.api else self._translated(request, api, fitter)
            except RequestError as error:
                refused = refused or error
        raise refused or RequestError(f"{self.dialect.title} does not offer {self.api}; ask for another model", "model")

    @property
    def goes_on(self) -> bool:
        """Whether these backends can go on with a text."""
        return bool(self._resuming)

    def lowered(self, request: GatewayRequest, ceiling: int) -> bytes:
        """The body as it goes there in the client's own API, with a lower ceiling on its output."""
        return self._fitters[0][1].fit(with_output_ceiling(request.body, self.api, ceiling)).body

    def go_on(self, request: GatewayRequest, progress: Progress) -> Continuing:
        """The request that goes on with an answer there: by the first API that can say it.

        Raises:
            RequestError: these backends cannot.
        """
        for api, fitter in self._resuming:
            try:
                said = self._same(request, fitter) if api == self.api else self._translated(request, api, fitter)
                body, trimmed = continued(said.body, api, self.dialect, progress)
                return Continuing(api, body, said.tools, trimmed)
            except RequestError:
                continue
        raise RequestError(f"{self.dialect.title} cannot go on with this answer")

    def _same(self, request: GatewayRequest, fitter: Fitter) -> Prepared:
        fitted = fitter.fit(request.body)
        return Prepared(self.api, fitted.body, dropped=fitted.dropped, approximated=fitted.approximated)

    def _translated(self, request: GatewayRequest, api: ApiName, fitter: Fitter) -> Prepared:
        if request.read is None:
            request.read = APIS[self.api].read_request(request.body)
        out = APIS[api].write_request(request.read, self._accepts)
        fitted = fitter.fit(out.body)
        dropped, approximated = (*out.dropped, *fitted.dropped), (*out.approximated, *fitted.approximated)
        return Prepared(api, fitted.body, True, out.tools, dropped, approximated)


class _Candidates(msgspec.Struct, frozen=True):
    """Who may serve requests of one API, model and class: `contexts` holds the backends by tokens of context.

    Attributes:
        all_plans: also those of dialects that take the body as it came.
        resizable: backends that may be given a lower ceiling on output, since an answer can be gone on with.
    """

    plans: tuple[Plan, ...]
    all_plans: tuple[Plan, ...]
    pools: dict[str, tuple[str, ...]]
    contexts: tuple[tuple[int, tuple[str, ...]], ...]
    resizable: tuple[str, ...]


class Fittings:
    """Plans of one fleet, made when they are first needed."""

    def __init__(self, fleet: Fleet, links: Mapping[str, BackendLink]) -> None:
        self._fleet = fleet
        self._links = links
        self._known: dict[tuple[ApiName, str, str, str], _Candidates] = {}
        self._reserving = resizable_backends(fleet)
        self._thinking: set[str] = set()

    def use(self, fleet: Fleet, links: Mapping[str, BackendLink]) -> None:
        """From now on requests go over this fleet."""
        self._fleet = fleet
        self._links = links
        self._known.clear()
        self._reserving = resizable_backends(fleet)
        self._thinking.clear()

    def fit(self, request: GatewayRequest) -> tuple[str, ...]:
        """Prepare the request for every dialect that needs it; the backends that cannot give what it asks for."""
        known = self._candidates(request)
        within = None if request.caller is None else request.caller.pools
        if not known.plans and len(known.contexts) < 2 and request.controls is None and within is None:
            return ()
        unfit: list[str] = []
        for plan in known.plans:
            try:
                request.prepared[plan.key] = plan.prepare(request)
            except RequestError as error:
                request.refusal = encode_error(error, request.api)
                unfit += plan.backends
        if len(known.contexts) > 1:
            unfit += _too_small(known.contexts, request.input_tokens)
        if request.controls is not None and request.controls.pool is not None:
            unfit += self._outside(known, request, request.controls.pool)
        if within is not None:
            unfit += _beyond(known, request, within)
        return tuple(unfit)

    def go_on(self, request: GatewayRequest, rescue: Rescue) -> tuple[str, ...]:
        """Prepare what goes on with an answer, for every dialect; the backends that cannot."""
        rescue.bodies.clear()
        unfit: list[str] = []
        for plan in self._candidates(request).all_plans:
            try:
                rescue.bodies[plan.key] = plan.go_on(request, rescue.progress)
            except RequestError:
                unfit += plan.backends
        return tuple(unfit)

    def resizable(self, request: GatewayRequest) -> tuple[str, ...]:
        """The backends that may be given a lower ceiling than the client's for this request, which has been fitted."""
        if not self._reserving or not request.head.stream or request.model in self._thinking:
            return ()
        names = self._candidates(request).resizable
        if not names or pause_obstacle(request.body, request.api):
            return ()
        prepared, links = request.prepared, self._links
        translated = {key for key, each in prepared.items() if each.translated} if prepared else ()
        return tuple(name for name in names if links[name].fit_key not in translated) if translated else names

    def lowered(self, request: GatewayRequest, link: BackendLink, ceiling: int) -> bytes:
        """What goes to a backend with this ceiling on its output."""
        plan = next(plan for plan in self._candidates(request).all_plans if plan.key == link.fit_key)
        return plan.lowered(request, ceiling)

    def thinks(self, model: str) -> None:
        """An answer of this model reached a lowered ceiling before it said anything: its ceilings stay as they are."""
        self._thinking.add(model)

    def _candidates(self, request: GatewayRequest) -> _Candidates:
        key = (request.api, request.model, request.workload_class, request.tenant)
        known = self._known.get(key)
        return self._made(*key) if known is None else known

    def candidates(self, model: str, workload_class: str, tenant: str = DEFAULT_TENANT) -> list[BackendLink]:
        """The backends that the fleet's routes allow."""
        for route in self._fleet.routes:
            if route.matches(model, tenant, workload_class):
                return [link for link in self._links.values() if link.backend.pool in route.pools]
        return []

    def _outside(self, known: _Candidates, request: GatewayRequest, pool: str) -> list[str]:
        if pool not in known.pools:
            there = ", ".join(known.pools)
            error = RequestError(f"x-headrace-pool: {pool!r} does not serve such requests; there are: {there}", "pool")
            request.refusal = encode_error(error, request.api)
        return [name for each, names in known.pools.items() if each != pool for name in names]

    def _made(self, api: ApiName, model: str, workload_class: str, tenant: str) -> _Candidates:
        links = self.candidates(model, workload_class, tenant)
        found: dict[str, Plan] = {}
        pools: dict[str, tuple[str, ...]] = {}
        contexts: dict[int, tuple[str, ...]] = {}
        for link in links:
            if link.fit_key not in found:
                found[link.fit_key] = Plan(api, link, self._fleet.output_ceiling(model))
            found[link.fit_key].backends.append(link.name)
            pool = link.backend.pool
            pools[pool] = (*pools.get(pool, ()), link.name)
            context = self._fleet.pools[pool].deployment.model.context_tokens
            contexts[context] = (*contexts.get(context, ()), link.name)
        plans = tuple(plan for plan in found.values() if not plan.idle)
        every = tuple(found.values())
        known = _Candidates(plans, every, pools, tuple(sorted(contexts.items())), self._resizable(api, links, every))
        if len(self._known) < MAX_PLANS:
            self._known[api, model, workload_class, tenant] = known
        return known

    def _resizable(self, api: ApiName, links: list[BackendLink], plans: tuple[Plan, ...]) -> tuple[str, ...]:
        if api not in ("chat", "completions") or not any(plan.goes_on for plan in plans):
            return ()
        return tuple(each.name for each in links if each.name in self._reserving and each.dialect.path(api) is not None)

    def apis(self, model: str) -> list[ApiName]:
        """The APIs by which the model can be asked, in its default class."""
        links = self.candidates(model, self._fleet.default_class)
        spoken = {api for link in links for api in link.dialect.paths}
        return [api for api, near in _NEAREST.items() if api in spoken or spoken.intersection(near)]


def _beyond(known: _Candidates, request: GatewayRequest, pools: frozenset[str]) -> list[str]:
    """Backends outside of the pools that the caller may use."""
    if known.pools and pools.isdisjoint(known.pools):
        error = Forbidden(
            f"this key or tenant may not use the pools that serve such requests: {', '.join(known.pools)}"
        )
        request.refusal = encode_error(error, request.api)
    return [name for pool, names in known.pools.items() if pool not in pools for name in names]


def _too_small(contexts: tuple[tuple[int, tuple[str, ...]], ...], input_tokens: int) -> list[str]:
    """Backends whose context is smaller than the input is estimated to be, if another's is not.

    An estimate refuses nobody: where all are too small by it, the backend says what it counts.
    """
    if input_tokens > contexts[-1][0]:
        return []
    return [name for context, names in contexts if context < input_tokens for name in names]


def _accepts(dialect: Dialect, max_output_tokens: int) -> Accepts:
    return Accepts(
        custom_tools=dialect.custom_tools,
        developer_role=dialect.developer_role,
        reasoning_field=dialect.past_reasoning,
        extensions=dialect.extensions,
        default_max_output_tokens=max_output_tokens,
    )
