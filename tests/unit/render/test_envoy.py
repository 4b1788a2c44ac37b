from __future__ import annotations

import dataclasses
import json
from typing import Any

from stoker.naming import Track
from stoker.render.envoy import bootstrap, render_envoy
from stoker.render.envoy_drain import drain_script
from stoker.render.envoy_outer import API_PATHS, ENGINE_HEADER, RESERVED_HEADERS, RETRY_HEADER
from stoker.render.frontend_input import FrontendPorts, TrackWeight
from tests.unit.render.test_frontend import ONE, TWO


def test_text_is_the_value() -> None:
    assert json.loads(render_envoy(TWO)) == bootstrap(TWO)


def test_one_track_has_no_weights_and_two_have_theirs() -> None:
    assert _actions(ONE)[0]["cluster"] == "track_stable"
    split = _actions(TWO)[0]["weighted_clusters"]["clusters"]
    assert split == [
        {"name": "track_stable", "weight": 90},
        {"name": "track_candidate", "weight": 10},
    ]


def test_only_marked_answers_are_tried_again() -> None:
    for action in _actions(TWO):
        policy = action["retry_policy"]
        assert "5xx" not in policy["retry_on"]
        assert [header["name"] for header in policy["retriable_headers"]] == [
            RETRY_HEADER,
            ENGINE_HEADER,
        ]
    inner = _manager("track_stable")["local_reply_config"]["mappers"]
    marked = [
        mapper["filter"]
        for mapper in inner
        if any(h["header"]["key"] == RETRY_HEADER for h in mapper["headers_to_add"])
    ]
    statuses = [f["status_code_filter"]["comparison"] for f in marked if "status_code_filter" in f]
    assert [status["op"] for status in statuses] == ["GE"]  # 500 and above, after 429 and 503


def test_reserved_headers_are_taken_from_clients_and_marks_are_kept_from_them() -> None:
    manager = _manager("api")
    mutations = manager["early_header_mutation_extensions"][0]["typed_config"]["mutations"]
    prefixes = [m["remove_on_match"]["key_matcher"]["prefix"] for m in mutations]
    assert tuple(prefixes) == RESERVED_HEADERS
    hidden = manager["route_config"]["response_headers_to_remove"]
    assert hidden == [RETRY_HEADER, ENGINE_HEADER]


def test_every_api_path_asks_for_method_and_model() -> None:
    routes = _manager("api")["route_config"]["virtual_hosts"][0]["routes"]
    proxied = [route for route in routes if "route" in route]
    assert [route["match"]["path"] for route in proxied] == list(API_PATHS)
    assert all(route["match"]["dynamic_metadata"] for route in proxied)
    assert routes[-1]["match"] == {"prefix": "/"}
    assert routes[-1]["direct_response"]["status"] == 404


def test_admin_stays_on_loopback() -> None:
    address = bootstrap(ONE)["admin"]["address"]["socket_address"]
    assert address["address"] == "127.0.0.1"
    names = [entry["name"] for entry in bootstrap(ONE)["static_resources"]["listeners"]]
    assert names == ["api", "track_stable", "ops", "drain", "pause"]


def test_tracks_do_not_share_a_port() -> None:
    ports = FrontendPorts()
    stable, candidate = (dataclasses.astuple(ports.track(track)) for track in Track)
    all_ports = [*stable, *candidate, ports.api, ports.ops, ports.drain, ports.admin]
    assert len(set(all_ports)) == len(all_ports)


def test_drain_script_knows_its_times() -> None:
    script = drain_script(ONE.timeouts)
    assert "for second = 1, 735 do" in script
    assert "second >= 15 and" in script
    assert "LIMIT" not in script


def test_weight_without_revision_takes_all_pods() -> None:
    assert TrackWeight(Track.STABLE).revision is None


def _manager(listener: str) -> dict[str, Any]:
    for entry in bootstrap(ONE)["static_resources"]["listeners"]:
        if entry["name"] == listener:
            manager: dict[str, Any] = entry["filter_chains"][0]["filters"][0]["typed_config"]
            return manager
    raise AssertionError(listener)


def _actions(given: Any) -> list[dict[str, Any]]:
    for entry in bootstrap(given)["static_resources"]["listeners"]:
        if entry["name"] == "api":
            manager = entry["filter_chains"][0]["filters"][0]["typed_config"]
            routes = manager["route_config"]["virtual_hosts"][0]["routes"]
            return [route["route"] for route in routes if "route" in route]
    raise AssertionError
