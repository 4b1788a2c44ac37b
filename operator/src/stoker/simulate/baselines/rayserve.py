"""Ray Serve's default autoscaling policy.

Source, ray-project/ray: `python/ray/serve/autoscaling_policy.py`,
`python/ray/serve/_private/autoscaling_state.py`, `python/ray/serve/config.py` (defaults).

    C = requests queued and running, mean over a look-back of 30 s, reported every 10 s
    desired = ceil(ready + factor · (C / target - ready)), factors 1, target 2

Up once that has been asked for at each look for 30 s, down for 600 s; a look that asks for the
opposite or for nothing begins again, and so does a change. To zero only from one replica, otherwise
one at least. While no replica is ready: any request asks for max(1, present target), without delay,
and nothing else is asked for; so until the first replica answers there is no second one.

The original looks every 0.1 s; here every second, and the counts are times.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

from stoker.simulate.baselines.readings import Series, extended, mean
from stoker.simulate.policy import Decision, Pipeline, Policy, Sample, Setting, Snapshot

_TARGET: Final = 2.0
_LOOK_BACK_S: Final = 30.0
_UP_S: Final = 30.0
_DOWN_S: Final = 600.0
_LOOK_S: Final = 1.0
# Replicas and handles sample themselves all the time and report every 10 s, so what is known is 5 s
# old on average. A handle without replicas reports at once.
_PIPELINE: Final = Pipeline(tick_s=_LOOK_S, scrape_s=1.0, lag_s=5.0, wake_s=0.1)


@dataclass(frozen=True, slots=True)
class Memory:
    """Reports, and for how many looks in a row more (above 0) or fewer replicas were wanted."""

    reports: Series = ()
    looks: int = 0


@dataclass(frozen=True, slots=True)
class RayServe:
    """The autoscaler of one deployment."""

    name: str
    target: float  # requests at once, per replica
    pipeline: Pipeline = _PIPELINE

    def begin(self) -> Memory:
        """No reports."""
        return Memory()

    def decide(self, history: Memory, sample: Sample, now: float) -> Decision:  # noqa: ARG002
        """One look."""
        came = ((each.time, _ongoing(each)) for each in sample.snapshots)
        if sample.latest is None:
            return Decision(sample.wanted, "no report yet", history)
        since = sample.latest.time - _LOOK_BACK_S
        memory = replace(history, reports=extended(history.reports, came, since))
        total = mean(memory.reports)
        said = f"mean of 30 s {total:.2f}, {self.target:g} per replica"
        present = sample.wanted
        if sample.ready == 0:
            held = sample.latest is not None and sample.latest.held > 0
            replicas = max(1, present) if total > 0 or held else present
            return Decision(replicas, f"{said}: none ready", memory)
        desired = math.ceil(total / self.target)
        if desired == present:
            return Decision(present, f"{said}: {desired}", replace(memory, looks=0))
        if desired > present:
            looks, delay = max(0, memory.looks) + 1, _UP_S
        else:
            looks, delay = min(0, memory.looks) - 1, _DOWN_S
            desired = max(desired, 0 if present == 1 else 1)
        if abs(looks) <= delay / _LOOK_S:
            return Decision(present, f"{said}: {desired}, later", replace(memory, looks=looks))
        return Decision(desired, f"{said}: {desired}", replace(memory, looks=0))


def ray_serve(setting: Setting, parameter: float | None) -> Policy:  # noqa: ARG001
    """The parameter is `target_ongoing_requests` (2)."""
    target = _TARGET if parameter is None else max(parameter, 0.001)
    return RayServe("ray-serve" if parameter is None else f"ray-serve:{parameter:g}", target)


def _ongoing(snapshot: Snapshot) -> float:
    return float(snapshot.held + snapshot.waiting + snapshot.running)
