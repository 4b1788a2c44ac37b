"""Stoker's own policy in the simulator: the operator's `stoker.autoscale.decide`, not a copy.

This module only puts what the simulator shows into the shapes that the operator reads from a
cluster: a frontend's and the engines' numbers as `Load`, the replicas as `Sample`. The pipeline is
that of the operator's telemetry: a look every two seconds, and a hint from the frontend when a
request is held at zero replicas.
"""

from dataclasses import dataclass, replace
from typing import Final

from stoker import autoscale
from stoker.api.scaling import ScalingTarget
from stoker.autoscale import latency
from stoker.autoscale.policy import utilization_of
from stoker.model.load import EngineSample, FrontendSample, Load
from stoker.model.moment import Moment
from stoker.model.scale import History
from stoker.model.timing import Timings
from stoker.planner.work import work_of
from stoker.simulate.policy import Decision, Pipeline, Policy, Sample, Setting, Snapshot

# `stoker.telemetry.sampler`: two seconds between looks; from a held request to the decision a
# tenth of one (benchmarks/README.md: p50 103 ms to the pod).
_PIPELINE: Final = Pipeline(tick_s=2.0, scrape_s=2.0, lag_s=0.0, wake_s=0.1)
_QUEUE_TARGET: Final = ScalingTarget().queue_depth
_TIMED: Final = replace(_PIPELINE, timed=True)


@dataclass(frozen=True, slots=True)
class Stoker:
    """The operator's policy."""

    name: str
    rules: autoscale.Policy
    began: float = 0.0  # Unix seconds of the trace's beginning

    @property
    def pipeline(self) -> Pipeline:
        """Histograms are read where a target needs them."""
        return _TIMED if self.rules.latency else _PIPELINE

    def begin(self) -> History:
        """An operator that has just started."""
        return History()

    def decide(self, history: History, sample: Sample, now: float) -> Decision:
        """Ask the operator's own function."""
        load = None if sample.latest is None else load_of(sample.latest)
        seen = autoscale.Sample(sample.wanted, sample.ready, load)
        answer = autoscale.decide(self.rules, history, seen, Moment(now, self.began + now))
        reason = f"{answer.verdict.reason}: {answer.verdict.message}"
        notice = latency.words(self.rules, answer.history.latencies, now).strip()
        return Decision(answer.replicas, reason, answer.history, notice)


def stoker(setting: Setting, parameter: float | None) -> Policy:
    """As the spec has it, or the API by default; its parameter is the forecast's quantile."""
    rules = _rules(setting)
    quantile = rules.quantile if parameter is None else min(0.999, parameter)
    count = max(1, len(setting.arrivals))
    # The lengths that a user would state: those of the whole trace.
    prompt = sum(each.input_tokens for each in setting.arrivals) / count
    output = sum(each.output_tokens for each in setting.arrivals) / count
    service = setting.service
    work = work_of(
        service.steps,
        service.max_num_seqs,
        service.kv_tokens,
        prompt,
        output,
        setting.targets.itl_s,
    )
    rules = replace(
        rules,
        lead_s=setting.starts.lead_s(0.0),
        quantile=quantile,
        utilization=utilization_of(quantile),
        work=work,
    )
    name = "stoker" if parameter is None else f"stoker:{quantile:g}"
    return Stoker(name, rules, setting.began)


def stoker_queue(setting: Setting, parameter: float | None) -> Policy:
    """The same where nobody knows a replica's pace and the windows are set, to 5 and 10 minutes.

    Its parameter is `target.queueDepth`.
    """
    rules = _rules(setting)
    target = rules.queue_target if parameter is None else max(1, int(parameter))
    rules = replace(
        rules,
        queue_target=target,
        idle_before_zero=rules.idle_before_zero or 600.0,
        stabilization=rules.stabilization or 300.0,
        work=None,
    )
    name = "stoker-queue" if parameter is None else f"stoker-queue:{target}"
    return Stoker(name, rules, setting.began)


def _rules(setting: Setting) -> autoscale.Policy:
    bounds = setting.bounds
    given = setting.rules or autoscale.Policy(0, 1, _QUEUE_TARGET, 1)
    return replace(
        given,
        min_replicas=bounds.minimum,
        max_replicas=bounds.maximum,
        concurrency=setting.service.max_num_seqs,
    )


def load_of(snapshot: Snapshot) -> Load:
    """A snapshot as one frontend and the engines would report it."""
    frontend = FrontendSample(
        "frontend-0", snapshot.held, snapshot.in_progress, float(snapshot.requests_total)
    )
    engines = [
        EngineSample(
            each.pod, each.running, each.waiting, each.kv_share, ttft=each.ttft, itl=each.itl
        )
        for each in snapshot.replicas
    ]
    if engines:
        # The simulator counts tokens for all engines together; the first one tells them.
        counted = Timings(
            requests=float(snapshot.finished_total),
            prompt_tokens=float(snapshot.prompt_tokens_total),
            generated_tokens=float(snapshot.output_tokens_total),
        )
        engines[0] = replace(engines[0], pod="engine", timings=counted)
    return Load(snapshot.time, (frontend,), tuple(engines))
