"""WVA's saturation analyzers: percentages (v1) and tokens (v2).

Source: `internal/saturation/analyzer.go` with the chart's thresholds (v1);
`internal/engines/analyzers/saturation_v2/analyzer.go` and
`internal/engines/pipeline/cost_aware_optimizer.go` (v2); the loop is in `wva`.

v1: a replica is saturated with KV use ≥ 0.80 or queue ≥ 5. Over the N that are not, spare KV is the
mean of 0.80 - use and spare queue that of 5 - queue; with none, both are 0.

    up by 1    spare KV < 0.10 or spare queue < 3
    down by 1  N ≥ 2, and with the load of N on N - 1 both spares stay at their triggers or above
    hold       while not all that exist report

v2, in tokens: a replica holds min(k1, k2); k1 = 0.80 · KV cache; k2 = what it had in use when 5 or
more waited, else the mean of the last 10 such observations for that length of answers (below 100,
below 500, more), else n · (I + O/2) with n = min(B · O / (I + O), S), B the tokens of a step and S
the sequences. Capacity c is the median over the replicas.

    demand = tokens in use + waiting · I + held · (I + O)
    up by ceil((demand/0.85 - (ready + pending) · c) / c)
    down by floor((ready · c - demand/0.70) / c)

What is held while no replica answers is in the analyzer's formula; the version named above does not
fill it in yet, so counting it favours it. I and O are those of the whole service, not of each pod.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from stoker.simulate.baselines.wva import Peak, Seen, Wva
from stoker.simulate.policy import Policy, Setting
from stoker.simulate.service import Service

_KV_THRESHOLD: Final = 0.80
_QUEUE_THRESHOLD: Final = 5
_KV_SPARE: Final = 0.10
_QUEUE_SPARE: Final = 3.0
_UP: Final = 0.85
_DOWN: Final = 0.70
_OBSERVATIONS: Final = 10
_LENGTHS: Final = ((100, "short"), (500, "medium"))


@dataclass(frozen=True, slots=True)
class Percentages:
    """v1."""

    kv_threshold: float = _KV_THRESHOLD

    def first(self) -> None:
        """It remembers nothing."""

    def analyze(self, memory: None, seen: Seen) -> tuple[int, str, None]:  # noqa: ARG002
        """One up, one down, or hold."""
        if not seen.peaks or len(seen.peaks) != seen.created:
            return seen.created, f"{len(seen.peaks)} of {seen.created} report: hold", None
        free = [
            each
            for each in seen.peaks.values()
            if each.kv_share < self.kv_threshold and each.waiting < _QUEUE_THRESHOLD
        ]
        count = len(free)
        kv = sum(self.kv_threshold - each.kv_share for each in free) / max(1, count)
        queue = sum(_QUEUE_THRESHOLD - each.waiting for each in free) / max(1, count)
        said = (
            f"{count} of {seen.created} not saturated, spare KV {kv:.2f}, spare queue {queue:.1f}"
        )
        if kv < _KV_SPARE or queue < _QUEUE_SPARE:
            return seen.created + 1, said, None
        if count >= 2:
            grows = count / (count - 1)
            kv_left = self.kv_threshold - (self.kv_threshold - kv) * grows
            queue_left = _QUEUE_THRESHOLD - (_QUEUE_THRESHOLD - queue) * grows
            if kv_left >= _KV_SPARE and queue_left >= _QUEUE_SPARE:
                return seen.created - 1, said, None
        return seen.created, said, None


@dataclass(frozen=True, slots=True)
class Learned:
    """What v2 remembers: observations of k2 by length of answers, and the last capacity."""

    observed: dict[str, tuple[float, ...]] = field(default_factory=dict)
    capacity: float = 0.0


@dataclass(frozen=True, slots=True)
class Tokens:
    """v2."""

    kv_tokens: int  # that one replica's cache holds
    step_tokens: int
    sequences: int
    up: float = _UP

    @property
    def down(self) -> float:
        """The boundary below `up`, in the proportion of the defaults."""
        return self.up * _DOWN / _UP

    def first(self) -> Learned:
        """Nothing observed."""
        return Learned()

    def analyze(self, memory: Learned, seen: Seen) -> tuple[int, str, Learned]:
        """As many up or down as the tokens ask for."""
        prompt, output = seen.lengths.input_tokens, seen.lengths.output_tokens
        bucket = next((name for limit, name in _LENGTHS if output < limit), "long")
        observed = memory.observed.get(bucket, ())
        capacities = []
        for peak in seen.peaks.values():
            compute, observed = self._compute_bound(peak, observed, prompt, output)
            capacities.append(min(_KV_THRESHOLD * self.kv_tokens, compute))
        capacity = float(median(capacities)) if capacities else memory.capacity
        learned = Learned({**memory.observed, bucket: observed}, capacity)
        demand = sum(each.kv_tokens + each.waiting * prompt for each in seen.peaks.values())
        demand += seen.held * (prompt + output)
        said = f"{demand:.0f} tokens asked for, {capacity:.0f} per replica"
        if capacity <= 0:
            return seen.created, said, learned
        missing = demand / self.up - seen.created * capacity
        if missing > 0:
            return seen.created + math.ceil(missing / capacity), said, learned
        spare = seen.ready * capacity - demand / self.down
        return seen.created - max(0, math.floor(spare / capacity)), said, learned

    def _compute_bound(
        self, peak: Peak, observed: Sequence[float], prompt: float, output: float
    ) -> tuple[float, tuple[float, ...]]:
        if peak.waiting >= _QUEUE_THRESHOLD and peak.kv_tokens > 0:
            last = (*observed, float(peak.kv_tokens))[-_OBSERVATIONS:]
            return float(peak.kv_tokens), last
        if observed:
            return sum(observed) / len(observed), tuple(observed)
        if output > 0:
            steady = min(self.step_tokens * output / (prompt + output), self.sequences)
            return steady * (prompt + output / 2), ()
        return math.inf, ()


def wva_v1(setting: Setting, parameter: float | None) -> Policy:
    """The parameter is `kvCacheThreshold` (0.80)."""
    threshold = _KV_THRESHOLD if parameter is None else parameter
    name = "wva-v1" if parameter is None else f"wva-v1:{parameter:g}"
    return Wva(name, Percentages(threshold), zero=setting.bounds.minimum == 0)


def wva_v2(setting: Setting, parameter: float | None) -> Policy:
    """The parameter is `scaleUpThreshold` (0.85); `scaleDownBoundary` (0.70) moves with it."""
    service: Service = setting.service
    up = _UP if parameter is None else max(parameter, 0.001)
    analyzer = Tokens(service.kv_tokens, service.steps.chunk, service.max_num_seqs, up)
    name = "wva-v2" if parameter is None else f"wva-v2:{parameter:g}"
    return Wva(name, analyzer, zero=setting.bounds.minimum == 0)
