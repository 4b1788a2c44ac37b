"""How many replicas a trace needs over time, whatever a policy does.

A replica has three things to give, and each request takes of each:

* time. While tokens come within the target T, a step is made every T seconds. Of it, a fixed part
  goes into the step itself, each sequence present takes its own time for a token, and prompts that
  came meanwhile take theirs (`stoker.planner.work` takes the time model apart for that).
* places: `max-num-seqs`.
* KV cache, for its tokens while it is there: from its arrival for its prompt's time and output · T.

The need in a bucket of time is the largest of the three sums over what one replica has, less what
is left free for chance: requests do not come evenly within a bucket, and before a replica that is
filled to the brim the queue grows without end. This is the measure by which static baselines are
sized, the oracle moves, and the time to enough capacity is told.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from stoker.planner.batching import Arrival
from stoker.planner.work import work_of
from stoker.simulate.policy import Targets
from stoker.simulate.service import Service

# Resolution of the need, in seconds: shorter peaks than this are carried by a queue.
BUCKET_S: Final = 5.0
# Share of each that is used. With it the oracle serves 98 % or more of each recorded trace within
# the targets, but for prompts that take longer than these even alone (docs/simulator.md).
_FILLED: Final = 0.9


@dataclass(frozen=True, slots=True)
class Need:
    """Replicas needed in each bucket, as a real number."""

    bucket_s: float
    replicas: tuple[float, ...]

    @property
    def peak(self) -> float:
        """The largest."""
        return max(self.replicas, default=0.0)

    @property
    def mean(self) -> float:
        """Over the whole trace."""
        return sum(self.replicas) / len(self.replicas) if self.replicas else 0.0


def need_of(service: Service, targets: Targets, arrivals: Sequence[Arrival], end_s: float) -> Need:
    """Replicas needed from 0 to `end_s`, in buckets."""
    count = max(1, len(arrivals))
    prompt = sum(each.input_tokens for each in arrivals) / count
    output = sum(each.output_tokens for each in arrivals) / count
    of = work_of(
        service.steps, service.max_num_seqs, service.kv_tokens, prompt, output, targets.itl_s
    )
    pace = of.pace_s

    buckets = max(1, math.ceil(end_s / BUCKET_S))
    prompts = [0.0] * buckets
    decoding, places, tokens = ([0.0] * (buckets + 1) for _ in range(3))
    for each in arrivals:
        length = each.input_tokens + each.output_tokens / 2
        work = each.input_tokens * (of.prompt_token_s + each.input_tokens / 2 * of.prompt_key_s)
        first = min(buckets - 1, int(each.at_s / BUCKET_S))
        after = min(buckets, int((each.at_s + work + each.output_tokens * pace) / BUCKET_S) + 1)
        # A prompt longer than a bucket keeps the replica busy in the next ones too.
        during = max(1, math.ceil(work / BUCKET_S))
        for bucket in range(first, min(buckets, first + during)):
            prompts[bucket] += work / during
        token_s = of.sequence_s + length * of.context_token_s
        for sums, value in ((decoding, token_s), (places, 1.0), (tokens, length)):
            sums[first] += value
            sums[after] -= value
    time_left = _FILLED * (1 - of.step_s / pace)
    found = tuple(
        max(
            (work / BUCKET_S + token_s / pace) / time_left,
            there / (_FILLED * service.max_num_seqs),
            kept / (_FILLED * service.kv_tokens),
        )
        for work, token_s, there, kept in zip(
            prompts, accumulate(decoding), accumulate(places), accumulate(tokens), strict=False
        )
    )
    # Sums of differences end near zero and not at it.
    return Need(BUCKET_S, tuple(each if each > 1e-6 else 0.0 for each in found))
