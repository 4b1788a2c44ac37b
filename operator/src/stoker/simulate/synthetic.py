"""Arrivals that nobody recorded: steps, ramps, spikes, on and off.

A shape is a rate over time; requests are a Poisson process of that rate, drawn by thinning one of
its highest rate. Lengths are drawn from exponential distributions around their means, which have
the spread of recorded ones (a standard deviation as large as the mean). The same seed gives the
same requests.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from stoker.planner.batching import Arrival


@dataclass(frozen=True, slots=True)
class Shape:
    """A rate of requests over time, from 0 to `length_s`."""

    rate: Callable[[float], float]  # per second
    highest: float  # no moment has more
    length_s: float


def step(before: float, after: float, at_s: float, length_s: float) -> Shape:
    """One rate until a moment, another one after it."""
    return Shape(lambda time: before if time < at_s else after, max(before, after), length_s)


def ramp(first: float, last: float, begin_s: float, end_s: float, length_s: float) -> Shape:
    """From one rate to another in a straight line."""

    def rate(time: float) -> float:
        share = min(1.0, max(0.0, (time - begin_s) / (end_s - begin_s)))
        return first + (last - first) * share

    return Shape(rate, max(first, last), length_s)


def spike(base: float, top: float, at_s: float, width_s: float, length_s: float) -> Shape:
    """A higher rate for a while."""
    return Shape(
        lambda time: top if at_s <= time < at_s + width_s else base, max(base, top), length_s
    )


def on_off(rate: float, on_s: float, off_s: float, length_s: float) -> Shape:
    """A rate, then nothing, over and over."""
    return Shape(lambda time: rate if time % (on_s + off_s) < on_s else 0.0, rate, length_s)


def steps(rates: Sequence[float], each_s: float) -> Shape:
    """One rate after another, each for as long."""
    last = len(rates) - 1
    return Shape(lambda time: rates[min(last, int(time / each_s))], max(rates), each_s * len(rates))


def spikes(base: float, top: float, every_s: float, width_s: float, length_s: float) -> Shape:
    """A higher rate for a while at the end of each period."""
    return Shape(
        lambda time: top if time % every_s >= every_s - width_s else base,
        max(base, top),
        length_s,
    )


def draw(
    shape: Shape, input_tokens: float = 1000, output_tokens: float = 200, seed: int = 0
) -> tuple[Arrival, ...]:
    """Requests of this shape; lengths have these means, and at least one token."""
    if shape.highest <= 0 or not math.isfinite(shape.highest):
        return ()
    chance = Random(f"shape {seed}")  # noqa: S311 - of the simulation's seed
    found: list[Arrival] = []
    time = chance.expovariate(shape.highest)
    while time < shape.length_s:
        if chance.random() * shape.highest < shape.rate(time):
            lengths = (chance.expovariate(1 / mean) for mean in (input_tokens, output_tokens))
            found.append(Arrival(time, *(max(1, round(length)) for length in lengths)))
        time += chance.expovariate(shape.highest)
    return tuple(found)
