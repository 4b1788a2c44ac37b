"""Collecting and deciding for 1,000 services of 5 replicas: processor time, and how late it is.

    python -m benchmarks.collect [--services 1000] [--replicas 5] [--busy 0.1] [--seconds 60]

Pods are addresses on loopback, served by two other processes: recorded pages of a worker and of a
frontend whose counters move at known times. On this side runs what the operator runs: the HTTP
client, the parser, the samplers with their pace, the server that takes hints, and the decision
with its history, once for each look that wakes it. What a pass does beside (objects, status) is in
no number here.

Busy services count a request twice a second and compute all the time. Idle ones have replicas and
nothing to do; a tenth of them gets a request each 20 s, whose frontend pushes a hint. One service
in ten beyond those is at zero and gets its first request during the run, with a hint too. A change
is late by the time from its moment at the pod to the decision that knows of it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import random
import re
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import aiohttp
import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import options_of, p50_p99, report, resident_mib
from e2e.load import percentile
from stoker.autoscale import Policy, Sample, decide
from stoker.clock import SystemClock
from stoker.model.moment import Moment
from stoker.model.observed import Key, ObservedPod
from stoker.model.scale import History
from stoker.naming import Component
from stoker.render.envoy_notify import PATH_NOTIFY
from stoker.render.frontend_input import FrontendPorts
from stoker.telemetry.hints import Hints
from stoker.telemetry.metrics import Metrics
from stoker.telemetry.sampler import Samplers
from stoker.telemetry.scrape import Scraper
from stoker.telemetry.server import Server
from stoker_worker.contract import WORKER_PORT
from stoker_worker.engines.vllm import Vllm
from stoker_worker.loadpage import Identity, Lines, render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stoker.model.load import Load

RECORDED = Path(__file__).parents[1] / "tests" / "unit" / "worker" / "data" / "metrics.txt"
HINTS_PORT = 18080
EVERY_S = 0.5  # of a busy service's requests
NOW_AND_THEN_S = 20.0  # of the requests of an idle one
POLICY = Policy(min_replicas=0, max_replicas=20, queue_target=4, concurrency=64)
_BUCKETS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


@dataclass(frozen=True)
class Service:
    """One service of the run; the times of its requests follow from it."""

    number: int
    kind: str  # busy, idle, seldom, zero
    replicas: int
    phase: float  # seconds after the beginning

    @property
    def key(self) -> Key:
        return Key("bench", f"s{self.number}")

    @property
    def addresses(self) -> list[str]:
        """Of the frontend, then of the engines."""
        first = self.number * 8
        return [
            f"127.{100 + at // 62_500}.{at // 250 % 250 + 1}.{at % 250 + 1}"
            for at in range(first, first + 1 + self.replicas)
        ]

    def requests(self, now: float) -> int:
        """How many it had, so many seconds after the beginning."""
        if self.kind == "idle" or now < self.phase:
            return 0
        if self.kind == "zero":
            return 1
        every = EVERY_S if self.kind == "busy" else NOW_AND_THEN_S
        return 1 + int((now - self.phase) / every)

    def moment(self, request: int) -> float:
        """When that request came; the first is 1."""
        every = {"busy": EVERY_S, "seldom": NOW_AND_THEN_S}.get(self.kind, 0.0)
        return self.phase + (request - 1) * every

    def active(self, now: float) -> int:
        """Requests in progress: always some, none, for half a second after one came, held."""
        if self.kind == "busy":
            return 40 + self.requests(now) % 3
        if self.kind == "seldom":
            return int(now >= self.phase and (now - self.phase) % NOW_AND_THEN_S < EVERY_S)
        return self.requests(now)


def services_of(options: argparse.Namespace) -> list[Service]:
    """Busy and idle ones in that share, and a tenth as many at zero."""
    count, replicas, busy = options.services, options.replicas, options.busy
    chance, found = random.Random(1), []
    for number in range(count):
        kind = "busy" if number < count * busy else "idle" if number % 10 else "seldom"
        phase = chance.random() * (NOW_AND_THEN_S if kind == "seldom" else EVERY_S)
        found.append(Service(number, kind, replicas, phase))
    return found + [
        Service(count + number, "zero", 0, options.warm + options.seconds * 0.9 * chance.random())
        for number in range(count // 10)
    ]


def pods_of(service: Service) -> tuple[ObservedPod, ...]:
    """As the watches would have them."""

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

    front, *engines = service.addresses
    name = service.key.name
    return (
        pod(f"{name}-frontend", Component.FRONTEND, front),
        *(pod(f"{name}-engine-{n}", Component.ENGINE, ip) for n, ip in enumerate(engines)),
    )


# The pods' side: processes of their own.


def engine_page(pod: str) -> list[str]:
    """A worker's page in two halves, between which the number of running requests belongs."""
    text = re.sub(r"(num_requests_waiting\{.*\}) .*", r"\1 0.0", RECORDED.read_text())
    for name in ("time_to_first_token_seconds", "inter_token_latency_seconds"):
        text += "".join(
            f'vllm:{name}_bucket{{engine="0",le="{le}",model_name="tiny"}} 4711.0\n'
            for le in (*_BUCKETS, "+Inf")
        )
    body = Vllm().load_lines(text.replace("_running{", "_running{RUNNING").encode())
    identity = Identity(pod, f"uid-{pod}", "vllm", 1_790_000_000.0)
    page = render(identity, "0.32.0", Lines(body, 0.0), 0.0)
    start, _, rest = page.partition("RUNNING")
    labels, _, rest = rest.partition("} ")
    return [f"{start}{labels}}} ", rest[rest.index("\n") :]]


