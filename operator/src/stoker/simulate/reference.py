"""Bounds of what any policy can do: fixed numbers of replicas, and one that knows the future.

* `static:N`: always N replicas.
* `static-peak`, `static-mean`: as many as the trace needs at its peak, or on the mean.
* `oracle`: knows every arrival and how long a slow start takes. Seen level by level, the
  k-th replica is needed in some intervals of time. It is asked for one start earlier than each, and
  kept through a gap that is shorter than a start, since a new one would be billed for as long. Its
  parameter is a factor on the need: below 1 it lets queues carry the peaks.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

from stoker.simulate.need import Need, need_of
from stoker.simulate.policy import Decision, Pipeline, Policy, Sample, Setting

_EVERY_BUCKET: Final = 5.0
_TAIL_S: Final = 600.0
# Standard deviations: nine of ten phases are faster than the oracle expects.
_SLOW_START: Final = 1.28


@dataclass(frozen=True, slots=True)
class Static:
    """A fixed number of replicas."""

    name: str
    replicas: int

    @property
    def pipeline(self) -> Pipeline:
        """It does not look, and its replicas have been there for long."""
        return Pipeline(tick_s=3600.0, scrape_s=3600.0, begins_with=self.replicas)

    def begin(self) -> None:
        """It remembers nothing."""

    def decide(self, history: None, sample: Sample, now: float) -> Decision:  # noqa: ARG002
        """Always the same."""
        return Decision(self.replicas, f"always {self.replicas}", None)


@dataclass(frozen=True, slots=True)
class Oracle:
    """A schedule made with knowledge of the future."""

    name: str
    times: tuple[float, ...]  # rising; the number changes at each of them
    replicas: tuple[int, ...]  # from then on

    @property
    def pipeline(self) -> Pipeline:
        """It does not look; what is needed at the start, it has asked for before."""
        return Pipeline(tick_s=_EVERY_BUCKET, scrape_s=3600.0, begins_with=self.replicas[0])

    def begin(self) -> None:
        """It remembers nothing, as it knows everything."""

    def decide(self, history: None, sample: Sample, now: float) -> Decision:  # noqa: ARG002
        """What the schedule says."""
        position = bisect_right(self.times, now) - 1
        return Decision(self.replicas[position], "as the future needs it", None)


def static(setting: Setting, parameter: float | None) -> Policy:
    """`static:N`; without a number, what the bounds begin with."""
    count = setting.bounds.initial if parameter is None else int(parameter)
    return Static(f"static:{count}", count)


def static_peak(setting: Setting, parameter: float | None) -> Policy:
    """The need at its peak, times the parameter (1)."""
    peak = math.ceil(_need(setting).peak * (1.0 if parameter is None else parameter) - 1e-9)
    return Static(f"static-peak ({peak})", peak)


def static_mean(setting: Setting, parameter: float | None) -> Policy:
    """The mean need, times the parameter (1), rounded up."""
    mean = math.ceil(_need(setting).mean * (1.0 if parameter is None else parameter) - 1e-9)
    return Static(f"static-mean ({mean})", mean)


def oracle(setting: Setting, parameter: float | None) -> Policy:
    """The schedule for the setting's arrivals."""
    factor = 1.0 if parameter is None else parameter
    need = _need(setting)
    levels = [math.ceil(each * factor - 1e-9) for each in need.replicas]
    # It decides once in a bucket, so a bucket late at most.
    lead = setting.starts.lead_s(_SLOW_START) + _EVERY_BUCKET
    changes: dict[float, int] = {}
    for level in range(1, max(levels, default=0) + 1):
        for first, last in _kept(levels, level, need.bucket_s, lead):
            begin = max(0.0, first - lead)
            changes[begin] = changes.get(begin, 0) + 1
            changes[last] = changes.get(last, 0) - 1
    times, replicas = [0.0], [changes.pop(0.0, 0)]
    for time in sorted(changes):
        times.append(time)
        replicas.append(replicas[-1] + changes[time])
    name = "oracle" if parameter is None else f"oracle:{parameter:g}"
    return Oracle(name, tuple(times), tuple(replicas))


def _need(setting: Setting) -> Need:
    last = setting.arrivals[-1].at_s if setting.arrivals else 0.0
    return need_of(setting.service, setting.targets, setting.arrivals, last + _TAIL_S)


def _kept(
    levels: list[int], level: int, bucket_s: float, lead_s: float
) -> list[tuple[float, float]]:
    """Intervals in which this level is needed, those with a gap below a start made one."""
    found: list[tuple[float, float]] = []
    for bucket, needed in enumerate(levels):
        if needed < level:
            continue
        begin, end = bucket * bucket_s, (bucket + 1) * bucket_s
        if found and begin - found[-1][1] <= lead_s:
            found[-1] = (found[-1][0], end)
        else:
            found.append((begin, end))
    return found
