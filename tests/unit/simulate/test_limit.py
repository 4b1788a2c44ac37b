"""Limits that a frontend sets: each rule by hand, and what a world makes of them."""

import math

import pytest

from stoker.planner.batching import Arrival, Engine, Job
from stoker.simulate.frontend import Frontend
from stoker.simulate.limit import ByPace, ByQueue, Fixed, Look
from stoker.simulate.service import Linear, LinearSteps
from tests.unit.simulate.worlds import Script, requests, run, setting

QUEUE = ByQueue(8, 64)
PACE = ByPace(0.05, 4, 64)


@pytest.mark.parametrize(
    ("look", "limit"),
    [
        (Look(8, held=1, fullest=8, slowest_s=0), 16),
        (Look(48, held=1, fullest=48, slowest_s=0), 64),
        (Look(64, held=0, fullest=33, slowest_s=0), 64),
        (Look(64, held=0, fullest=32, slowest_s=0), 32),
        (Look(8, held=0, fullest=0, slowest_s=0), 8),
    ],
)
def test_by_queue_doubles_and_halves(look: Look, limit: int) -> None:
    assert QUEUE.next(look) == limit


@pytest.mark.parametrize(
    ("look", "limit"),
    [
        (Look(64, held=0, fullest=40, slowest_s=0.051), 36),
        (Look(5, held=0, fullest=4, slowest_s=0.2), 4),
        (Look(20, held=3, fullest=20, slowest_s=0.04), 21),
        (Look(20, held=3, fullest=20, slowest_s=0.046), 20),
        (Look(20, held=0, fullest=19, slowest_s=0.01), 20),
        (Look(64, held=9, fullest=64, slowest_s=0.01), 64),
    ],
)
def test_by_pace_keeps_steps_short(look: Look, limit: int) -> None:
    assert PACE.next(look) == limit


def test_what_is_above_the_limit_is_held_and_comes_next() -> None:
    # Four requests of one prompt step of 1.1 s and one more of 1 s each; two at once.
    world = setting(requests(*((0, 10, 2),) * 4))
    free = run(Script({}), world)
    assert free.ttft.p99 == pytest.approx(1.4)  # 40 tokens of prompt in one step
    limited = run(Script({}), world, Frontend(rule=Fixed(2)))
    assert limited.ttft.p50 == pytest.approx(1.2)
    assert limited.ttft.p99 == pytest.approx(1.2 + 1.0 + 1.2)
    assert (limited.served, limited.shed) == (4, 0)


def test_a_rule_opens_up_while_requests_are_held() -> None:
    world = setting(requests(*((0, 10, 20),) * 4))
    opened = run(Script({}), world, Frontend(rule=ByQueue(1, 4)))
    # The first alone; a second later two at once, and one more second later all four.
    assert opened.ttft.p99 < run(Script({}), world, Frontend(rule=Fixed(1))).ttft.p50


def test_an_engine_tells_how_long_it_worked_and_in_how_many_steps() -> None:
    engine = Engine(LinearSteps(Linear(1.0, 0.0, 0.0, 0.01, chunk=100)), 1600, 4)
    assert engine.worked(7.0) == (0.0, 0)
    engine.submit(Job(0, Arrival(0.0, 10, 5)), 0.0)
    engine.advance()
    assert engine.worked(0.5) == (0.5, 0)
    engine.advance()  # the prompt's step of 1.1 s has ended, four more of 1 s are one move
    seconds, steps = engine.worked(3.2)
    assert seconds == pytest.approx(3.2)
    assert steps == 3
    while math.isfinite(engine.due):
        engine.advance()
    seconds, steps = engine.worked(99.0)
    assert seconds == pytest.approx(5.1)
    assert steps == 5
