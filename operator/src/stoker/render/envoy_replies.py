"""What clients read when no engine answers: OpenAI's error shape, always with a way out."""

import json
from collections.abc import Mapping
from typing import Any, Final

from stoker.quantity import format_duration
from stoker.render.envoy_parts import TYPE
from stoker.render.frontend_input import MAX_BODY_BYTES, FrontendInput

Json = dict[str, Any]

RETRY_FULL_S: Final = 5
RETRY_HELD_S: Final = 10
# No engine saw the request: connection refused or timed out, or no such host.
_UNSENT_FLAGS: Final = ("UF", "UH", "NC", "NR", "DF")
# An engine may have seen it: reset, ended or timed out before the first byte.
_BROKEN_FLAGS: Final = ("UC", "UR", "LR", "UT", "URX", "UPE")


def error(message: str, kind: str, code: str | None, *, param: str | None = None) -> Json:
    """An error in OpenAI's shape."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def model(name: str) -> Json:
    """One entry of the list of models. Its creation time is unknown, and zero says so."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "stoker"}


def models(names: tuple[str, ...]) -> Json:
    """The answer to GET /v1/models."""
    return {"object": "list", "data": [model(name) for name in names]}


def direct(match: Json, status: int, body: Mapping[str, Any]) -> Json:
    """A route that Envoy answers itself."""
    return {
        "match": match,
        "direct_response": {"status": status, "body": {"inline_string": _compact(body)}},
        "response_headers_to_add": [
            {
                "header": {"key": "content-type", "value": "application/json"},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        ],
    }


def outer_replies() -> Json:
    """What the outer pass says itself."""
    too_large = (
        f"The request body is larger than {MAX_BODY_BYTES // 1024 // 1024} MiB: make it smaller."
    )
    return {
        "mappers": [
            _mapper(
                _status("EQ", 413), 413, error(too_large, "invalid_request_error", "too_large")
            ),
            _mapper(
                _status("GE", 500),
                503,
                error("The frontend could not reach a replica: try again.", "server_error", None),
                retry_after=RETRY_FULL_S,
            ),
        ]
    }


def inner_replies(given: FrontendInput, retry_header: str, first_attempts: Json) -> Json:
    """What the inner pass says when the picker or the way to an engine fails."""
    hold = format_duration(given.timeouts.hold)
    gone = error(
        "No replica could be reached: try again. If this lasts, look at the service's conditions.",
        "server_error",
        "replica_unreachable",
    )
    full = error(
        f"Too many requests wait for a replica ({given.frontend.max_held} per frontend pod): try "
        "again later, or raise scaling.maxReplicas or frontend.maxHeld.",
        "rate_limit_error",
        "queue_full",
    )
    late = error(
        f"No replica was ready within {hold}: try again later, look at the service's conditions, "
        "or raise frontend.holdTimeout.",
        "server_error",
        "hold_timeout",
    )
    unsent = {"response_flag_filter": {"flags": list(_UNSENT_FLAGS)}}
    broken = {"response_flag_filter": {"flags": list(_BROKEN_FLAGS)}}
    again = {"and_filter": {"filters": [broken, {"header_filter": {"header": first_attempts}}]}}
    return {
        "mappers": [
            _mapper(unsent, 503, gone, retry_after=RETRY_FULL_S, mark=retry_header),
            _mapper(again, 503, gone, retry_after=RETRY_FULL_S, mark=retry_header),
            _mapper(broken, 503, gone, retry_after=RETRY_FULL_S),
            _mapper(_status("EQ", 429), 429, full, retry_after=RETRY_FULL_S),
            _mapper(_status("EQ", 503), 503, late, retry_after=RETRY_HELD_S),
            _mapper(
                _status("EQ", 400),
                400,
                error("%LOCAL_REPLY_BODY%", "invalid_request_error", "invalid_request"),
            ),
            # The picker ended, or failed inside.
            _mapper(_status("GE", 500), 503, gone, retry_after=RETRY_FULL_S, mark=retry_header),
        ]
    }


def access_log(*, everything: bool) -> Json:
    """A line of JSON for each request, or for each that ended with a server error.

    For a unary request, `duration_us / 1000 - upstream_service_ms` is the frontend's own share.
    """
    log: Json = {
        "name": "envoy.access_loggers.stdout",
        "typed_config": {
            "@type": f"{TYPE}.extensions.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": {
                "json_format": {
                    "time": "%START_TIME%",
                    "request_id": "%REQ(X-REQUEST-ID)%",
                    "method": "%REQ(:METHOD)%",
                    "path": "%REQ(:PATH)%",
                    "status": "%RESPONSE_CODE%",
                    "flags": "%RESPONSE_FLAGS%",
                    "details": "%RESPONSE_CODE_DETAILS%",
                    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
                    "duration_us": "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%",
                    "first_byte_us": "%COMMON_DURATION(DS_RX_BEG:DS_TX_BEG:us)%",
                    "upstream_service_ms": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
                    "request_bytes": "%BYTES_RECEIVED%",
                    "response_bytes": "%BYTES_SENT%",
                }
            },
        },
    }
    if not everything:
        log["filter"] = _status("GE", 500)
    return log


def _mapper(
    when: Json, status: int, body: Json, *, retry_after: int | None = None, mark: str | None = None
) -> Json:
    headers = [("content-type", "application/json")]
    if retry_after is not None:
        headers.append(("retry-after", str(retry_after)))
    if mark is not None:
        headers.append((mark, "1"))
    return {
        "filter": when,
        "status_code": status,
        "headers_to_add": [
            {
                "header": {"key": key, "value": value},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
            for key, value in headers
        ],
        "body_format_override": {"json_format": body},
    }


def _status(comparison: str, value: int) -> Json:
    return {
        "status_code_filter": {
            "comparison": {
                "op": comparison,
                "value": {"default_value": value, "runtime_key": f"stoker.status_{value}"},
            }
        }
    }


def _compact(body: Mapping[str, Any]) -> str:
    return json.dumps(body, separators=(",", ":")) + "\n"
