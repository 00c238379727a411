"""A configuration for Envoy that puts headrace in front of the backends of a fleet.

One listener; one filter that asks headrace; one cluster that holds every backend. The cluster's subsets have one
endpoint each, and the endpoint that headrace names, in the metadata `envoy.lb`, is the subset: so a host name, a port
and TLS are the cluster's affair, and what has no such endpoint gets no backend. No route has a time limit and no
attempt is retried here, because the engine decides both.

Source: Envoy 1.40, api/envoy/extensions/filters/http/ext_proc/v3/ext_proc.proto; docs "Load Balancer Subsets".
"""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import urlsplit

from headrace.epp.ext_proc import SERVICE
from headrace.epp.messages import ENDPOINT
from headrace.fleet import Backend, Fleet

TYPE = "type.googleapis.com/envoy."
FLEET, PICKERS = "fleet", "headrace"
CONNECT_TIMEOUT = "5s"
LONGEST_HOLD = "3600s"  # of a request whose backend has yet to be picked; the engine's own limits are shorter
HEALTH_S = "1s"
TLS = "tls"
SPARE_REQUESTS = 1024

Table = dict[str, Any]


class Places(NamedTuple):
    """Where Envoy listens, and what it finds where.

    Attributes:
        listen, admin: `host:port` of the listener for clients, and of Envoy's own admin page.
        pickers: `host:port` of each `headrace epp`.
        ca_file: certificates that backends are checked by, on Envoy's machine.
    """

    listen: str
    admin: str
    pickers: tuple[str, ...]
    ca_file: str


def bootstrap(fleet: Fleet, places: Places) -> Table:
    """The configuration, as JSON says it. Raises ValueError: an address is not `host:port`."""
    return {
        "admin": {"address": _address(places.admin)},
        "static_resources": {
            "listeners": [_listener(places.listen)],
            "clusters": [_fleet(fleet, places.ca_file), _pickers(fleet, places.pickers)],
        },
    }


def _listener(listen: str) -> Table:
    route = {"match": {"prefix": "/"}, "route": {"cluster": FLEET, "timeout": "0s"}}
    hosts = [{"name": FLEET, "domains": ["*"], "routes": [route]}]
    router = _typed("extensions.filters.http.router.v3.Router", suppress_envoy_headers=True)
    manager = _typed(
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="clients",
        use_remote_address=True,
        stream_idle_timeout="0s",
        route_config={"name": FLEET, "virtual_hosts": hosts},
        http_filters=[
            {"name": "envoy.filters.http.ext_proc", "typed_config": _processor()},
            {"name": "envoy.filters.http.router", "typed_config": router},
        ],
    )
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {"name": "clients", "address": _address(listen), "filter_chains": [{"filters": filters}]}


def _processor() -> Table:
    both = ("request", "response")
    mode = {f"{side}_{part}_mode": "SEND" for side in both for part in ("header", "trailer")}
    mode |= {f"{side}_body_mode": "FULL_DUPLEX_STREAMED" for side in both}
    return _typed(
        "extensions.filters.http.ext_proc.v3.ExternalProcessor",
        grpc_service={"envoy_grpc": {"cluster_name": PICKERS}},
        processing_mode=mode,
        message_timeout=LONGEST_HOLD,
        failure_mode_allow=False,
        status_on_error={"code": "ServiceUnavailable"},
        mutation_rules={"allow_all_routing": True, "allow_envoy": True},
        metadata_options={
            "receiving_namespaces": {"untyped": ["envoy.lb"]},
            "forwarding_namespaces": {"untyped": ["envoy.lb.subset_hint"]},
        },
        response_attributes=["response.code_details"],
    )


