"""The series of cost: what they say between looks, and that none outlives its service."""

from __future__ import annotations

import gzip
from dataclasses import replace
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from stoker.catalog.capacity import Capacity
from stoker.model.observed import Key
from stoker.telemetry.costmetrics import CostMetrics
from tests.unit.cost.worlds import PLATFORM, PRICE, SPOT, at, load, look, node, pod

if TYPE_CHECKING:
    from stoker.model.observed import Observed

PACE = "0.01 0.0001 0 0.0001 0 0.03 100 1e9 1000 200"
STATUS = {"revision": "aaaa", "plan": {"pace": PACE}}
SERVICE = 'namespace="team"'


class FakeClock:
    now = 0.0

    def monotonic(self) -> float:
        return at(self.now).monotonic

    def unix(self) -> float:
        return at(self.now).unix


class Page:
    """/metrics with nothing else on it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.registry = CollectorRegistry()
        self.costs = CostMetrics(self.registry, self.clock, PLATFORM)

    def look(self, seconds: float, observed: Observed, wanted: int = 1) -> None:
        self.clock.now = seconds
        self.costs.look(observed, wanted)

    def read(self, seconds: float) -> dict[str, float]:
        """Lines at that moment: labels in alphabetical order, as the client writes them."""
        self.clock.now = seconds
        lines = generate_latest(self.registry).decode().splitlines()
        return {
            line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
            for line in lines
            if not line.startswith("#")
        }


def test_sums_go_on_between_two_looks() -> None:
    page = Page()
    ready = look(pod(ready=0), counted=load(0, chat_0=1), status=STATUS)
    page.look(0, ready)
    name = 'stoker_service_cost_dollars_total{namespace="team",revision="aaaa",service="chat",'
    assert page.read(30)[f'{name}share="serving"}}'] == round(PRICE * 30 / 3600, 7)
    assert page.read(60)[f'{name}share="serving"}}'] == round(PRICE * 60 / 3600, 7)
    page.look(60, replace(ready, load=load(60, chat_0=0)))
    found = page.read(90)
    assert found[f'{name}share="serving"}}'] == round(PRICE * 60 / 3600, 7)
    assert found[f'{name}share="idle"}}'] == round(PRICE * 30 / 3600, 7)


def test_all_that_is_told_of_a_service() -> None:
    page = Page()
    public = {"publicPrice": {"input": "0.15", "output": "0.60"}}
    spot = (node("node-1", Capacity.SPOT),)
    page.look(0, look(pod(), nodes=spot, status=STATUS, cost=public))
    found = page.read(10)
    of = 'namespace="team",service="chat"'
    price = "stoker_service_price_dollars_per_hour"
    revision = 'namespace="team",revision="aaaa",service="chat"'
    assert found == {
        f'{price}{{capacity="spot",{revision}}}': SPOT,
        f'stoker_service_cost_dollars_total{{{revision},share="starting"}}': round(SPOT / 360, 7),
        f"stoker_service_static_price_dollars_per_hour{{{of}}}": SPOT,
        f"stoker_service_token_cost_ratio{{{of}}}": 2.0,
        f'stoker_service_public_price_dollars{{direction="input",{of}}}': 0.15,
        f'stoker_service_public_price_dollars{{direction="output",{of}}}': 0.6,
    }


def test_a_service_at_zero_costs_nothing_and_says_so() -> None:
    page = Page()
    page.look(0, look(status={"revision": "aaaa"}), 0)
    labels = 'capacity="on_demand",namespace="team",revision="aaaa",service="chat"'
    assert page.read(10) == {f"stoker_service_price_dollars_per_hour{{{labels}}}": 0.0}


def test_a_price_that_nobody_knows_is_told_as_such() -> None:
    page = Page()
    page.look(0, look(pod(asks=(("example.com/tpu", 4),)), status={"revision": "aaaa"}))
    (line,) = page.read(10).items()
    assert line[0].startswith("stoker_service_unpriced_accelerators{")


def test_nothing_is_left_of_a_service_that_is_gone() -> None:
    page = Page()
    observed = look(pod(ready=0), counted=load(0, chat_0=1), status=STATUS)
    page.look(0, observed)
    assert any(SERVICE in line for line in page.read(10))
    page.costs.forget(observed.service.key)
    assert page.read(20) == {}
    page.costs.forget(observed.service.key)  # twice is no error


def test_a_thousand_services_of_one_replica() -> None:
    """What they add to a page whose every byte is counted: five lines of a service each."""
    page = Page()
    for number in range(1000):
        observed = look(pod(ready=0), counted=load(0, chat_0=1), status=STATUS)
        key = Key(f"team-{number % 40}", f"assistant-{number:04}")
        service = replace(observed.service, key=key)
        page.look(0, replace(observed, service=service))
    page.clock.now = 60
    text = generate_latest(page.registry)
    assert text.count(b"stoker_service_cost_dollars_total{") == 1000
    assert len(text) < 600_000
    assert len(gzip.compress(text, 1)) < 60_000
