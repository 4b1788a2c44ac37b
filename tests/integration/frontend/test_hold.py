"""Requests that wait for a replica: they get one, or words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from charts.observability.recording import HOLD_TIMES
from stoker.naming import Track
from tests.integration.frontend.support import FrontendRig, ask


async def test_held_requests_are_answered_when_a_replica_comes(
    frontend: Callable[..., FrontendRig], address: Callable[[], str]
) -> None:
    rig = frontend()
    async with aiohttp.ClientSession() as session:
        held = [asyncio.create_task(ask(session, rig)) for _ in range(5)]
        await rig.wait_held(5)
        leaving = asyncio.create_task(ask(session, rig))
        await rig.wait_held(6)
        leaving.cancel()
        await rig.wait_held(5)  # a client that leaves is not held any longer
        async with session.get(
            f"http://127.0.0.1:{rig.given.ports.stable.metrics}/metrics"
        ) as page:
            lines = [line for line in (await page.text()).splitlines() if "queue_size{" in line]
        assert [line.rsplit(" ", 1)[1] for line in lines] == ["5"], lines
        rig.add_engine("coming", address())
        assert {(a.status, a.engine) for a in await asyncio.gather(*held)} == {(200, "coming")}
        await rig.wait_held(0)


async def test_full_queue_and_hold_time_over_are_said_in_words(
    frontend: Callable[..., FrontendRig],
) -> None:
    rig = frontend(hold=3.0, max_held=3)
    async with aiohttp.ClientSession() as session:
        held = [asyncio.create_task(ask(session, rig)) for _ in range(3)]
        await rig.wait_held(3)
        full = await ask(session, rig)
        assert (full.status, full.json["error"]["code"]) == (429, "queue_full")
        assert full.headers["retry-after"] == "5"
        assert full.seconds < 1
        for late in await asyncio.gather(*held):
            assert (late.status, late.json["error"]["code"]) == (503, "hold_timeout")
            assert late.headers["retry-after"] == "10"
            assert 2.9 < late.seconds < 5
        # Neither was tried again.
        assert (await rig.load()).requests_total == 4
        # What the recording rule of hold times reads, and the alert on them.
        page_of = f"http://127.0.0.1:{rig.given.ports.stable.metrics}/metrics"
        async with session.get(page_of) as page:
            families = text_string_to_metric_families(await page.text())
        ends = {
            sample.labels["outcome"]: sample.value
            for family in families
            for sample in family.samples
            if sample.name == f"{HOLD_TIMES}_count"
        }
        assert ends == {"RejectedCapacity": 1, "EvictedTTL": 3}


async def test_requests_survive_the_end_of_their_picker(
    frontend: Callable[..., FrontendRig], address: Callable[[], str]
) -> None:
    rig = frontend()
    async with aiohttp.ClientSession() as session:
        held = [asyncio.create_task(ask(session, rig)) for _ in range(4)]
        await rig.wait_held(4)
        rig.end_picker()
        await asyncio.sleep(0.5)
        rig.start_picker(Track.STABLE)
        await rig.wait_held(4)
        rig.add_engine("late", address())
        assert [answer.status for answer in await asyncio.gather(*held)] == [200] * 4


async def test_burst_stays_at_the_frontend_for_replicas_to_come(
    frontend: Callable[..., FrontendRig], address: Callable[[], str]
) -> None:
    rig = frontend(max_held=500)
    connector = aiohttp.TCPConnector(limit=400)
    async with aiohttp.ClientSession(connector=connector) as session:
        held = [asyncio.create_task(ask(session, rig)) for _ in range(300)]
        await rig.wait_held(300)
        rig.add_engine("first", address(), slots=8, seconds=0.5)
        await asyncio.sleep(2)
        assert (await rig.behave("first"))["most_waiting"] < 150
        rig.add_engine("second", address(), slots=200)
        answers = await asyncio.gather(*held)
        assert {answer.status for answer in answers} == {200}
        assert sum(answer.engine == "second" for answer in answers) > 50
