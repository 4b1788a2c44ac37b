"""What a scrape of the operator with 1,000 services costs: bytes, time, and whom it delays.

    python -m benchmarks.scrape [--services 1000] [--rounds 20]

Every service has an object with a real status: planned for an accelerator, ready, scaled, its
starts measured. The operator's own server answers over loopback; the formats take turns.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import aiohttp

from benchmarks.common import options_of, report
from e2e.load import median
from stoker.clock import SystemClock
from stoker.cluster.freshness import Freshness
from stoker.cluster.kinds import SERVICE, WATCHED
from stoker.cluster.store import Store
from stoker.reconcile.figures import Figures
from stoker.reconcile.refresh import Refresh
from stoker.telemetry.cachemetrics import CacheMetrics
from stoker.telemetry.costmetrics import CostMetrics
from stoker.telemetry.hints import Hints
from stoker.telemetry.metrics import Metrics
from stoker.telemetry.sampler import Samplers
from stoker.telemetry.scrape import Scraper
from stoker.telemetry.server import Server
from tests.support.controlplane import LOOPBACK, free_port
from tests.unit.plan import worlds

if TYPE_CHECKING:
    from stoker.cluster.lease import Leadership

OPEN = "application/openmetrics-text;version=1.0.0"
FORMATS = {
    "text": {"Accept-Encoding": "identity"},
    "text, gzip": {"Accept-Encoding": "gzip"},
    "OpenMetrics": {"Accept": OPEN, "Accept-Encoding": "identity"},
    "OpenMetrics, gzip": {"Accept": OPEN, "Accept-Encoding": "gzip"},
}
SPEC = {
    "model": {"uri": "pvc://models/llama"},
    "accelerator": {"types": ["nvidia-l4"]},
    "scaling": {"minReplicas": 1, "maxReplicas": 8},
}


@dataclass(slots=True)
class Leads:
    """All that a scrape asks of the leadership."""

    leads: bool = True


@dataclass(slots=True)
class Seen:
    """What the rounds of one format took."""

    size: int = 0
    waited_ms: list[float] = field(default_factory=list)
    processor_ms: list[float] = field(default_factory=list)
    delayed_ms: list[float] = field(default_factory=list)


def settled() -> worlds.World:
    """A service that is as most are most of the time."""
    world = worlds.World(worlds.spec(**SPEC), worlds.PLANNING)
    world.kv_tokens = 60_000
    world.settle()
    return world


def status_of(world: worlds.World) -> dict[str, Any]:
    """Its status, with the starts of its replicas."""
    startup = {"nodeSeconds": 95.0, "imageSeconds": 41.0, "loadSeconds": 63.5}
    found = {**world.status, "startup": {"accelerator": "nvidia-l4", **startup, "starts": 4}}
    return cast("dict[str, Any]", json.loads(json.dumps(found)))


def filled(services: int, world: worlds.World) -> Store:
    """A store with so many services in forty namespaces."""
    store, told = Store(), status_of(world)
    for number in range(services):
        name = {"namespace": f"team-{number % 40}", "name": f"assistant-{number:04}"}
        metadata = {**name, "uid": f"uid-{number}", "resourceVersion": "1", "generation": 1}
        store.put(SERVICE.name, {"metadata": metadata, "spec": SPEC, "status": told})
    return store


def server_of(
    store: Store, scraper: Scraper, world: worlds.World
) -> tuple[Server, Metrics, CostMetrics]:
    """The operator's server over that store, with what a day of passes has left."""
    clock, metrics = SystemClock(), Metrics()
    freshness = Freshness(clock, WATCHED)
    for kind in WATCHED:
        freshness.heard(kind.name)
    costs, seen = CostMetrics(metrics.registry, clock, worlds.PLANNING), world.observe()
    for key in store.services():
        costs.look(replace(seen, service=replace(seen.service, key=key)), 1)
        metrics.services.decided(key, "LoadGrew", 1, 2)
        metrics.services.decided(key, "LoadShrank", 2, 1)
        metrics.observe_pass(SERVICE.name, "ok", 0.003, key=key, number=1)
    for verb in ("GET", "PATCH", "POST", "PUT"):
        metrics.observe_call(verb, "200", 0.004)
    metrics.before_scrape(
        Refresh(
            clock=clock,
            leadership=cast("Leadership", Leads()),
            store=store,
            queues={SERVICE.name: ()},
            freshness=freshness,
            samplers=Samplers(scraper, clock, lambda _: (), lambda _: None),
            figures=Figures(worlds.PLANNING, lambda _: ()),
            metrics=metrics,
            caches=CacheMetrics(metrics.registry),
        )
    )
    hints = Hints(lambda _: False, lambda _: None, str)
    return Server(metrics, lambda: None, lambda: None, hints), metrics, costs


