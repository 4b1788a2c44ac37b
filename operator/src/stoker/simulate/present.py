"""Stoker's own policy in the simulator: the operator's `stoker.autoscale.decide`, not a copy.

This module only puts what the simulator shows into the shapes that the operator reads from a
cluster: a frontend's and the engines' numbers as `Load`, the replicas as `Sample`. The pipeline is
that of the operator's telemetry: a look every two seconds, and a hint from the frontend when a
request is held at zero replicas.
"""

from dataclasses import dataclass
from typing import Final

from stoker import autoscale
from stoker.model.load import EngineSample, FrontendSample, Load
from stoker.model.moment import Moment
from stoker.model.scale import History
from stoker.simulate.policy import Decision, Pipeline, Policy, Sample, Setting, Snapshot

# `stoker.telemetry.sampler`: two seconds between looks; from a held request to the decision a
# tenth of one (benchmarks/README.md: p50 103 ms to the pod).
_PIPELINE: Final = Pipeline(tick_s=2.0, scrape_s=2.0, lag_s=0.0, wake_s=0.1)


@dataclass(frozen=True, slots=True)
class Stoker:
    """The operator's policy."""

    name: str
    rules: autoscale.Policy
    pipeline: Pipeline = _PIPELINE

    def begin(self) -> History:
        """An operator that has just started."""
        return History()

    def decide(self, history: History, sample: Sample, now: float) -> Decision:
        """Ask the operator's own function."""
        load = None if sample.latest is None else load_of(sample.latest)
        seen = autoscale.Sample(sample.wanted, sample.ready, load)
        answer = autoscale.decide(self.rules, history, seen, Moment(now, now))
        reason = f"{answer.verdict.reason}: {answer.verdict.message}"
        return Decision(answer.replicas, reason, answer.history)


def stoker(setting: Setting, parameter: float | None) -> Policy:
    """The present policy; its parameter is `target.queueDepth`."""
    scaling = setting.scaling
    target = scaling.queue_target if parameter is None else max(1, int(parameter))
    rules = autoscale.Policy(
        min_replicas=setting.bounds.minimum,
        max_replicas=setting.bounds.maximum,
        queue_target=target,
        concurrency=setting.service.max_num_seqs,
        idle_before_zero=scaling.idle_before_zero_s,
        stabilization=scaling.stabilization_s,
    )
    return Stoker("stoker" if parameter is None else f"stoker:{target}", rules)


def load_of(snapshot: Snapshot) -> Load:
    """A snapshot as one frontend and the engines would report it."""
    frontend = FrontendSample(
        "frontend-0", snapshot.held, snapshot.in_progress, float(snapshot.requests_total)
    )
    engines = tuple(
        EngineSample(each.pod, each.running, each.waiting, each.kv_share)
        for each in snapshot.replicas
    )
    return Load(snapshot.time, (frontend,), engines)
