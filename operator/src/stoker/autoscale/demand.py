"""How much is asked of a service: the work that arrives, in replicas.

Requests in progress say how much work is there, but they grow with every delay: a service that is
short of replicas looks as if it needed several times as many, and one that holds requests while a
replica starts even more. What arrives does not depend on how it is served. So demand is

    demand = requests per second · seconds of one replica per request / utilization

What a request takes of a replica follows from the replica's pace (`Work`) and the mean lengths of
the last requests. Requests are counted at the frontends, lengths by the
engines. Where nobody knows a replica's pace, the requests in progress over those that a replica
computes and keeps waiting must do. Short windows see bursts soon, long ones do not mistake chance
for a change: the longer one holds unless the shorter differs by more than chance explains; what
came before a silence that is no chance is forgotten. The
shortest are for rises alone: a replica that is asked for ten seconds later comes ten seconds later.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from stoker.autoscale.policy import Policy
from stoker.model.load import EngineSample, Load
from stoker.model.scale import Arrivals, History, Lengths

# Seconds over which arrivals are counted: the short window sees, the long one steadies.
SHORT_S: Final = 30.0
LONG_S: Final = 120.0
# And over which a sudden rise shows.
SUDDEN_S: Final = (10.0, 5.0)
# Standard deviations of chance (arrivals of a Poisson process) that are no change yet. Over a few
# seconds one sees chance more often.
_CHANCE: Final = 2.0
_CHANCE_SUDDEN: Final = 3.0
# Lengths are means over about so many requests.
_LENGTHS_MEMORY: Final = 500.0
# What is expected of lengths before any request ended counts as so many of them.
_EXPECTED_WEIGHT: Final = 10.0


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked for."""

    replicas: float  # that this demand keeps busy up to the utilization that is aimed at
    work: float  # replicas that the arrivals alone would keep busy altogether
    request_s: float  # seconds of one replica for one request; 0 where that is not known


def demand_of(policy: Policy, history: History, load: Load, time: float) -> Demand:
    """The demand that this history and this load show."""
    if policy.work is None:
        places = policy.concurrency + policy.queue_target
        busy = (load.running + load.queue_depth) / places
        return Demand(busy, busy, 0.0)
    lengths = history.lengths
    known = lengths.requests + _EXPECTED_WEIGHT
    prompt = (lengths.prompt_tokens + _EXPECTED_WEIGHT * policy.work.prompt_tokens) / known
    output = (lengths.output_tokens + _EXPECTED_WEIGHT * policy.work.output_tokens) / known
    request_s = policy.work.request_s(prompt, output)
    work = rate_of(history.arrivals, time) * request_s
    return Demand(work / policy.utilization, work, request_s)


def rate_of(arrivals: Arrivals, time: float) -> float:
    """Requests per second now."""
    short, long = (_rate(arrivals, time, window) for window in (SHORT_S, LONG_S))
    rate = short if _changed(short, long) else long
    for window in SUDDEN_S:
        sudden = _rate(arrivals, time, window)
        chance = math.sqrt(max(rate, 1 / window) / window)
        if sudden - rate > _CHANCE_SUDDEN * chance:
            rate = sudden
    return rate


def count_arrivals(arrivals: Arrivals, came: float, time: float) -> Arrivals:
    """With so many more requests since the last look."""
    total = (arrivals[-1][1] if arrivals else 0.0) + came
    # One entry older than the window stays: it is where the window's count begins.
    first = 0
    while first + 1 < len(arrivals) and arrivals[first + 1][0] <= time - LONG_S:
        first += 1
    kept = (*arrivals[first:], (time, total))
    return kept if came else _without_what_ended(kept, time)


def _without_what_ended(arrivals: Arrivals, time: float) -> Arrivals:
    """After a silence that is no chance, from the silence on.

    While it goes on, the long window loses what came before. So the little that is left of it would
    look like chance again, for the last seconds of the window, and the rate would come back.
    """
    short, long = (_rate(arrivals, time, window) for window in (SHORT_S, LONG_S))
    if short > 0 or not _changed(short, long):
        return arrivals
    last = arrivals[-1][1]
    return tuple(entry for entry in arrivals if entry[1] == last)


def measure_lengths(history: History, engines: Iterable[EngineSample]) -> History:
    """Take in the requests that ended in each engine since the last look."""
    lengths, counted = history.lengths, dict[str, tuple[float, float, float]]()
    for engine in engines:
        if engine.timings is None:
            continue
        now = (
            engine.timings.requests,
            engine.timings.prompt_tokens,
            engine.timings.generated_tokens,
        )
        counted[engine.pod] = now
        before = history.engines.get(engine.pod)
        if before is not None and now[0] >= before[0]:  # else it began anew
            ended, prompt, output = (max(0.0, n - b) for n, b in zip(now, before, strict=True))
            lengths = _plus(lengths, ended, prompt, output)
    kept = _kept(history.engines, counted)
    if lengths is history.lengths and kept is history.engines:
        return history
    return replace(history, lengths=lengths, engines=kept)


def _plus(lengths: Lengths, requests: float, prompt: float, output: float) -> Lengths:
    if requests <= 0:
        return lengths
    fade = math.exp(-requests / _LENGTHS_MEMORY)
    return Lengths(
        lengths.requests * fade + requests,
        lengths.prompt_tokens * fade + prompt,
        lengths.output_tokens * fade + output,
    )


def _kept(
    before: Mapping[str, tuple[float, float, float]],
    now: Mapping[str, tuple[float, float, float]],
) -> Mapping[str, tuple[float, float, float]]:
    """The same object where nothing changed, so that histories compare quickly."""
    return before if before == now else now


def _changed(short: float, long: float) -> bool:
    """Whether the windows differ by more than chance explains."""
    chance = math.sqrt(max(long, 1 / LONG_S) / SHORT_S)
    return abs(short - long) > _CHANCE * chance


def _rate(arrivals: Arrivals, time: float, window: float) -> float:
    """Mean rate over a window, or over what is known of it."""
    if not arrivals:
        return 0.0
    begin = arrivals[0]
    for entry in reversed(arrivals):
        if entry[0] <= time - window:
            begin = entry
            break
    elapsed = time - begin[0]
    return (arrivals[-1][1] - begin[1]) / elapsed if elapsed > 0 else 0.0
