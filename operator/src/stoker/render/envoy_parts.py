"""What Envoy's configuration says more than once: listeners, clusters, filters."""

from typing import Any, Final

from stoker.render.timeouts import seconds

Json = dict[str, Any]

TYPE: Final = "type.googleapis.com/envoy"
# Circuit breakers count per Envoy; the picker limits what is held, engines limit themselves.
UNLIMITED: Final = 1_000_000
_HTTP: Final = f"{TYPE}.extensions.filters.network.http_connection_manager.v3"
_SOCKETS: Final = f"{TYPE}.extensions.transport_sockets"


def local_cluster(name: str, port: int) -> Json:
    """A server in this pod."""
    return _cluster(name, address("127.0.0.1", port))


def internal_cluster(name: str) -> Json:
    """A listener inside this Envoy."""
    cluster = _cluster(name, {"envoy_internal_address": {"server_listener_name": name}})
    cluster["transport_socket"] = {
        "name": "envoy.transport_sockets.internal_upstream",
        "typed_config": {
            "@type": f"{_SOCKETS}.internal_upstream.v3.InternalUpstreamTransport",
            "transport_socket": {
                "name": "envoy.transport_sockets.raw_buffer",
                "typed_config": {"@type": f"{_SOCKETS}.raw_buffer.v3.RawBuffer"},
            },
        },
    }
    return cluster


def _cluster(name: str, address: Json) -> Json:
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": unlimited(),
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def unlimited() -> Json:
    """Circuit breakers that never open."""
    keys = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    return {"thresholds": [dict.fromkeys(keys, UNLIMITED)]}


def http_options(explicit: Json, idle_s: float | None = None) -> Json:
    """How to speak HTTP to a cluster."""
    options: Json = {
        "@type": f"{TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": explicit,
    }
    if idle_s is not None:
        options["common_http_protocol_options"] = {"idle_timeout": seconds(idle_s)}
    return {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}


def connection_manager(
    name: str,
    *,
    routes: list[Json],
    filters: list[Json],
    host: Json | None = None,
    config: Json | None = None,
) -> Json:
    """HTTP on a listener; `host` and `config` add to its virtual host and route configuration."""
    only_host = {"name": name, "domains": ["*"], **(host or {}), "routes": routes}
    return {
        "@type": f"{_HTTP}.HttpConnectionManager",
        "stat_prefix": name,
        "server_header_transformation": "PASS_THROUGH",
        "route_config": {"name": name, **(config or {}), "virtual_hosts": [only_host]},
        "http_filters": filters,
    }


def network_filter(manager: Json) -> Json:
    """The network filter around a connection manager."""
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": manager,
    }


def listener(name: str, manager: Json, port: int | None = None) -> Json:
    """A listener beside the API: on a port, or inside Envoy."""
    where: Json = (
        {"internal_listener": {}} if port is None else {"address": address("0.0.0.0", port)}  # noqa: S104
    )
    return {
        "name": name,
        **where,
        "ignore_global_conn_limit": True,
        "filter_chains": [{"filters": [network_filter(manager)]}],
    }


def router(*, suppress_envoy_headers: bool = False) -> Json:
    """The last filter of every chain."""
    config: Json = {"@type": f"{TYPE}.extensions.filters.http.router.v3.Router"}
    if suppress_envoy_headers:
        config["suppress_envoy_headers"] = True
    return {"name": "envoy.filters.http.router", "typed_config": config}


def method_is(name: str) -> Json:
    """A header match on the method."""
    return {"name": ":method", "string_match": {"exact": name}}


def address(host: str, port: int) -> Json:
    """A TCP address."""
    return {"socket_address": {"address": host, "port_value": port}}
