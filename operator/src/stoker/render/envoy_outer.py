"""The outer pass: what clients may ask, for which model, on which track, and when to try again."""

from typing import Any, Final

from stoker.render import envoy_replies
from stoker.render.envoy_notify import notify_filter
from stoker.render.envoy_parts import (
    TYPE,
    address,
    connection_manager,
    method_is,
    network_filter,
    router,
)
from stoker.render.frontend_input import MAX_BODY_BYTES, FrontendInput
from stoker.render.timeouts import seconds

Json = dict[str, Any]

API_PATHS: Final = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")
# Headers that steer Envoy, the picker or us: never a client's.
RESERVED_HEADERS: Final = ("x-gateway-", "x-envoy-", "x-stoker-")
# The inner pass's marks; see `envoy`.
RETRY_HEADER: Final = "x-stoker-retry"
ENGINE_HEADER: Final = "x-stoker-engine"
MODEL_NAMESPACE: Final = "stoker"
MODEL_MISSING: Final = "(missing)"
MODEL_INVALID: Final = "(invalid)"

# Beyond the first. With the pauses below they last 8 s on average: a dead pod leaves the choices
# after two (its metrics are stale then), and a picker is started again in a few.
ATTEMPTS: Final = 12
RETRY_PAUSE_S: Final = 0.1
RETRY_PAUSE_MAX_S: Final = 2.0
_EARLY: Final = f"{TYPE}.extensions.http.early_header_mutation.header_mutation.v3"


def api_listener(given: FrontendInput) -> Json:
    """The listener that clients reach."""
    filters = [] if given.notify is None else [notify_filter(given)]
    manager = connection_manager(
        "api",
        routes=_routes(given),
        filters=[*filters, _model_filter(), router(suppress_envoy_headers=True)],
        host={"include_request_attempt_count": True},
        config={
            "response_headers_to_remove": [RETRY_HEADER, ENGINE_HEADER],
            "max_direct_response_body_size_bytes": 65536,
        },
    )
    manager |= {
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "use_remote_address": True,
        "always_set_request_id_in_response": True,
        "stream_idle_timeout": seconds(given.timeouts.stream_idle),
        "request_headers_timeout": "10s",
        "request_timeout": "300s",  # to receive a request, not to answer it
        "http2_protocol_options": {"max_concurrent_streams": 1024},
        "common_http_protocol_options": {"idle_timeout": "300s"},
        "early_header_mutation_extensions": [_strip_reserved_headers()],
        "local_reply_config": envoy_replies.outer_replies(),
        "access_log": [envoy_replies.access_log(everything=given.access_log)],
    }
    return {
        "name": "api",
        "address": address("0.0.0.0", given.ports.api),  # noqa: S104
        "per_connection_buffer_limit_bytes": MAX_BODY_BYTES,
        "filter_chains": [{"filters": [network_filter(manager)]}],
    }


def _routes(given: FrontendInput) -> list[Json]:
    names = " or ".join(given.served_names)
    api = [{"path": path} for path in API_PATHS]
    models = [
        envoy_replies.direct(
            {"path": "/v1/models", "headers": [method_is("GET")]},
            200,
            envoy_replies.models(given.served_names),
        ),
        *(
            envoy_replies.direct(
                {"path": f"/v1/models/{name}", "headers": [method_is("GET")]},
                200,
                envoy_replies.model(name),
            )
            for name in given.served_names
        ),
    ]
    post = [method_is("POST")]
    return [
        envoy_replies.direct({"path": "/healthz"}, 200, {"status": "ok"}),
        *models,
        *(
            {
                "match": {**match, "headers": post, "dynamic_metadata": [_model_is(names_match)]},
                "route": _action(given),
            }
            for match in api
            for names_match in [_any_of(given.served_names)]
        ),
        *(
            envoy_replies.direct(
                {**match, "headers": post, "dynamic_metadata": [_model_is({"exact": value})]},
                400,
                envoy_replies.error(message, "invalid_request_error", None, param="model"),
            )
            for match in api
            for value, message in (
                (MODEL_MISSING, f'The request names no model: set "model" to {names}.'),
                (MODEL_INVALID, "The request body is not a JSON object."),
            )
        ),
        *(
            envoy_replies.direct(
                {**match, "headers": post},
                404,
                envoy_replies.error(
                    f'This address does not serve the requested model: set "model" to {names}.',
                    "invalid_request_error",
                    "model_not_found",
                    param="model",
                ),
            )
            for match in api
        ),
        envoy_replies.direct(
            {"prefix": "/"},
            404,
            envoy_replies.error(
                f"Nothing is served here. Use POST {', '.join(API_PATHS)} or GET /v1/models.",
                "invalid_request_error",
                "not_found",
            ),
        ),
    ]


def _action(given: FrontendInput) -> Json:
    weights = [(f"track_{track.track.value}", track.weight) for track in given.tracks]
    target: Json = (
        {"cluster": weights[0][0]}
        if len(weights) == 1
        else {
            "weighted_clusters": {
                "clusters": [{"name": name, "weight": weight} for name, weight in weights]
            }
        }
    )
    return {
        **target,
        "timeout": "0s",
        "retry_policy": {
            "retry_on": "connect-failure,refused-stream,reset,retriable-headers",
            "num_retries": ATTEMPTS,
            "retriable_headers": [
                {"name": RETRY_HEADER, "present_match": True},
                {"name": ENGINE_HEADER, "string_match": {"safe_regex": {"regex": "50[0234]"}}},
            ],
            "retry_back_off": {
                "base_interval": seconds(RETRY_PAUSE_S),
                "max_interval": seconds(RETRY_PAUSE_MAX_S),
            },
        },
    }


def _strip_reserved_headers() -> Json:
    return {
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": {
            "@type": f"{_EARLY}.HeaderMutation",
            "mutations": [
                {"remove_on_match": {"key_matcher": {"prefix": prefix, "ignore_case": True}}}
                for prefix in RESERVED_HEADERS
            ],
        },
    }


def _model_filter() -> Json:
    """Read the model's name from the body; this buffers it, as retries do anyway."""

    def to(value: str | None = None) -> Json:
        target = {"metadata_namespace": MODEL_NAMESPACE, "key": "model"}
        return target if value is None else {**target, "value": value}

    return {
        "name": "envoy.filters.http.json_to_metadata",
        "typed_config": {
            "@type": f"{TYPE}.extensions.filters.http.json_to_metadata.v3.JsonToMetadata",
            "request_rules": {
                "rules": [
                    {
                        "selectors": [{"key": "model"}],
                        "on_present": to(),
                        "on_missing": to(MODEL_MISSING),
                        "on_error": to(MODEL_INVALID),
                    }
                ],
                "allow_content_types_regex": {"regex": ".*"},
                "allow_empty_content_type": True,
            },
        },
    }


def _model_is(value: Json) -> Json:
    return {
        "filter": MODEL_NAMESPACE,
        "path": [{"key": "model"}],
        "value": {"string_match": value} if "or_match" not in value else value,
    }


def _any_of(names: tuple[str, ...]) -> Json:
    if len(names) == 1:
        return {"exact": names[0]}
    return {"or_match": {"value_matchers": [{"string_match": {"exact": name}} for name in names]}}
