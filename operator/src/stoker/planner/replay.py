"""One engine over given arrivals: what each request waits and takes, by the time model.

The scheduling is that of `stoker.planner.batching`. One data parallel rank, no prefix cache, no
speculation. Pure: the clock is the steps' sum.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from stoker.planner.batching import Arrival, Engine, Job, Steps

__all__ = ["Arrival", "Outcome", "replay"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a request saw, in seconds from its arrival."""

    queue_s: float  # to its first step
    ttft_s: float
    e2e_s: float


def replay(
    pace: Steps,
    arrivals: Sequence[Arrival],
    kv_tokens: int,
    max_num_seqs: int,
    block_size: int = 16,
) -> tuple[Outcome, ...]:
    """Outcomes in the order of `arrivals`, which come sorted by time.

    ValueError for a request that the KV cache cannot hold even alone.
    """
    longest = max((each.input_tokens + each.output_tokens for each in arrivals), default=0)
    if -(-longest // block_size) > kv_tokens // block_size:
        raise ValueError(f"a request of {longest} tokens in a cache of {kv_tokens}")
    engine = Engine(pace, kv_tokens, max_num_seqs, block_size)
    jobs = [Job(number, request) for number, request in enumerate(arrivals)]
    for job in jobs:
        while engine.due < job.request.at_s:
            engine.advance()
        engine.submit(job, job.request.at_s)
    while engine.running or engine.waiting:
        engine.advance()
    return tuple(
        Outcome(job.started - at, job.first - at, job.ended - at)
        for job in jobs
        for at in (job.request.at_s,)
    )
