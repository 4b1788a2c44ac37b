"""The proxy's configuration: two passes through one Envoy, as in docs/adr/0004-frontend.md.

    client ─► api (outer) ─► track_<t> ─► internal listener (inner) ─ext_proc─► picker
                │ paths, model names,       │ each attempt asks the picker again:
                │ weights, retries          │ a new pick or a new hold
                └ /v1/models, /healthz      └► engines_<t> (the address that the picker named)

Whether an attempt is tried again is decided where it is known. The inner pass marks its answer:
`x-stoker-retry` when no engine answered (connection refused or reset, picker gone), and
`x-stoker-engine` with the status when an engine did. The outer pass repeats marked answers only,
so a picker's own 429 and 503 (queue full, hold time over) are final.

What an engine may have seen is repeated a few times only: a draining engine says 500 to latecomers
and a killed one resets its connections, but a request that breaks every engine it meets must not
be carried to all of them.
"""

import json
from typing import Any, Final

from stoker.naming import Track
from stoker.render import envoy_drain, envoy_replies
from stoker.render.envoy_notify import notify_cluster
from stoker.render.envoy_outer import ENGINE_HEADER, RETRY_HEADER, api_listener
from stoker.render.envoy_parts import (
    TYPE,
    address,
    connection_manager,
    http_options,
    internal_cluster,
    listener,
    local_cluster,
    method_is,
    router,
    unlimited,
)
from stoker.render.frontend_input import (
    PATH_LIVE,
    PATH_LOAD,
    PATH_METRICS,
    PATH_READY,
    FrontendInput,
    TrackWeight,
)
from stoker.render.timeouts import seconds

Json = dict[str, Any]

ENDPOINT_HEADER: Final = "x-gateway-destination-endpoint"
# Attempts after which an engine that answered 5xx, or broke off, may be followed by another.
BROKEN_ATTEMPTS: Final = 4
# vLLM closes an idle connection after 5 s; leaving first spares an attempt.
ENGINE_IDLE_S: Final = 3.0
# Clients' connections; the inner hops and the ops port do not count.
MAX_CONNECTIONS: Final = 10_000
# What `/load` says, about 300 bytes: requests in progress in the outer pass and those that have an
# engine. The difference is held; it agrees with the picker's own gauge without that page's 130 KB.
# The total counts every attempt, retries too, so that it never falls.
_LOAD_STATS: Final = r"^cluster\.(track|engines)_[a-z]+\.upstream_rq_(active|total)$"
# What `/metrics` says, some 10 KB of Envoy's 100: requests by code, times, retries, what is in
# progress, broken connections, and the process.
_SHOWN_STATS: Final = (
    r"^(http\.api\.downstream_(rq_(total|active|time|timeout|[1-5]xx|rx_reset|tx_reset)|cx_active)"
    r"|cluster\.(track|engines|picker)_[a-z]+\.upstream_"
    r"(rq_(active|total|time|timeout|retry|retry_success|retry_limit_exceeded|[1-5]xx|[1-5][0-9]{2}"
    r"|pending_failure_eject|pending_overflow|rx_reset|tx_reset)"
    r"|cx_(active|connect_fail|connect_timeout))"
    r"|server\.(live|uptime|memory_allocated|memory_physical_size))$"
)


def render_envoy(given: FrontendInput) -> str:
    """Envoy's configuration as JSON; equal inputs give equal bytes.

    YAML would read better, but writing it takes a hundred times longer, and this runs in every
    pass of every service.
    """
    return json.dumps(bootstrap(given), indent=1)


def bootstrap(given: FrontendInput) -> Json:
    """Envoy's configuration as a value."""
    inner = [_inner_listener(given, track) for track in given.tracks]
    clusters = [local_cluster("admin", given.ports.admin), internal_cluster(envoy_drain.PAUSE)]
    for track in given.tracks:
        name = track.track.value
        clusters += [
            internal_cluster(f"track_{name}"),
            _engines_cluster(given, name),
            _picker_cluster(given, track.track),
        ]
    if given.notify is not None:
        clusters.append(notify_cluster(given.notify))
    return {
        "admin": {"address": address("127.0.0.1", given.ports.admin)},
        "bootstrap_extensions": [
            {
                "name": "envoy.bootstrap.internal_listener",
                "typed_config": {
                    "@type": f"{TYPE}.extensions.bootstrap.internal_listener.v3.InternalListener"
                },
            }
        ],
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": f"{TYPE}.extensions.resource_monitors.downstream_connections"
                        ".v3.DownstreamConnectionsConfig",
                        "max_active_downstream_connections": MAX_CONNECTIONS,
                    },
                }
            ]
        },
        "static_resources": {
            "listeners": [
                api_listener(given),
                *inner,
                _ops_listener(given),
                _drain_listener(given),
                _pause_listener(),
            ],
            "clusters": clusters,
        },
    }


