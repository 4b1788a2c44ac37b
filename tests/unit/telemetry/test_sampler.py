"""How often a service is looked at: as its decisions need it."""

from __future__ import annotations

import asyncio
import time

from stoker.clock import SystemClock
from stoker.model.observed import Key
from stoker.telemetry.sampler import Samplers
from stoker.telemetry.scrape import Scraper

KEY = Key("chat", "llama")


async def looks(samplers: Samplers, seconds: float) -> int:
    """Different samples within that time."""
    seen = set()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        load = samplers.latest(KEY)
        if load is not None:
            seen.add(load.time)
        await asyncio.sleep(0.02)
    return len(seen)


def test_calm_until_something_is_to_be_decided() -> None:
    async def story() -> tuple[int, float, int]:
        scraper = Scraper()
        samplers = Samplers(scraper, SystemClock(), lambda _: (), lambda _: None)
        samplers.ensure(KEY, wanted=True, calm=True)
        calm = await looks(samplers, 1)
        age = samplers.oldest_age()
        samplers.ensure(KEY, wanted=True)
        awake = await looks(samplers, 2)
        samplers.ensure(KEY, wanted=False)
        await samplers.close()
        await scraper.close()
        return calm, age, awake

    calm, age, awake = asyncio.run(story())
    assert calm == 1
    assert age == 0  # nobody waits for it
    assert awake > 2
