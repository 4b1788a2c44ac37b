"""The same policy on the real cluster and in the simulator: replica-seconds, side by side.

    python -m benchmarks.live_scaling [--trace FILE] [--window 60s] [-o FILE]

A service of real engines is sent a trace (without `--trace`, twenty minutes of two bursts, a quiet
time and a silence), and the pods' own times say what it used, from creation to deletion. Then the
simulator gets the same requests, the same rules, and what was measured of this machine before the
trace: seconds per step of one and of all places, and the mean of the service's own starts. The
decisions in the cluster are those of the operator that runs there; nothing is handed over between
the two. With `--window` the user's two windows are set to that; without it they are learned.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import statistics
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import cluster_options_of, installed, report
from e2e.cluster.progress import Progress
from e2e.demo.reach import Reach
from e2e.load import BackgroundLoad, ClosedLoop, LoadClient, Mix, Outcome, Record, Request, Target
from e2e.models import PROMPTS
from e2e.stack import Stack, example
from e2e.timeline import Timeline
from stoker import autoscale, quantity
from stoker.commands.situations import read_trace
from stoker.model.startup import lead_in
from stoker.planner.batching import Arrival
from stoker.simulate.policy import Bounds, Setting, Targets
from stoker.simulate.present import Stoker
from stoker.simulate.result import Result
from stoker.simulate.run import Conditions, simulate_each
from stoker.simulate.service import Linear, measured_service
from stoker.simulate.starts import Phase, Starts

NAMESPACE: Final = "live-scaling"
NAME, PACE = "live", "live-pace"
PLACES, QUEUE_TARGET, MOST = 2, 2, 3
TOKENS, PROMPT_TOKENS = 600, 16
KV_TOKENS = 100_000  # more than the places ever use
# (requests per second, seconds) of the default trace, for answers of 600 tokens.
PHASES: Final = ((0.15, 180), (1.2, 180), (0.15, 240), (0.0, 300), (1.2, 120), (0.15, 180))
_TAIL_S: Final = 60.0
_PACE_S: Final = 20.0


@dataclass(frozen=True)
class Replay:
    """Requests at the times of a trace, whatever becomes of the earlier ones."""

    arrivals: tuple[Arrival, ...]

    async def run(self, client: LoadClient, stop: asyncio.Event) -> list[Record]:
        """See `e2e.load.Pattern`."""
        start = time.monotonic()
        texts = itertools.cycle(prompt.text for prompt in PROMPTS)
        async with asyncio.TaskGroup() as group:
            tasks = []
            for arrival, text in zip(self.arrivals, texts, strict=False):
                await asyncio.sleep(max(0.0, start + arrival.at_s - time.monotonic()))
                if stop.is_set():
                    break
                request = Request("unary", text, arrival.output_tokens, "completions")
                tasks.append(group.create_task(client.send(request)))
        return [task.result() for task in tasks]


@dataclass(frozen=True)
class Pod:
    """One engine pod in the trace's seconds; infinity: not within it."""

    created: float
    ready: float
    deleted: float


def main() -> int:
    parser = cluster_options_of(__doc__)
    parser.add_argument("--trace", type=Path, help="as `stoker simulate` reads it")
    parser.add_argument("--window", type=quantity.parse_duration, help="both windows, as in 60s")
    options = parser.parse_args()
    arrivals = _synthetic() if options.trace is None else read_trace(options.trace)
    end_s = arrivals[-1].at_s + _TAIL_S
    stack = installed(options, NAMESPACE)
    with Progress("a replica's pace, alone and full"):
        step_s, sequence_s = _pace(stack)
    live, startup, records = _live(stack, arrivals, options.window, end_s)
    lead_s = lead_in(startup)
    assert lead_s is not None, "the service has no start in its status"
    measured = (step_s, sequence_s, lead_s)
    found, took_s = _simulated(arrivals, options.window, end_s, measured)
    return _report(options, live, (found, took_s), records, measured, end_s)


def _synthetic() -> tuple[Arrival, ...]:
    chance = Random("live")
    found, begin = [], 0.0
    for rate, seconds in PHASES:
        at = begin + (chance.expovariate(rate) if rate else seconds)
        while at < begin + seconds:
            found.append(Arrival(at, PROMPT_TOKENS, TOKENS))
            at += chance.expovariate(rate)
        begin += seconds
    return tuple(found)


def _pace(stack: Stack) -> tuple[float, float]:
    """Seconds of a step, and of each sequence in it, with two replicas that share the machine."""
    stack.apply(_service(PACE, replicas=2, scaling=None))
    try:
        stack.wait_ready_engines(PACE, NAMESPACE, 2, seconds=300)
        target = Target(Reach(stack, PACE, NAMESPACE).url(60), PACE)
        mix = Mix(tuple(p.text for p in PROMPTS), stream_share=0.0, unary_tokens=TOKENS)
        alone, full = (_step_s(target, mix, users) for users in (2, 2 * PLACES))
    finally:
        _delete(stack, PACE)
    sequence_s = max(0.0, (full - alone) / (PLACES - 1))
    return max(1e-6, alone - sequence_s), sequence_s


def _step_s(target: Target, mix: Mix, users: int) -> float:
    with BackgroundLoad(target, ClosedLoop(mix, users, _PACE_S)) as load:
        time.sleep(_PACE_S)
        records = load.finish()
    return statistics.median(each.seconds for each in records if each.seconds) / TOKENS


