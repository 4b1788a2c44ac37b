"""Windows over looks at engines: what counts, when one ends, what starts over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stoker.model.load import EngineSample, Load
from stoker.model.timing import Timings
from stoker.plan import windows
from stoker.plan.windows import FIRST_S, LOOKS, REQUESTS, SETTLED_S, Windows
from tests.unit.plan import worlds

STEP = Timings(
    first_tokens=10,
    first_token_s=1,
    gaps=1000,
    gap_s=20,
    requests=10,
    queue_s=0,
    prompt_tokens=1000,
    computed_tokens=1000,
    generated_tokens=1010,
)


def times(steps: int) -> Timings:
    found = Timings()
    for _ in range(steps):
        found = found.plus(STEP)
    return found


class Story:
    """Engines that work steadily, looked at every five seconds."""

    def __init__(self) -> None:
        self.windows = Windows()
        self.time = 1000.0
        self.settled = False
        self.revision = "aaaa"
        self.pods = [worlds.pod("one", ready=True)]

    def look(self, timings: Timings | None, pod: str = "one", running: int = 2) -> Windows:
        samples = (EngineSample(pod, running, 0, 0.1, timings=timings),)
        return self.load(Load(self.time, (), samples))

    def load(self, load: Load | None) -> Windows:
        self.windows = windows.advance(
            self.windows, load, self.pods, self.revision, settled=self.settled
        )
        self.time += 5
        return self.windows

    def run(self, looks: int, start: int = 0) -> Windows:
        for number in range(start, start + looks):
            self.look(times(number))
        return self.windows


def test_differences_count_and_what_was_there_before_does_not() -> None:
    found = Story().run(4, start=50)
    assert found.open.counted == times(3)
    assert (found.open.looks, found.open.seconds, found.open.met) == (3, 15, 2)
    assert found.closed == ()


def test_a_window_ends_when_it_is_old_and_has_seen_enough() -> None:
    story = Story()
    found = story.run(LOOKS)
    assert found.closed == ()
    found = story.run(1, start=LOOKS)
    (closed,) = found.closed
    assert closed.revision == "aaaa"
    assert closed.seconds == 5 * LOOKS >= FIRST_S
    assert closed.requests == 10 * LOOKS >= REQUESTS
    assert closed.itl_s == pytest.approx(0.02)
    assert found.open.looks == 0
    assert found.length == 2 * FIRST_S


def test_few_requests_never_end_a_window() -> None:
    story = Story()
    for number in range(200):
        story.look(replace(times(3), requests=min(number, REQUESTS - 1)))
    assert story.windows.closed == ()


def test_two_are_kept_and_later_ones_take_longer() -> None:
    story = Story()
    found = story.run(400)
    assert len(found.closed) == 2
    assert found.closed[1].seconds > found.closed[0].seconds
    assert found.length <= SETTLED_S


def test_an_hour_once_it_is_settled() -> None:
    story = Story()
    story.settled = True
    assert story.run(700).closed == ()
    assert len(story.run(25, start=700).closed) == 1


def test_an_engine_that_began_anew_starts_over() -> None:
    story = Story()
    story.run(5)
    found = story.look(times(1))
    assert found.open.counted == times(4)
    assert story.look(times(2)).open.counted == times(5)


@pytest.mark.parametrize("timings", [None, "absent"])
def test_a_pod_that_did_not_answer_starts_over(timings: str | None) -> None:
    story = Story()
    story.run(5)
    if timings is None:
        story.look(None)
    else:
        story.load(Load(story.time, (), ()))
    story.look(times(20))
    assert story.windows.open.counted == times(4)


def test_a_long_silence_starts_over() -> None:
    story = Story()
    story.run(5)
    story.time += 100
    assert story.look(times(50)).open.counted == times(4)


def test_the_same_look_counts_once() -> None:
    story = Story()
    story.run(5)
    before = story.windows
    story.time -= 5
    assert story.look(times(4)) == before
    assert story.load(None) == before


def test_pods_of_other_revisions_are_not_looked_at() -> None:
    story = Story()
    story.pods.append(worlds.pod("two", revision="bbbb", ready=True))
    story.run(5)
    story.look(times(1), pod="two")
    story.look(times(2), pod="two")
    assert story.windows.open.counted == times(4)
    story.revision = "bbbb"
    story.look(times(3), pod="two")
    assert story.windows.open.counted == Timings()
    assert story.look(times(4), pod="two").open.counted == times(1)
    assert story.windows.open.revision == "bbbb"


def test_the_number_of_requests_holds_until_the_next_look() -> None:
    story = Story()
    story.look(times(0), running=8)
    story.look(times(1), running=0)
    found = story.look(times(1), running=0)
    assert found.open.met == pytest.approx(4)
    assert found.open.batch == pytest.approx(8)