def frontend_page(active: int, held: int, total: int) -> str:
    """Envoy's statistics."""
    values = {
        "cluster.engines_candidate.upstream_rq_active": 0,
        "cluster.engines_stable.upstream_rq_active": active - held,
        "cluster.track_candidate.upstream_rq_active": 0,
        "cluster.track_candidate.upstream_rq_retry": 0,
        "cluster.track_candidate.upstream_rq_total": 0,
        "cluster.track_stable.upstream_rq_active": active,
        "cluster.track_stable.upstream_rq_retry": 0,
        "cluster.track_stable.upstream_rq_total": total,
    }
    return json.dumps({"stats": [{"name": n, "value": v} for n, v in values.items()]})


class Pod(asyncio.Protocol):
    """Answers every request with its page of this moment."""

    def __init__(self, service: Service, begun: float, halves: list[str] | None) -> None:
        self.service, self.begun, self.halves = service, begun, halves

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic() - self.begun
        active = self.service.active(now)
        if self.halves is not None:
            share = active // self.service.replicas
            body = f"{self.halves[0]}{share}.0{self.halves[1]}"
        else:
            held = active if self.service.kind == "zero" else 0
            body = frontend_page(active, held, self.service.requests(now))
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
        for _ in range(data.count(b"\r\n\r\n")):
            self.transport.write((head + body).encode())


async def serve(services: Sequence[Service], begun: float, ready: object, *, engines: bool) -> None:
    """All frontends with their hints, or all engines."""
    loop = asyncio.get_running_loop()
    for service in services:
        front, *others = service.addresses
        if not engines:
            await loop.create_server(partial(Pod, service, begun, None), front, FrontendPorts().ops)
        for number, address in enumerate(others if engines else ()):
            halves = engine_page(f"{service.key.name}-engine-{number}")
            await loop.create_server(
                partial(Pod, service, begun, halves),
                address,
                WORKER_PORT,
            )
    ready.set()  # type: ignore[attr-defined]
    if engines:
        await asyncio.Event().wait()
    async with aiohttp.ClientSession() as session:
        pushing = [s for s in services if s.kind in {"seldom", "zero"}]
        await asyncio.gather(*(push(session, service, begun) for service in pushing))
        await asyncio.Event().wait()


async def push(session: aiohttp.ClientSession, service: Service, begun: float) -> None:
    """The frontend's hint at each request that comes after silence."""
    key, request = service.key, 1
    url = f"http://127.0.0.1:{HINTS_PORT}{PATH_NOTIFY}/{key.namespace}/{key.name}"
    while True:
        await asyncio.sleep(max(0.0, begun + service.moment(request) - time.monotonic()))
        if service.requests(time.monotonic() - begun) >= request:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.post(url) as answer:
                    await answer.read()
            request += 1
        if service.kind == "zero":
            return


def pods_process(
    services: Sequence[Service], begun: float, ready: object, *, engines: bool
) -> None:
    uvloop.run(serve(services, begun, ready, engines=engines))


# The operator's side.


@dataclass
class Decider:
    """Decides at every wake, as a pass does, and notes how late it knew of each change."""

    services: dict[Key, Service]
    begun: float
    histories: dict[Key, History] = field(default_factory=dict)
    wanted: dict[Key, int] = field(default_factory=dict)
    known: dict[Key, int] = field(default_factory=dict)
    late: dict[str, list[float]] = field(default_factory=dict)
    decisions: int = 0
    incomplete: int = 0
    problem: str = ""
    samplers: Samplers | None = None

    def wake(self, key: Key) -> None:
        assert self.samplers is not None
        load = self.samplers.latest(key)
        if load is not None:
            asyncio.get_running_loop().call_soon(self.decide, self.services[key], load)

    def decide(self, service: Service, load: Load) -> None:
        clock, key = SystemClock(), service.key
        now = Moment(clock.monotonic(), clock.unix())
        wanted = self.wanted.get(key, service.replicas)
        sample = Sample(wanted, service.replicas, load)
        found = decide(POLICY, self.histories.get(key, History()), sample, now)
        self.histories[key], self.decisions = found.history, self.decisions + 1
        if not load.complete:
            self.incomplete += 1
            self.problem = load.problems[0]
            return
        if service.kind == "zero":
            if wanted == 0 and found.replicas > 0:
                self.note(service, 1)
                self.wanted[key] = found.replicas
            return
        told = round(load.requests_total)
        for request in range(self.known.get(key, told) + 1, told + 1):
            self.note(service, request)
        self.known[key] = told

    def note(self, service: Service, request: int) -> None:
        late = time.monotonic() - self.begun - service.moment(request)
        self.late.setdefault(service.kind, []).append(late)


