"""Windows of how full replicas are: what counts as full, when a window ends, what is not known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stoker.model.load import EngineSample, FrontendSample, Load
from stoker.model.strain import FULL, Strain
from stoker.model.timing import Timings
from stoker.plan import strain
from stoker.plan.strain import KEPT, REQUESTS, Strains
from stoker.render.frontend_picker import KV_CACHE_FULL
from tests.unit.plan import worlds

PLACES = 8
LENGTH = 60.0


def times(requests: float, preemptions: float = 0.0) -> Timings:
    return Timings(
        first_tokens=requests,
        gaps=100 * requests,
        requests=requests,
        prompt_tokens=1000 * requests,
        computed_tokens=500 * requests,
        generated_tokens=101 * requests,
        preemptions=preemptions,
    )


class Story:
    """One engine, looked at every five seconds, that ends ten requests in between."""

    def __init__(self) -> None:
        self.strains = Strains()
        self.time = 1000.0
        self.requests = 0
        self.revision = "aaaa"
        self.places = PLACES
        self.held: int | None = 0
        self.pods = [worlds.pod("one", ready=True)]

    def look(
        self,
        running: int = 4,
        waiting: int = 0,
        cache: float | None = 0.5,
        preemptions: float = 0.0,
        timings: Any = "usual",
    ) -> Strains:
        counted = times(self.requests, preemptions) if timings == "usual" else timings
        engine = EngineSample("one", running, waiting, cache, timings=counted)
        held = self.held
        frontends = () if held is None else (FrontendSample("front", held, 9, 9.0),)
        return self.load(Load(self.time, frontends, (engine,)))

    def load(self, load: Load | None) -> Strains:
        self.strains = strain.advance(
            self.strains,
            load,
            self.pods,
            self.revision,
            places=self.places,
            length=LENGTH,
        )
        self.time += 5
        self.requests += 10
        return self.strains

    def run(self, looks: int, **sample: Any) -> Strains:
        for _ in range(looks):
            self.look(**sample)
        return self.strains


@pytest.mark.parametrize(
    ("sample", "held", "crowded", "short"),
    [
        ({"running": 8, "waiting": 1, "cache": 0.5}, 0, 1, 0),
        ({"running": 8, "waiting": 0, "cache": 0.5}, 3, 1, 0),  # the frontend holds them
        ({"running": 8, "waiting": 0, "cache": 0.5}, 0, 0, 0),  # nobody waits
        ({"running": 7, "waiting": 1, "cache": 0.5}, 0, 0, 0),  # a place is free
        ({"running": 8, "waiting": 1, "cache": 0.85}, 0, 0, 0),  # hardly any room for more
        ({"running": 8, "waiting": 1, "cache": 0.95}, 0, 0, 1),
        ({"running": 3, "waiting": 0, "cache": 0.9}, 2, 0, 1),
        ({"running": 3, "waiting": 0, "cache": 0.9}, 0, 0, 0),
    ],
)
def test_what_is_missing_while_requests_wait(
    sample: dict[str, Any], held: int, crowded: float, short: float
) -> None:
    story = Story()
    story.held = held
    seen = story.run(4, **sample).open
    assert (seen.crowded, seen.short) == (crowded, short)
    assert seen.seconds == 15
    assert seen.counted.requests == 30


def test_requests_that_are_put_off_are_short_of_cache() -> None:
    story = Story()
    for number in range(5):
        story.look(preemptions=float(number if number < 3 else 2))
    seen = story.strains.open
    assert seen.short == pytest.approx(10 / 20)
    assert seen.put_off == pytest.approx(2 / 40)


def test_means_and_the_most() -> None:
    story = Story()
    story.run(2, running=2, cache=0.2)
    story.look(running=6, cache=0.6)
    seen = story.look(running=6, cache=0.6).open
    assert (seen.most, seen.most_cache) == (6, 0.6)
    assert seen.fit == pytest.approx(10)
    both = seen.and_also(seen)
    assert (both.seconds, both.most) == (30, 6)
    assert both.fit == pytest.approx(10)
    assert both.counted == times(60)
    assert Strain("", 8).fit == float("inf")


def test_a_full_cache_is_what_the_picker_takes_for_full() -> None:
    assert FULL == KV_CACHE_FULL


def test_a_window_ends_when_it_is_long_and_has_seen_enough() -> None:
    story = Story()
    assert story.run(12).closed == ()
    (closed,) = story.look().closed
    assert (closed.seconds, closed.places, closed.revision) == (60, PLACES, "aaaa")
    assert closed.counted.requests == 120 >= REQUESTS
    assert len(story.run(200).closed) == KEPT


def test_few_requests_end_no_window_and_a_quiet_night_says_nothing() -> None:
    story = Story()
    story.run(13, running=8, waiting=2)
    before = story.strains.closed
    counted = times(story.requests)
    story.run(500, running=0, cache=0.0, timings=counted)
    assert story.strains.closed == before
    assert len(before) == 1


@pytest.mark.parametrize("lack", ["cache", "timings", "frontend", "sample"])
def test_what_is_not_told_is_not_counted(lack: str) -> None:
    story = Story()
    story.run(3, running=8, waiting=1)
    before = story.strains.open
    sample: dict[str, Any] = {"running": 8, "waiting": 1}
    if lack == "cache":
        story.run(40, **sample, cache=None)
    elif lack == "timings":
        story.run(40, **sample, timings=None)
    elif lack == "frontend":
        story.held = None
        story.run(40, **sample)
    else:
        for _ in range(40):
            story.load(Load(story.time, (FrontendSample("front", 1, 1, 1.0),), ()))
        story.load(None)
    # What held at the last good look holds until the next one, and no longer.
    seen = story.strains.open
    assert seen.seconds <= before.seconds + 5
    assert story.strains.closed == ()


def test_half_of_a_window_has_to_be_looked_at() -> None:
    story = Story()
    for _ in range(30):
        story.run(2)
        story.time += 200
    assert all(each.seconds >= LENGTH / 2 for each in story.strains.closed)
    assert len(story.strains.closed) <= 5


def test_another_revision_or_other_places_start_over() -> None:
    story = Story()
    assert len(story.run(13).closed) == 1
    story.places = 16
    assert story.look().closed == ()
    story.run(13)
    assert len(story.strains.closed) == 1
    story.revision = "bbbb"
    found = story.look()
    assert (found.closed, found.open.revision, found.open.seconds) == ((), "bbbb", 0)


@pytest.mark.parametrize(
    ("plan", "places"),
    [
        ({"configuration": "{}", "maxNumSeqs": 8, "data": 2}, 16),
        ({"maxNumSeqs": 8, "data": 2}, 0),
        ({"configuration": "{}", "maxNumSeqs": "8", "data": 2}, 0),
        ("x", 0),
        (None, 0),
    ],
)
def test_places_are_those_of_the_plan(plan: Any, places: int) -> None:
    assert strain.places_of({"plan": plan}) == places


def test_pods_of_another_revision_and_the_same_look_are_not_counted() -> None:
    story = Story()
    story.run(3)
    before = story.strains
    story.time -= 5
    assert story.look() == before
    story.pods = [replace(story.pods[0], revision="bbbb")]
    assert story.run(5).open.seconds == before.open.seconds
    story.places = 0  # there is no plan
    assert story.look() == story.strains
