"""What the targets beside the queue ask for, in replicas: each is one more need, the largest wins.

    concurrency   requests in progress (held, waiting, computed) / target
    kvCache       sum of the shares in use / target
    ttft, itl     requests in progress / what a replica may have (`latency`)

All count all replicas together, so a replica that is still starting is not asked for twice.
Requests that pile up meanwhile do count: whoever sets `concurrency` wants what an HPA would do with
it. A share of KV cache says nothing of what waits for room; the queue does.
"""

import math
from dataclasses import dataclass

from stoker.autoscale import latency
from stoker.autoscale.belief import in_progress
from stoker.autoscale.policy import Policy
from stoker.model.load import Load
from stoker.model.scale import Latencies, Term


@dataclass(frozen=True, slots=True)
class Asked:
    """What one target asks for, and its words."""

    term: Term
    replicas: float
    words: str


def missing(policy: Policy, load: Load) -> str | None:
    """Which number that a target needs is not reported; None where all are."""
    if policy.kv_target is None:
        return latency.missing(policy, load)
    for engine in load.engines:
        if engine.kv_cache is None or not math.isfinite(engine.kv_cache) or engine.kv_cache < 0:
            return (
                f"engine pod {engine.pod} does not report its KV cache usage "
                "(vllm:kv_cache_usage_perc), which target.kvCache needs"
            )
    return latency.missing(policy, load)


def asked(policy: Policy, latencies: Latencies, load: Load, time: float) -> list[Asked]:
    """What the targets ask for at this load, the most first."""
    found = []
    if policy.concurrency_target is not None:
        count = load.queue_depth + load.running
        found.append(
            Asked(
                Term.CONCURRENCY,
                count / policy.concurrency_target,
                f"{count} requests are in progress, at {policy.concurrency_target} per replica",
            )
        )
    if policy.kv_target is not None and in_progress(load):
        used = sum(min(1.0, engine.kv_cache or 0.0) for engine in load.engines)
        found.append(
            Asked(
                Term.KV_CACHE,
                used / policy.kv_target,
                f"{used:.0%} of one replica's KV cache are in use, at {policy.kv_target:.0%} "
                "per replica",
            )
        )
    for target, cap in latency.caps(policy, latencies, time).items():
        count = load.queue_depth + load.running
        found.append(
            Asked(
                target.term,
                count / cap,
                f"{count} requests are in progress, and {latency.said(target)} holds with at most "
                f"{cap:.1f} per replica",
            )
        )
    return sorted(found, key=lambda each: -each.replicas)
