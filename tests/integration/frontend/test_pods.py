"""Which pods get requests: tracks, selectors, and pods that come and go."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable

import aiohttp

from stoker.naming import Track
from stoker.render.frontend import render_pool
from tests.integration.frontend.support import NAMESPACE, FrontendRig, TrackWeight, ask


async def test_two_tracks_split_by_weight_and_pools_follow_their_selector(
    frontend: Callable[..., FrontendRig], address: Callable[[], str]
) -> None:
    tracks = (
        TrackWeight(Track.STABLE, 90, revision="r1"),
        TrackWeight(Track.CANDIDATE, 10, revision="r2"),
    )
    rig = frontend(tracks=tracks)
    rig.add_engine("old", address(), revision="r1")
    rig.add_engine("new", address(), revision="r2")
    async with aiohttp.ClientSession() as session:
        await asyncio.sleep(0.5)
        split = Counter([(await ask(session, rig)).engine for _ in range(500)])
        assert 20 <= split["new"] <= 85, split
        assert split["old"] == 500 - split["new"]

        rig.plane.apply(render_pool(rig.given, TrackWeight(Track.STABLE, revision="r2")))
        deadline = time.monotonic() + 5
        while {(await ask(session, rig)).engine for _ in range(5)} != {"new"}:
            assert time.monotonic() < deadline


async def test_pods_that_end_get_nothing_new(
    frontend: Callable[..., FrontendRig], address: Callable[[], str]
) -> None:
    rig = frontend()
    rig.add_engine("staying", address())
    async with aiohttp.ClientSession() as session:
        for name, command in (
            (
                "unready",
                (
                    "patch",
                    "pod",
                    "unready",
                    "--subresource=status",
                    "--type=merge",
                    "-p",
                    json.dumps({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}),
                ),
            ),
            ("deleted", ("delete", "pod", "deleted", "--wait=false")),
        ):
            rig.add_engine(name, address())
            seen: list[float] = []
            failed: list[int] = []
            stop = asyncio.Event()

            async def work(
                name: str = name,
                seen: list[float] = seen,
                failed: list[int] = failed,
                stop: asyncio.Event = stop,
            ) -> None:
                while not stop.is_set():
                    answer = await ask(session, rig)
                    if answer.engine == name:
                        seen.append(time.monotonic())
                    if answer.status != 200:
                        failed.append(answer.status)

            workers = [asyncio.create_task(work()) for _ in range(4)]
            await asyncio.sleep(1)
            assert seen
            await asyncio.to_thread(rig.plane.kubectl, *command, "-n", NAMESPACE)
            gone = time.monotonic()
            await asyncio.sleep(1.5)
            stop.set()
            await asyncio.gather(*workers)
            assert seen[-1] - gone < 1.0
            assert not failed