async def collect(
    services: list[Service], begun: float, warm: float, seconds: float
) -> dict[str, object]:
    decider = Decider({service.key: service for service in services}, begun)
    pods = {service.key: pods_of(service) for service in services}
    scraper = Scraper()
    pages = 0
    get = scraper.get

    async def counted(url: str) -> str:
        nonlocal pages
        pages += 1
        return await get(url)

    scraper.get = counted  # type: ignore[method-assign]
    samplers = Samplers(scraper, SystemClock(), pods.__getitem__, decider.wake)
    decider.samplers = samplers
    hints = Hints(samplers.hint, lambda _: None, lambda: "")
    server = Server(Metrics(), lambda: None, lambda: None, hints)
    await server.start("127.0.0.1", HINTS_PORT)
    for service in services:
        samplers.ensure(service.key, wanted=True)
        await asyncio.sleep(0)
    # Idle services are known to be idle after a while, and asked rarely from then on.
    await asyncio.sleep(max(0.0, begun + warm - time.monotonic()))
    decider.late.clear()
    decider.decisions = pages = decider.incomplete = 0
    cpu, wall = time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    spent, lasted = time.process_time() - cpu, time.monotonic() - wall
    result: dict[str, object] = {
        "core": spent / lasted,
        "pagesPerSecond": pages / lasted,
        "decisionsPerSecond": decider.decisions / lasted,
        "incomplete": decider.incomplete,
        "memoryMiB": resident_mib(os.getpid()),
        "problem": decider.problem,
        "late": decider.late,
    }
    for key in pods:
        samplers.ensure(key, wanted=False)
    await samplers.close()
    await server.close()
    await scraper.close()
    return result


def main() -> int:
    parser = options_of(__doc__)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--replicas", type=int, default=5)
    parser.add_argument("--busy", type=float, default=0.1, help="share of services with requests")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--warm", type=float, default=110.0, help="seconds before it is measured")
    options = parser.parse_args()
    services = services_of(options)
    context = multiprocessing.get_context("spawn")
    begun = time.monotonic() + 15.0
    ready = [context.Event(), context.Event()]
    others = [
        context.Process(
            target=pods_process,
            args=(services, begun, event),
            kwargs={"engines": bool(side)},
            daemon=True,
        )
        for side, event in enumerate(ready)
    ]
    for process in others:
        process.start()
    try:
        for event in ready:
            assert event.wait(120), "the pods do not answer"
        found = uvloop.run(collect(services, begun, options.warm, options.seconds))
    finally:
        for process in others:
            process.kill()
            process.join()
    late: dict[str, list[float]] = found["late"]  # type: ignore[assignment]
    words = {"busy": "a busy service", "seldom": "an idle one's request", "zero": "0 → 1"}
    rows = [
        ("processor time", f"{found['core']:.2f} of a core", "≤ 1 core"),
        ("memory of this process", f"{found['memoryMiB']:.0f} MiB", ""),
        ("pages read", f"{found['pagesPerSecond']:.0f} per second", ""),
        ("decisions", f"{found['decisionsPerSecond']:.0f} per second", ""),
        ("of them without a complete sample", f"{found['incomplete']} {found['problem']}", ""),
        *(
            (
                f"{words[kind]} → decision, {len(values)} times",
                f"{p50_p99(values)}, most {max(values):.2f} s",
                "p99 ≤ 1 s" if kind == "zero" else "p99 ≤ 2 s",
            )
            for kind, values in sorted(late.items())
        ),
    ]
    numbers = {
        **{name: value for name, value in found.items() if name != "late"},
        "services": len(services),
        "busy": options.busy,
        "late": {
            kind: {
                "count": len(values),
                "p50": percentile(values, 50),
                "p99": percentile(values, 99),
            }
            for kind, values in late.items()
        },
    }
    title = f"{options.services} services of {options.replicas} replicas, {options.busy:.0%} busy"
    report(title, rows, numbers, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
