"""The Horizontal Pod Autoscaler of Kubernetes (autoscaling/v2), without `behavior`.

Source, kubernetes/kubernetes: `pkg/controller/podautoscaler/replica_calculator.go` (how many) and
`horizontal.go` (what is done with it). Every 15 s:

* external metric, AverageValue: u = total / (target · pods that exist); within 10 % of 1 the
  number stays as it is, otherwise ceil(total/target). Pods that are not ready play no part here.
* pods metric: u = mean over the pods that report / target. Where pods do not report yet, they are
  counted as 0 if u > 1 and as the target if u < 1, and a change that this turns round is dropped;
  else ceil(u' · all of them).
* the highest of the recommendations of the last 300 s counts, the number at the start among them;
* one sync goes at most to max(2 · present, 4). That is the rule for an object without `behavior`.
  The rule that the documentation gives as default (100 % or 4 pods, the larger) holds where
  `behavior` is written.

There is no default target for inference. In use here: 70 % of the sequences that a replica
computes at once for requests in progress, 5 for requests that wait. `minReplicas` is 1, or 0 with
the feature gate HPAScaleToZero.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from stoker.simulate.baselines.readings import Series, queued_in_engines, scraped
from stoker.simulate.policy import Decision, Pipeline, Policy, Sample, Setting, Snapshot

SYNC_S: Final = 15.0
_TOLERANCE: Final = 0.1
_STABILIZATION_S: Final = 300.0
_SCRAPE_S: Final = 15.0
_WAITING_TARGET: Final = 5.0
_LOAD_SHARE: Final = 0.7

Signal = Literal["in progress", "waiting", "per pod"]


def average_value(total: float, target: float, pods: int, tolerance: float = _TOLERANCE) -> int:
    """The replicas for an external metric with a target per pod."""
    if pods and abs(1 - total / (target * pods)) <= tolerance:
        return pods
    return math.ceil(total / target)


def per_pod(values: Sequence[float], missing: int, target: float, current: int) -> int:
    """The replicas for a metric that each pod reports; `missing` ones do not yet."""
    if not values:
        return current  # an error in the original: nothing moves
    usage = sum(values) / len(values) / target
    if not missing:
        return current if abs(1 - usage) <= _TOLERANCE else math.ceil(usage * len(values))
    filled = sum(values) + (missing * target if usage < 1 else 0.0)
    count = len(values) + missing
    again = filled / count / target
    desired = math.ceil(again * count)
    turned = (usage < 1 < again) or (again < 1 < usage)
    against = desired > current if again < 1 else desired < current
    return current if abs(1 - again) <= _TOLERANCE or turned or against else desired


def normalized(
    recommendations: Series, current: int, desired: int, now: float
) -> tuple[int, Series]:
    """The replicas after stabilization and the limit of one sync, and what to remember."""
    if not recommendations:
        recommendations = ((now, float(current)),)
    recent = tuple(each for each in recommendations if each[0] >= now - _STABILIZATION_S)
    highest = int(max([desired, *(each[1] for each in recent)]))
    return min(highest, max(2 * current, 4)), (*recent, (now, float(desired)))


@dataclass(frozen=True, slots=True)
class Hpa:
    """One HorizontalPodAutoscaler; its history is the recommendations."""

    name: str
    signal: Signal
    target: float  # per replica
    minimum: int = 1
    pipeline: Pipeline = scraped(SYNC_S, _SCRAPE_S)  # noqa: RUF009 - a frozen value

    def begin(self) -> Series:
        """No recommendations."""
        return ()

    def decide(self, history: Series, sample: Sample, now: float) -> Decision:
        """One sync."""
        seen = sample.latest
        if seen is None:
            return Decision(sample.wanted, "no metric yet", history)
        if self.signal == "per pod":
            engines = queued_in_engines(seen).replicas
            values = [each.running + each.waiting for each in engines]
            missing = max(0, sample.created - len(values))
            desired = per_pod(values, missing, self.target, sample.wanted)
            said = f"{sum(values)} on {len(values)} pods, {missing} not reporting"
        else:
            total = _total(seen, self.signal)
            desired = average_value(total, self.target, sample.created)
            said = f"{total:g} {self.signal}"
        desired = max(desired, self.minimum)
        replicas, history = normalized(history, sample.wanted, desired, now)
        reason = f"{said}, {self.target:g} per replica: {desired}, stabilized {replicas}"
        return Decision(max(replicas, self.minimum), reason, history)


def hpa(setting: Setting, parameter: float | None) -> Policy:
    """External metric, requests in progress; the parameter is the target per replica."""
    return Hpa(_named("hpa", parameter), "in progress", _load_target(setting, parameter))


def hpa_zero(setting: Setting, parameter: float | None) -> Policy:
    """The same with the feature gate HPAScaleToZero and `minReplicas: 0`."""
    target = _load_target(setting, parameter)
    return Hpa(_named("hpa-zero", parameter), "in progress", target, minimum=0)


def hpa_queue(setting: Setting, parameter: float | None) -> Policy:  # noqa: ARG001
    """External metric, requests that wait at the gateway and in engines (5 per replica)."""
    target = _WAITING_TARGET if parameter is None else max(parameter, 0.001)
    return Hpa(_named("hpa-queue", parameter), "waiting", target)


def hpa_pods(setting: Setting, parameter: float | None) -> Policy:
    """Pods metric, requests in each engine; the parameter is the target per replica."""
    return Hpa(_named("hpa-pods", parameter), "per pod", _load_target(setting, parameter))


def _load_target(setting: Setting, parameter: float | None) -> float:
    share = _LOAD_SHARE * setting.service.max_num_seqs
    return share if parameter is None else max(parameter, 0.001)


def _named(name: str, parameter: float | None) -> str:
    return name if parameter is None else f"{name}:{parameter:g}"


def _total(seen: Snapshot, signal: Signal) -> float:
    return seen.held + seen.waiting if signal == "waiting" else seen.in_progress
