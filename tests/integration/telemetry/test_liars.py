"""What pods may answer, over real sockets: nothing of it moves a replica, and it is all told."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from stoker.autoscale import Policy, Sample, decide
from stoker.clock import SystemClock
from stoker.model import reasons
from stoker.model.moment import Moment
from stoker.model.observed import Key, ObservedPod
from stoker.model.scale import History, ScaleDecision
from stoker.naming import Component
from stoker.render.frontend_input import PATH_LOAD, FrontendPorts
from stoker.telemetry.metrics import Metrics
from stoker.telemetry.sampler import Samplers
from stoker.telemetry.scrape import BODY_LIMIT, Scraper
from stoker_worker import contract

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stoker.model.load import Load

KEY = Key("chat", "llama")
POLICY = Policy(min_replicas=1, max_replicas=8, queue_target=4, concurrency=8)
LINES = 'vllm:num_requests_running{engine="0"} 2.0\nvllm:num_requests_waiting{engine="0"} 30.0\n'
GOOD = (
    'stoker_worker_load_info{contract="1",pod="engine",uid="uid-engine",version="9.9"} 1\n' + LINES
)
_ADDRESSES = (f"127.{os.getpid() % 250 + 2}.251.{number}" for number in itertools.count(1))


def pod(name: str, component: Component, ip: str) -> ObservedPod:
    return ObservedPod(
        name=name,
        uid=f"uid-{name}",
        component=component,
        revision="r",
        phase="Running",
        ready=True,
        deleting=False,
        ip=ip,
        node="n",
        created=0.0,
        restarts=0,
        scheduled=True,
        unschedulable=None,
    )


@dataclass
class World:
    """One service whose pods answer what the test says."""

    pods: list[ObservedPod] = field(default_factory=list)
    page: str | bytes | None = GOOD  # the worker's; None hangs
    status: int = 200
    whole: str = ""  # the engine's own
    requests: float = 40.0
    asked: list[str] = field(default_factory=list)
    looked: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve_engine(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if request.path == contract.PATH_METRICS:
            return web.Response(text=self.whole)
        if self.page is None:
            await asyncio.sleep(5)
        return web.Response(body=self.page, status=self.status)

    async def serve_frontend(self, _: web.Request) -> web.Response:
        values = {
            "track_stable.upstream_rq_active": 32,
            "engines_stable.upstream_rq_active": 32,
            "track_stable.upstream_rq_total": self.requests,
        }
        stats = [{"name": f"cluster.{name}", "value": value} for name, value in values.items()]
        return web.Response(text=json.dumps({"stats": stats}))


async def start(stack: AsyncExitStack, address: str, port: int, path: str, answer: object) -> None:
    application = web.Application()
    application.router.add_get(path, answer)  # type: ignore[arg-type]
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, address, port).start()


def run(story: Callable[[World, Samplers], Awaitable[None]]) -> None:
    """A story with one frontend and one engine."""

    async def whole() -> None:
        world = World()
        front, engine = next(_ADDRESSES), next(_ADDRESSES)
        world.pods = [
            pod("front", Component.FRONTEND, front),
            pod("engine", Component.ENGINE, engine),
        ]
        async with AsyncExitStack() as stack:
            await start(stack, front, FrontendPorts().ops, PATH_LOAD, world.serve_frontend)
            worker, own = contract.WORKER_PORT, contract.ENGINE_PORT
            await start(stack, engine, worker, contract.PATH_LOAD, world.serve_engine)
            await start(stack, engine, own, contract.PATH_METRICS, world.serve_engine)
            scraper = Scraper()
            stack.push_async_callback(scraper.close)
            samplers = Samplers(
                scraper, SystemClock(), lambda _: world.pods, lambda _: world.looked.set()
            )
            stack.push_async_callback(samplers.close)
            await story(world, samplers)

    asyncio.run(whole())


async def look(world: World, samplers: Samplers) -> Load:
    """One whole look from now on."""
    samplers.ensure(KEY, wanted=False)
    world.looked.clear()
    samplers.ensure(KEY, wanted=True)
    await asyncio.wait_for(world.looked.wait(), 60)
    load = samplers.latest(KEY)
    assert load is not None
    return load


def judge(load: Load, wanted: int = 1) -> ScaleDecision:
    return decide(POLICY, History(), Sample(wanted, 1, load), Moment(load.time, load.time))


def reason(decision: ScaleDecision) -> str:
    assert decision.activity is not None
    return decision.activity.reason


def test_an_honest_queue_moves_replicas() -> None:
    async def story(world: World, samplers: Samplers) -> None:
        load = await look(world, samplers)
        assert load.complete, load.problems
        assert judge(load).replicas > 1

    run(story)


LIES: dict[str, tuple[str | bytes | None, int, str]] = {
    "another pod": (GOOD.replace('pod="engine"', 'pod="thief"'), 200, "answers at its address"),
    "a pod of the same name": (GOOD.replace("uid-engine", "uid-old"), 200, "answers at its addre"),
    "not a number": (GOOD.replace("30.0", "NaN"), 200, "vllm:num_requests_waiting is NaN"),
    "infinite": (GOOD.replace("30.0", "+Inf"), 200, "vllm:num_requests_waiting is inf"),
    "negative": (GOOD.replace("30.0", "-4"), 200, "vllm:num_requests_waiting is -4.0"),
    "half a line": (GOOD.rstrip()[:-8], 200, "vllm:num_requests_waiting"),
    "an error page": ("<html><h1>502 Bad Gateway</h1></html>", 200, "no page of metrics"),
    "an error": ("", 500, "HTTP 500"),
    "a worker whose engine is silent": ("", 503, "its engine does not answer its worker"),
    "no text": (b"\xff\xfe\x00\x01" * 100, 200, "no page of metrics"),
    "huge": (b"x" * (BODY_LIMIT + 10), 200, f"an answer of more than {BODY_LIMIT} bytes"),
    "a thousand ranks": (GOOD + LINES * 600, 200, "lines of metrics where a few are expected"),
    "nothing": (None, 200, "no answer within 1 s"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_moves_nothing_and_names_the_pod(lie: str) -> None:
    async def story(world: World, samplers: Samplers) -> None:
        world.page, world.status, words = LIES[lie]
        load = await look(world, samplers)
        assert not load.complete
        decision = judge(load, wanted=3)
        assert decision.replicas == 3
        assert not decision.active
        assert reason(decision) == reasons.METRICS_MISSING
        assert decision.activity is not None
        assert words in decision.activity.message
        assert "engine pod engine" in decision.activity.message

    run(story)


def test_a_missing_series_is_its_own_reason() -> None:
    async def story(world: World, samplers: Samplers) -> None:
        world.page = GOOD.replace("num_requests_waiting", "num_requests_queued")
        decision = judge(await look(world, samplers), wanted=3)
        assert decision.replicas == 3
        assert reason(decision) == reasons.METRIC_MISSING
        assert decision.activity is not None
        for words in ("vllm:num_requests_waiting", "engine pod engine", "9.9", "engine version"):
            assert words in decision.activity.message

    run(story)


def test_a_pod_that_went_does_not_linger() -> None:
    async def story(world: World, samplers: Samplers) -> None:
        load = await look(world, samplers)
        uids = {each.name: each.uid for each in world.pods}
        assert load.of_pods(uids) is load
        world.pods = [world.pods[0], replace(world.pods[1], uid="uid-next", name="engine")]
        kept = load.of_pods({each.name: each.uid for each in world.pods})
        assert kept.engines == ()
        world.pods = world.pods[:1]
        assert (await look(world, samplers)).engines == ()

    run(story)


def test_a_counter_that_begins_anew_is_no_negative_rate() -> None:
    async def story(world: World, samplers: Samplers) -> None:
        world.page = GOOD.replace("30.0", "0.0")
        history, wanted, time = History(), 1, 0.0
        for requests in (4_000_000.0, 4_000_001.0, 0.0, 2.0):
            world.requests = requests
            load = replace(await look(world, samplers), time=time)
            found = decide(POLICY, history, Sample(wanted, 1, load), Moment(time, time))
            history, time = found.history, time + 2
        assert history.arrivals[-1][1] == 3.0  # one before it began anew, two after

    run(story)


def test_an_older_worker_is_asked_once_and_its_engine_from_then_on() -> None:
    async def story(world: World, samplers: Samplers) -> None:
        world.status, world.whole = 404, LINES
        for _ in range(3):
            load = await look(world, samplers)
            assert load.complete, load.problems
            assert load.waiting == 30
        assert world.asked == [contract.PATH_LOAD, *[contract.PATH_METRICS] * 3]
        # Another pod has another worker.
        world.pods[1] = replace(world.pods[1], uid="uid-next")
        world.status, world.page = 200, GOOD.replace("uid-engine", "uid-next")
        assert (await look(world, samplers)).complete
        assert world.asked[-1] == contract.PATH_LOAD

    run(story)


def test_blindness_is_counted_and_the_blind_are_named() -> None:
    class Later(SystemClock):
        ahead = 0.0

        def monotonic(self) -> float:
            return super().monotonic() + self.ahead

    async def story(world: World, _: Samplers) -> None:
        clock, scraper = Later(), Scraper()
        samplers = Samplers(scraper, clock, lambda _: world.pods, lambda _: world.looked.set())
        world.page = "<html>"
        await look(world, samplers)
        assert samplers.blind() == []  # not yet
        clock.ahead = 40.0
        ((seconds, key),) = samplers.blind()
        assert key == KEY
        assert 40 <= seconds < 60
        metrics = Metrics()
        metrics.tell_blind([(seconds, Key("ns", f"s{number}")) for number in range(200)])
        told = metrics.expose().decode()
        assert "stoker_scaling_blind_services 200.0" in told
        assert told.count("\nstoker_scaling_blind_seconds{") == 50
        await samplers.close()
        await scraper.close()

    run(story)