def _live(
    stack: Stack, arrivals: tuple[Arrival, ...], window_s: float | None, end_s: float
) -> tuple[list[Pod], dict[str, Any], list[Record]]:
    scaling: dict[str, Any] = {"minReplicas": 0, "maxReplicas": MOST}
    scaling["target"] = {"queueDepth": QUEUE_TARGET}
    if window_s is not None:
        words = quantity.format_duration(window_s)
        scaling |= {"scaleToZeroAfter": words, "scaleDownStabilization": words}
    with Timeline(stack.cluster.kubeconfig, NAMESPACE) as timeline:
        time.sleep(1)
        try:
            stack.apply(_service(NAME, scaling=scaling))
            stack.wait_ready_engines(NAME, NAMESPACE, 1, seconds=300)
            target = Target(
                Reach(stack, NAME, NAMESPACE).url(60), NAME, total_seconds=900, silent_seconds=900
            )
            begin = time.monotonic()
            with (
                Progress(f"{len(arrivals)} requests in {end_s / 60:.0f} minutes"),
                BackgroundLoad(target, Replay(arrivals)) as load,
            ):
                time.sleep(max(0.0, begin + end_s - time.monotonic()))
                records = load.finish()
            status = (stack.get("inferenceservices.stoker.dev", NAME, NAMESPACE) or {})["status"]
            pods = _pods(timeline, begin)
        finally:
            _delete(stack, NAME)
    return pods, status["startup"], records


def _pods(timeline: Timeline, begin: float) -> list[Pod]:
    """Engine pods of the service that lived at the trace's beginning or later."""
    times: dict[str, dict[str, float]] = {}
    for moment in timeline.moments():
        if moment.kind == "Pod" and moment.component == "engine":
            times.setdefault(moment.name, {})[moment.step] = moment.at - begin
    never = float("inf")
    pods = [
        Pod(steps["created"], steps.get("ready", never), steps.get("gone", never))
        for name, steps in times.items()
        if name.startswith(f"{NAME}-engine")
    ]
    return [pod for pod in pods if pod.deleted > 0]


def _simulated(
    arrivals: tuple[Arrival, ...],
    window_s: float | None,
    end_s: float,
    measured: tuple[float, float, float],
) -> tuple[Result, float]:
    """What came of it, and the median time of an answer."""
    step_s, sequence_s, lead_s = measured
    service = measured_service(Linear(step_s, sequence_s, 0.0, 0.0), KV_TOKENS, PLACES)
    nothing = Phase(0.0)
    starts = Starts(nothing, nothing, nothing, nothing, Phase(lead_s), warm_nodes=MOST)
    rules = autoscale.Policy(
        0,
        MOST,
        QUEUE_TARGET,
        PLACES,
        idle_before_zero=window_s,
        stabilization=window_s,
        lead_s=lead_s,
    )
    setting = Setting(service, starts, Bounds(0, MOST, 1), Targets(), arrivals)
    conditions = Conditions(tail_s=end_s - arrivals[-1].at_s)
    result, seen = simulate_each(setting, Stoker("stoker", rules), conditions)
    answers = [
        first + each * (arrival.output_tokens - 1)
        for first, each, arrival in zip(seen.ttft, seen.itl, arrivals, strict=True)
        if not math.isnan(first + each)
    ]
    return result, statistics.median(answers)


def _report(
    options: Any,
    live: list[Pod],
    simulated: tuple[Result, float],
    records: list[Record],
    measured: tuple[float, float, float],
    end_s: float,
) -> int:
    seconds = sum(min(pod.deleted, end_s) - max(0.0, pod.created) for pod in live)
    found, took_s = simulated
    expected = found.accelerator_s
    peak = max(
        sum(pod.created <= at < pod.deleted for pod in live)
        for at in [0.0, *(pod.created for pod in live)]
    )
    failed = sum(record.outcome is not Outcome.COMPLETE for record in records)
    waits = sorted(record.seconds or end_s for record in records)
    rows = [
        ("replica-seconds, live and simulated", f"{seconds:.0f}, {expected:.0f}", ""),
        ("live over simulated", f"{seconds / expected:.2f}", "0.80 to 1.20"),
        ("most pods at once", f"{peak}, {found.replicas_peak}", ""),
        ("pods in all", f"{len(live)}, {found.pods}", ""),
        ("requests, failed", f"{len(records)}, {failed}", "0 failed"),
        ("an answer took, median", f"{statistics.median(waits):.1f}, {took_s:.1f} s", ""),
        ("a start took, mean", f"{measured[2]:.1f} s", ""),
        ("a step: alone, per sequence", f"{measured[0] * 1e3:.2f}, {measured[1] * 1e3:.2f} ms", ""),
    ]
    numbers = {
        "window": options.window,
        "live": [asdict(replace(pod, deleted=min(pod.deleted, end_s))) for pod in live],
        "simulated": [asdict(change) for change in found.changes],
        "seconds": {"live": seconds, "simulated": expected},
        "failed": failed,
    }
    report("One policy, live and simulated", rows, numbers, options.output)
    return 0 if not failed and 0.8 <= seconds / expected <= 1.2 else 1


def _service(name: str, **spec: Any) -> dict[str, Any]:
    return example(name, NAMESPACE, engine={"args": {"max-num-seqs": str(PLACES)}}, **spec)


def _delete(stack: Stack, name: str) -> None:
    stack.kubectl("delete", "inferenceservices.stoker.dev", name, "-n", NAMESPACE)
    stack.wait_for(lambda: not stack.engine_pods(name, NAMESPACE), f"the engines of {name}", 180)


if __name__ == "__main__":
    raise SystemExit(main())
