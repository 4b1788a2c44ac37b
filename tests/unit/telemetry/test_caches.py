"""What jobs say of their progress is checked, and what /metrics shows of caches goes with them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from stoker.model.observed import Key
from stoker.telemetry.cachemetrics import CacheMetrics
from stoker.telemetry.parse import SampleError
from stoker.telemetry.progress import read_progress
from stoker_worker.cachecontract import Progress
from tests.unit.caching.worlds import World

if TYPE_CHECKING:
    from stoker.telemetry.scrape import Scraper

PAGE = Progress("fetch", "downloading", "u1", bytes=100, done=10, speed=5.0, remaining_s=18.0)
KEY = Key("chat", "llama")


class Answers:
    """Says one thing, whoever is asked."""

    def __init__(self, text: str | None) -> None:
        self.text = text
        self.asked: list[str] = []

    async def get(self, url: str) -> str:
        self.asked.append(url)
        if self.text is None:
            raise SampleError("no answer")
        return self.text


def read(answers: Answers, **fields: object) -> dict[str, Progress]:
    world = World()
    world.turn()
    pod = replace(world.start("resolve"), **{"uid": "u1", **fields})  # type: ignore[arg-type]
    return asyncio.run(read_progress(cast("Scraper", answers), [pod]))


def test_a_running_pods_page_is_read() -> None:
    answers = Answers(PAGE.to_json())
    assert read(answers) == {"u1": PAGE}
    assert answers.asked == ["http://10.0.0.9:8002/progress"]


@pytest.mark.parametrize(
    "text",
    [
        None,
        "no JSON",
        "[]",
        replace(PAGE, uid="another").to_json(),
        replace(PAGE, done=-1).to_json(),
        replace(PAGE, bytes=cast("int", "many")).to_json(),
        replace(PAGE, message="x" * 2000).to_json(),
        replace(PAGE, until=1e30).to_json(),
        PAGE.to_json() + " " * 20_000,
    ],
)
def test_what_makes_no_sense_is_no_progress(text: str | None) -> None:
    assert read(Answers(text)) == {}


@pytest.mark.parametrize(
    "fields", [{"phase": "Pending"}, {"phase": "Succeeded"}, {"deleting": True}, {"ip": None}]
)
def test_nobody_else_is_asked(fields: dict[str, object]) -> None:
    answers = Answers(PAGE.to_json())
    assert read(answers, **fields) == {}
    assert answers.asked == []


def test_series_follow_the_statuses_and_go_with_their_cache() -> None:
    registry = CollectorRegistry()
    metrics = CacheMetrics(registry)
    before = {"phase": "Verifying", "lastVerified": "2026-01-01T00:00:00Z"}
    after = {
        "phase": "Ready", "bytes": 7, "lastVerified": "2026-01-02T00:00:00Z",
        "nodes": {"ready": 1, "wanted": 2}, "progress": {"downloaded": 5, "percent": 71},
    }  # fmt: skip
    metrics.count(KEY, before, after)
    bad = {**after, "conditions": [{"type": "Verified", "status": "False"}]}
    metrics.count(KEY, after, bad)
    metrics.count(KEY, bad, bad)
    mended = {"lastVerified": "2026-01-03T00:00:00Z", "repaired": ["model.safetensors"]}
    metrics.count(KEY, after, mended)
    after["conditions"] = [{"type": "Ready", "status": "False", "reason": "Fetching"}]
    metrics.tell([(KEY, after)])
    text = generate_latest(registry).decode()
    place = 'cache="llama",namespace="chat"'
    for line in (
        f"stoker_cache_bytes{{{place}}} 7.0",
        f'stoker_cache_phase{{{place},phase="Ready"}} 1.0',
        f'stoker_cache_condition{{{place},condition="Ready",reason="Fetching"}} 1.0',
        f"stoker_cache_nodes_ready{{{place}}} 1.0",
        f"stoker_cache_downloaded_bytes{{{place}}} 5.0",
        f"stoker_cache_download_ratio{{{place}}} 0.71",
        f"stoker_cache_last_verified_timestamp_seconds{{{place}}} 1.7673120e+09",
        f'stoker_cache_verifications_total{{{place},result="good"}} 1.0',
        f'stoker_cache_verifications_total{{{place},result="bad"}} 2.0',
    ):
        name, value = line.rsplit(" ", 1)
        assert registry.get_sample_value(
            name.split("{")[0],
            dict(pair.split("=") for pair in name.split("{")[1][:-1].replace('"', "").split(",")),
        ) == float(value), text
    metrics.tell([])
    metrics.forget(KEY)
    assert place not in generate_latest(registry).decode()
