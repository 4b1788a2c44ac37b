"""Shapes of load that nobody recorded."""

import pytest

from stoker.planner.batching import Arrival
from stoker.simulate import synthetic


def rate(arrivals: tuple[Arrival, ...], begin: float, end: float) -> float:
    return sum(begin <= each.at_s < end for each in arrivals) / (end - begin)


def test_a_step() -> None:
    found = synthetic.draw(synthetic.step(2, 10, 500, 1000))
    assert rate(found, 0, 500) == pytest.approx(2, rel=0.2)
    assert rate(found, 500, 1000) == pytest.approx(10, rel=0.1)


def test_a_ramp() -> None:
    found = synthetic.draw(synthetic.ramp(0, 20, 200, 800, 1000))
    assert rate(found, 0, 200) == 0
    assert rate(found, 450, 550) == pytest.approx(10, rel=0.2)
    assert rate(found, 800, 1000) == pytest.approx(20, rel=0.1)


def test_steps_one_after_another() -> None:
    found = synthetic.draw(synthetic.steps((2, 20, 5), 100))
    assert [rate(found, first, first + 100) for first in (0, 100, 200)] == pytest.approx(
        [2, 20, 5], rel=0.35
    )


def test_spikes_end_their_periods() -> None:
    found = synthetic.draw(synthetic.spikes(0, 30, 300, 60, 900))
    assert {each.at_s % 300 >= 240 for each in found} == {True}
    assert {int(each.at_s // 300) for each in found} == {0, 1, 2}


def test_a_spike() -> None:
    found = synthetic.draw(synthetic.spike(1, 30, 300, 60, 1000))
    assert rate(found, 300, 360) == pytest.approx(30, rel=0.15)
    assert rate(found, 360, 1000) == pytest.approx(1, rel=0.2)


def test_on_and_off() -> None:
    found = synthetic.draw(synthetic.on_off(5, 100, 300, 1600))
    assert {each.at_s % 400 < 100 for each in found} == {True}
    assert rate(found, 400, 500) == pytest.approx(5, rel=0.25)


def test_lengths_have_their_means_and_the_seed_decides() -> None:
    shape = synthetic.step(20, 20, 0, 500)
    found = synthetic.draw(shape, 800, 100, seed=3)
    assert sum(each.input_tokens for each in found) / len(found) == pytest.approx(800, rel=0.05)
    assert sum(each.output_tokens for each in found) / len(found) == pytest.approx(100, rel=0.05)
    assert min(each.output_tokens for each in found) >= 1
    assert found == synthetic.draw(shape, 800, 100, seed=3)
    assert found != synthetic.draw(shape, 800, 100, seed=4)


def test_no_rate_is_no_request() -> None:
    assert synthetic.draw(synthetic.step(0, 0, 10, 100)) == ()