def _fleet(fleet: Fleet, ca_file: str) -> Table:
    found = {_endpoint_of(backend.url): backend for backend in fleet.backends}
    http = _typed(
        "extensions.upstreams.http.v3.HttpProtocolOptions",
        explicit_http_config={"http_protocol_options": {}},
        upstream_http_protocol_options={"auto_sni": True, "auto_san_validation": True},
    )
    sockets = [
        {"name": endpoint, "match": {TLS: endpoint}, "transport_socket": _secured(backend, ca_file)}
        for endpoint, backend in found.items()
        if _is_secure(backend)
    ]
    return {
        **_cluster(FLEET, [_backend(endpoint, _is_secure(backend)) for endpoint, backend in found.items()], http),
        "lb_subset_config": {"fallback_policy": "NO_FALLBACK", "subset_selectors": [{"keys": [ENDPOINT]}]},
        "circuit_breakers": _at_most(_in_flight(fleet)),
        **({"transport_socket_matches": sockets} if sockets else {}),
    }


def _secured(backend: Backend, ca_file: str) -> Table:
    """TLS to a backend, by its own files where the fleet file names some."""
    context: Table = {"validation_context": {"trusted_ca": {"filename": backend.ca_file or ca_file}}}
    if backend.client_certificate_file is not None:
        certificate, key = backend.client_certificate_file, backend.client_key_file or backend.client_certificate_file
        files = {"certificate_chain": {"filename": certificate}, "private_key": {"filename": key}}
        context["tls_certificates"] = [files]
    secure = _typed("extensions.transport_sockets.tls.v3.UpstreamTlsContext", common_tls_context=context)
    return {"name": "envoy.transport_sockets.tls", "typed_config": secure}


def _backend(endpoint: str, secured: bool) -> Table:
    metadata: Table = {"envoy.lb": {ENDPOINT: endpoint}}
    if secured:
        metadata["envoy.transport_socket_match"] = {TLS: endpoint}
    return {"endpoint": {"address": _address(endpoint)}, "metadata": {"filter_metadata": metadata}}


def _is_secure(backend: Backend) -> bool:
    return urlsplit(backend.url).scheme == "https"


def _in_flight(fleet: Fleet) -> int:
    return sum(backend.max_in_flight for backend in fleet.backends)


def _at_most(requests: int) -> Table:
    """Limits of a cluster that so many requests stay below: the engine decides who waits, and who is turned away."""
    names = ("max_connections", "max_pending_requests", "max_requests")
    return {"thresholds": [dict.fromkeys(names, requests + SPARE_REQUESTS)]}


def _pickers(fleet: Fleet, addresses: tuple[str, ...]) -> Table:
    """Each request holds a stream from its head to its end; those that wait do so too, in the queue of their picker.

    Requests go to the healthy pickers, however few they are: Envoy's panic threshold would also ask the others.
    """
    http2 = _typed(
        "extensions.upstreams.http.v3.HttpProtocolOptions", explicit_http_config={"http2_protocol_options": {}}
    )
    check = {
        "timeout": HEALTH_S,
        "interval": HEALTH_S,
        "no_traffic_interval": HEALTH_S,
        "unhealthy_threshold": 1,
        "healthy_threshold": 1,
        "grpc_health_check": {"service_name": SERVICE},
    }
    cluster = _cluster(PICKERS, [{"endpoint": {"address": _address(each)}} for each in addresses], http2)
    return {
        **cluster,
        "health_checks": [check],
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "circuit_breakers": _at_most(_in_flight(fleet) + len(addresses) * fleet.limits.queue_depth),
    }


def _cluster(name: str, endpoints: list[Table], protocol: Table) -> Table:
    return {
        "name": name,
        "type": "STRICT_DNS",
        "connect_timeout": CONNECT_TIMEOUT,
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    }


def _typed(name: str, **fields: Any) -> Table:
    return {"@type": TYPE + name, **fields}


def _endpoint_of(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _address(place: str) -> Table:
    host, colon, port = place.rpartition(":")
    if not colon or not host or not port.isdigit():
        raise ValueError(f"{place!r} is no address: write host:port")
    return {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}