async def watch_loop(worst: list[float]) -> None:
    """The longest time, in milliseconds, that somebody else waited for the event loop."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        worst[0] = max(worst[0], (time.perf_counter() - began) * 1000 - 1)


async def ask(session: aiohttp.ClientSession, url: str, headers: dict[str, str], to: Seen) -> None:
    """One scrape."""
    worst = [0.0]
    watching = asyncio.create_task(watch_loop(worst))
    await asyncio.sleep(0.01)
    processor, began = time.process_time(), time.perf_counter()
    async with session.get(url, headers=headers) as answer:
        body = await answer.read()
    to.waited_ms.append((time.perf_counter() - began) * 1000)
    to.processor_ms.append((time.process_time() - processor) * 1000)
    to.delayed_ms.append(worst[0])
    to.size = len(body)
    watching.cancel()


async def measure(services: int, rounds: int) -> tuple[dict[str, Seen], int, int]:
    """Every format in turn; lines in all, and lines that are left without services."""
    world, scraper = settled(), Scraper()
    store = filled(services, world)
    server, metrics, costs = server_of(store, scraper, world)
    port, seen = free_port(), {name: Seen() for name in FORMATS}
    await server.start(LOOPBACK, port)
    # What comes is what is counted, so nothing may be unpacked on the way.
    session = aiohttp.ClientSession(auto_decompress=False)
    url = f"http://{LOOPBACK}:{port}/metrics"
    try:
        for _ in range(rounds + 1):
            for name, headers in FORMATS.items():
                await ask(session, url, headers, seen[name])
        for each in seen.values():  # the first round reads every object
            del each.waited_ms[0], each.processor_ms[0], each.delayed_ms[0]
        told = [line for line in metrics.expose().splitlines() if line[:1] != b"#"]
        for key in list(store.services()):
            uid = (store.service(key) or {})["metadata"]["uid"]
            store.remove(SERVICE.name, key.namespace, key.name, uid)
            costs.forget(key)
        await metrics.page()
        left = [line for line in metrics.expose().splitlines() if b"service=" in line]
    finally:
        await session.close()
        await server.close()
        await scraper.close()
    return seen, len(told), len(left)


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    seen, lines, left = asyncio.run(measure(options.services, options.rounds))
    rows = [("lines", f"{lines:,}", ""), ("lines left without services", str(left), "0")]
    for name, each in seen.items():
        size, took = each.size / 1e6, median(each.waited_ms)
        rows += [
            (f"{name}: size", f"{size:.2f} MB", "<= 1 MB" if "gzip" in name else ""),
            (f"{name}: time, median", f"{took:.0f} ms", "<= 200 ms"),
            (f"{name}: processor", f"{median(each.processor_ms):.0f} ms", ""),
            (f"{name}: others wait, at worst", f"{median(each.delayed_ms):.0f} ms", ""),
        ]
    title = f"A scrape of the operator with {options.services} services"
    numbers = {name: asdict(each) for name, each in seen.items()}
    report(title, rows, {"lines": lines, "left": left, **numbers}, options.output)


if __name__ == "__main__":
    main()
