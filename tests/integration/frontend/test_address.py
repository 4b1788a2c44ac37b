"""What one address serves, and what it does not let through."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from stoker.render.envoy_outer import API_PATHS
from stoker.render.frontend_input import MAX_BODY_BYTES
from tests.integration.frontend.support import FrontendRig, ask

SHOWN = (
    "envoy_cluster_upstream_cx_",
    "envoy_cluster_upstream_rq",
    "envoy_http_downstream_",
    "envoy_server_",
)
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Once"}]},
    "/v1/completions": {"prompt": "Once"},
    "/v1/embeddings": {"input": ["Once"]},
    "/v1/responses": {"input": "Once"},
}


async def test_zero_replicas_answer_models_and_health_and_hold_nothing(
    frontend: Callable[..., FrontendRig],
) -> None:
    rig = frontend()
    async with aiohttp.ClientSession() as session:
        health = await ask(session, rig, "/healthz", method="GET")
        models = await ask(session, rig, "/v1/models", method="GET")
        model = await ask(session, rig, "/v1/models/small", method="GET")
        assert (health.status, models.status, model.status) == (200, 200, 200)
        assert [entry["id"] for entry in models.json["data"]] == ["tiny", "small"]
        assert model.json["object"] == "model"

        unknown = await ask(session, rig, body={"model": "other", "prompt": "x"})
        assert (unknown.status, unknown.json["error"]["code"]) == (404, "model_not_found")
        assert "tiny or small" in unknown.json["error"]["message"]
        for body, word in (({"prompt": "x"}, "model"), ("no JSON", "JSON")):
            wrong = await ask(session, rig, body=body)
            assert wrong.status == 400
            assert word in wrong.json["error"]["message"]
        for path in ("/tokenize", "/metrics", "/v1/load_lora_adapter", "/v1/completions/../../x"):
            hidden = await ask(session, rig, path, body={"model": "tiny"})
            assert (hidden.status, hidden.json["error"]["code"]) == (404, "not_found")
        async with session.get(f"{rig.ops}/stats") as answer:
            assert answer.status == 404
        load = await rig.load()
        assert (load.active, load.held, load.requests_total) == (0, 0, 0)


async def test_api_paths_pass_and_reserved_headers_do_not(
    frontend: Callable[..., FrontendRig], address: Callable[[], str]
) -> None:
    rig = frontend()
    rig.add_engine("passing", address())
    async with aiohttp.ClientSession() as session:
        for path in API_PATHS:
            answer = await ask(session, rig, path, body={"model": "small", **BODIES[path]})
            assert (answer.status, answer.engine) == (200, "passing"), answer.text
            assert not [name for name in answer.headers if name.startswith("x-stoker")]
        sent = {
            "x-gateway-destination-endpoint": "192.0.2.1:80",
            "X-Gateway-Inference-Objective": "other",
            "x-gateway-inference-fairness-id": "mine",
            "x-envoy-retry-on": "5xx",
            "x-stoker-retry": "1",
            "x-own": "kept",
        }
        answer = await ask(session, rig, headers=sent)
        seen = json.loads(answer.headers["x-seen-headers"])
        assert answer.engine == "passing"
        assert seen["x-own"] == "kept"
        assert seen["x-gateway-destination-endpoint"].startswith("127.")
        assert not {name.lower() for name in sent} & (
            set(seen) - {"x-own", "x-gateway-destination-endpoint"}
        )


async def test_prometheus_finds_requests_by_code_and_nothing_else_of_envoy(
    frontend: Callable[..., FrontendRig], address: Callable[[], str]
) -> None:
    rig = frontend()
    rig.add_engine("counted", address())
    async with aiohttp.ClientSession() as session:
        assert (await ask(session, rig)).status == 200
        assert (await ask(session, rig, body={"model": "other", "prompt": "x"})).status == 404
        async with session.get(f"{rig.ops}/metrics") as answer:
            assert answer.status == 200
            text = await answer.text()
        async with session.post(f"{rig.ops}/metrics") as answer:
            assert answer.status == 404
    track, api = 'envoy_cluster_name="track_stable"', 'envoy_http_conn_manager_prefix="api"'
    for line in (
        f'envoy_cluster_upstream_rq{{envoy_response_code="200",{track}}} 1',
        f"envoy_cluster_upstream_rq_active{{{track}}} 0",
        f'envoy_http_downstream_rq_xx{{envoy_response_code_class="4",{api}}} 1',
        f"envoy_http_downstream_rq_total{{{api}}} 2",
    ):
        assert f"{line}\n" in text
    assert f"envoy_http_downstream_rq_time_count{{{api}}}" in text  # filled every few seconds
    told = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if line[:1] != "#"}
    assert not [name for name in told if not name.startswith(SHOWN)]
    assert len(text) < 32 * 1024


async def test_large_bodies_pass_and_larger_ones_are_refused(
    frontend: Callable[..., FrontendRig], address: Callable[[], str]
) -> None:
    rig = frontend()
    rig.add_engine("large", address())
    async with aiohttp.ClientSession() as session:
        eight = await ask(session, rig, prompt="x" * (8 << 20))
        assert eight.status == 200
        assert int(eight.headers["x-body-bytes"]) > 8 << 20
        refused = await ask(session, rig, prompt="x" * MAX_BODY_BYTES)
        assert (refused.status, refused.json["error"]["code"]) == (413, "too_large")


async def test_tokens_of_a_stream_pass_one_by_one(
    frontend: Callable[..., FrontendRig], address: Callable[[], str]
) -> None:
    rig = frontend()
    rig.add_engine("streaming", address(), seconds=2, tokens=8)
    async with aiohttp.ClientSession() as session:
        await ask(session, rig)  # the picker knows the pod
        body = {"model": "tiny", "prompt": "Once", "stream": True}
        began = time.monotonic()
        async with session.post(f"{rig.url}/v1/completions", json=body) as answer:
            arrivals = [time.monotonic() - began async for line in answer.content if line.strip()]
    assert len(arrivals) == 9
    assert arrivals[0] < 1.0
    gaps = [later - earlier for earlier, later in itertools.pairwise(arrivals)]
    assert max(gaps) < 1.0


@pytest.mark.parametrize("notified", [True, False])
async def test_first_request_after_silence_tells_the_operator(
    frontend: Callable[..., FrontendRig], *, notified: bool
) -> None:
    calls: list[str] = []

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append((await reader.readline()).decode())
        writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(receive, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        if not notified:
            server.close()
        rig = frontend(notify=f"localhost:{port}", hold=2.0)
        async with aiohttp.ClientSession() as session:
            held = [asyncio.create_task(ask(session, rig)) for _ in range(3)]
            await rig.wait_held(3)
            assert [answer.status for answer in await asyncio.gather(*held)] == [503] * 3
    # One call a worker thread at most; the others came right after it.
    assert len(calls) in ((1, 2) if notified else (0,))
    assert all(f"POST /notify/team/{rig.given.service} " in call for call in calls)