def _inner_listener(given: FrontendInput, track: TrackWeight) -> Json:
    name = track.track.value
    to_engine: Json = {"cluster": f"engines_{name}", "timeout": "0s"}
    few_attempts = _first_attempts()
    mark = {"header": {"key": ENGINE_HEADER, "value": "%RESPONSE_CODE%"}}
    manager = connection_manager(
        f"inner_{name}",
        routes=[
            {
                "match": {"prefix": "/", "headers": [few_attempts]},
                "route": to_engine,
                "response_headers_to_add": [mark],
            },
            {"match": {"prefix": "/"}, "route": to_engine},
        ],
        filters=[_picker_filter(given, name), router()],
    )
    manager |= {
        "stream_idle_timeout": seconds(given.timeouts.stream_idle),
        "preserve_external_request_id": True,
        "local_reply_config": envoy_replies.inner_replies(given, RETRY_HEADER, _first_attempts()),
    }
    return listener(f"track_{name}", manager)


def _first_attempts() -> Json:
    """Matches requests that have not been tried often."""
    regex = f"[1-{BROKEN_ATTEMPTS}]"
    return {"name": "x-envoy-attempt-count", "string_match": {"safe_regex": {"regex": regex}}}


def _picker_filter(given: FrontendInput, name: str) -> Json:
    """Ask the picker with headers and body; the answer passes without it."""
    return {
        "name": "envoy.filters.http.ext_proc",
        "typed_config": {
            "@type": f"{TYPE}.extensions.filters.http.ext_proc.v3.ExternalProcessor",
            "grpc_service": {"envoy_grpc": {"cluster_name": f"picker_{name}"}},
            "message_timeout": seconds(given.timeouts.message),
            "status_on_error": {"code": "BadGateway"},
            "processing_mode": {
                "request_header_mode": "SEND",
                "request_body_mode": "FULL_DUPLEX_STREAMED",
                "request_trailer_mode": "SEND",
                "response_header_mode": "SKIP",
                "response_body_mode": "NONE",
                "response_trailer_mode": "SKIP",
            },
        },
    }


def _ops_listener(given: FrontendInput) -> Json:
    health = {
        "name": "envoy.filters.http.health_check",
        "typed_config": {
            "@type": f"{TYPE}.extensions.filters.http.health_check.v3.HealthCheck",
            "pass_through_mode": False,
            "headers": [{"name": ":path", "string_match": {"exact": PATH_READY}}],
        },
    }
    load = f"/stats?format=json&filter={_LOAD_STATS}"
    # A plus or a percent sign in it would have to be written as in a URL; there is none.
    shown = f"/stats/prometheus?filter={_SHOWN_STATS}"
    routes = [
        envoy_replies.direct({"path": PATH_LIVE}, 200, {"status": "ok"}),
        {
            "match": {"path": PATH_LOAD, "headers": [method_is("GET")]},
            "route": {"cluster": envoy_drain.ADMIN, "prefix_rewrite": load, "timeout": "5s"},
        },
        {
            "match": {"path": PATH_METRICS, "headers": [method_is("GET")]},
            "route": {"cluster": envoy_drain.ADMIN, "prefix_rewrite": shown, "timeout": "5s"},
        },
    ]
    manager = connection_manager("ops", routes=routes, filters=[health, router()])
    return listener("ops", manager, given.ports.ops)


def _drain_listener(given: FrontendInput) -> Json:
    script = {
        "name": "envoy.filters.http.lua",
        "typed_config": {
            "@type": f"{TYPE}.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": envoy_drain.drain_script(given.timeouts)},
        },
    }
    manager = connection_manager("drain", routes=[], filters=[script, router()])
    manager["stream_idle_timeout"] = "0s"
    return listener("drain", manager, given.ports.drain)


def _pause_listener() -> Json:
    routes = [envoy_replies.direct({"prefix": "/"}, 200, {})]
    manager = connection_manager(
        "pause", routes=routes, filters=[envoy_drain.pause_filter(), router()]
    )
    return listener(envoy_drain.PAUSE, manager)


def _engines_cluster(given: FrontendInput, name: str) -> Json:
    return {
        "name": f"engines_{name}",
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": seconds(given.timeouts.connect),
        "original_dst_lb_config": {"use_http_header": True, "http_header_name": ENDPOINT_HEADER},
        "circuit_breakers": unlimited(),
        "typed_extension_protocol_options": http_options(
            {"http_protocol_options": {}}, idle_s=ENGINE_IDLE_S
        ),
    }


def _picker_cluster(given: FrontendInput, track: Track) -> Json:
    cluster = local_cluster(f"picker_{track.value}", given.ports.track(track).grpc)
    cluster["typed_extension_protocol_options"] = http_options({"http2_protocol_options": {}})
    return cluster
