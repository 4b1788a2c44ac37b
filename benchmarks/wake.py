"""First held request → engine pod created, on the real cluster.

    python -m benchmarks.wake [--count 10]

A service at zero replicas gets one request; a watch tells when the engine pod is there. Both times
are of this machine's steady clock, and the watch's own delivery is in the number. The service is
put back to zero by hand and given back to its scaling before each round, so that a round does not
last an engine's start. Before each request there is silence of random length, beyond the 5 s after
which the frontend tells the operator of a request at once.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import NAMESPACE, cluster_options_of, installed, p50_p99, report
from e2e.cluster.progress import Progress
from e2e.demo.reach import Reach
from e2e.load import BackgroundLoad, ClosedLoop, Mix, Target, median, percentile
from e2e.models import PROMPTS
from e2e.stack import Stack, example, is_ready
from e2e.timeline import Timeline

NAME = "wake"
SCALING = {"minReplicas": 0, "maxReplicas": 1, "scaleToZeroAfter": "60s"}


def main() -> int:
    parser = cluster_options_of(__doc__)
    parser.add_argument("--count", type=int, default=10)
    options = parser.parse_args()
    stack = installed(options)
    values: list[float] = []
    try:
        to_zero(stack)
        url = Reach(stack, NAME, NAMESPACE).url(60)
        with Timeline(stack.cluster.kubeconfig, NAMESPACE) as timeline:
            time.sleep(1)
            for number in range(options.count):
                with Progress(f"request {number + 1} of {options.count}"):
                    values.append(wake(timeline, url))
                    to_zero(stack)
    finally:
        stack.kubectl(
            "delete", "inferenceservices.stoker.dev", NAME, "-n", NAMESPACE, "--ignore-not-found"
        )
    rows = [
        ("first held request → engine pod created", p50_p99(values), "p50 ≤ 300 ms, p99 ≤ 1 s"),
        ("of so many requests", str(len(values)), ""),
    ]
    numbers = {"seconds": values, "p50": median(values), "p99": percentile(values, 99)}
    report("Waking from zero", rows, numbers, options.output)
    return 0


def to_zero(stack: Stack) -> None:
    """No replica, by hand; then the scaling again, which leaves it there."""
    stack.apply(example(NAME, NAMESPACE, scaling=None, replicas=0))
    stack.wait_for(
        lambda: (
            not stack.engine_pods(NAME, NAMESPACE)
            and any(is_ready(pod) for pod in stack.frontend_pods(NAME, NAMESPACE))
        ),
        "a frontend, and no engine",
        120,
    )
    stack.apply(example(NAME, NAMESPACE, scaling=SCALING))
    stack.wait_condition(NAME, NAMESPACE, "ScalingActive", status="True", seconds=30)
    stack.wait_condition(NAME, NAMESPACE, "Ready", reason="ScaledToZero", seconds=30)


def wake(timeline: Timeline, url: str) -> float:
    """Seconds from a request to the engine pod that it caused."""
    time.sleep(6 + random.random())
    mix = Mix((PROMPTS[0].text,), stream_share=0, unary_tokens=1, api="completions")
    # The answer is not waited for: the client leaves as soon as the pod is there.
    target = Target(url, NAME, total_seconds=2, silent_seconds=2)
    with BackgroundLoad(target, ClosedLoop(mix, users=1, seconds=1)) as load:
        (asked,) = load.wait_until(lambda flying: len(flying) == 1)
        created = timeline.wait("created", since=asked.start, seconds=20)
    return created.at - asked.start


if __name__ == "__main__":
    sys.exit(main())
