"""The long run: everything that may happen to pods happens, many times, and no request is lost.

    python -m benchmarks.no_loss [--short]

Two replicas under streams and unary requests. Each event waits until at least 8 requests, 4 of
them streams, are in flight on the pod that is hit; the report says how many events met that, and
how many requests were there. The client does not retry. Complete means the expected count of
tokens, a finish reason and `[DONE]`; 429 and 503 count as lost. Exit status 1 on any loss.

Two frontends unless `--frontends 1` says otherwise, which `e2e/test_40_no_loss.py` covers too.
Every prompt begins otherwise, or the picker would send what it has seen
before to one replica and leave the other one without anything to lose. A drain is what
`kubectl drain` does to a service's pods: an eviction of each, again until its budget allows it. The
node itself stays schedulable, as there is only one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import NAMESPACE, cluster_options_of, installed, report
from e2e.chaos import Chaos, Event, harmed
from e2e.cluster.progress import Progress, say
from e2e.demo.reach import Reach
from e2e.load import median
from e2e.models import PROMPTS
from e2e.stack import Stack, example
from e2e.traffic import Traffic, describe, lost

if TYPE_CHECKING:
    from e2e.load.records import Record

NAME = "lossless"
REPLICAS = 2
# Slots for all that is in flight on one of two replicas, so that streams flow and do not queue.
WIDE = {"args": {"max-num-seqs": "16"}}
COUNTS = {
    "scale-downs": 10, "rollouts": 10, "engine-deletions": 5, "frontend-deletions": 5, "drains": 2,
    "operator-kills": 5,
}  # fmt: skip


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = cluster_options_of(__doc__)
    parser.add_argument("--short", action="store_true", help="one of each, unless said otherwise")
    for name, count in COUNTS.items():
        parser.add_argument(f"--{name}", type=int, metavar="N", help=f"default {count}")
    parser.add_argument("--frontends", type=int, default=2, help="frontend pods of the service")
    parser.add_argument("--streams", type=int, default=16, help="in flight at any time")
    parser.add_argument("--unary", type=int, default=4, help="in flight at any time")
    parser.add_argument("--stream-tokens", type=int, default=300)
    return parser.parse_args(arguments)


def main() -> int:
    options = parse()
    stack = installed(options)
    texts = tuple(f"{number}: {p.text}" for number in range(500) for p in PROMPTS)
    events: list[Event] = []
    problem = ""
    try:
        with Progress(f"{REPLICAS} replicas start"):
            begin(stack, options.frontends)
        url = Reach(stack, NAME, NAMESPACE).url()
        begun = time.monotonic()
        with Traffic(
            url, NAME, streams=options.streams, unary=options.unary, prompts=texts,
            stream_tokens=options.stream_tokens,
        ) as traffic:  # fmt: skip
            traffic.wait_streaming(options.streams // 2)
            try:
                run(stack, traffic, plan(options), events)
            except AssertionError as error:
                problem = str(error)
                say(f"the run stopped: {problem}")
            records = traffic.finish()
        seconds = time.monotonic() - begun
    finally:
        stack.kubectl(
            "delete", "inferenceservices.stoker.dev", NAME, "-n", NAMESPACE, "--ignore-not-found"
        )
    tell(options, events, records, seconds, problem)
    if lost(records):
        say(describe(lost(records), 10))
    return 1 if lost(records) or problem else 0


def begin(stack: Stack, frontends: int) -> None:
    """The service with its replicas, all ready."""
    stack.apply(
        example(
            NAME, NAMESPACE, scaling=None, replicas=REPLICAS, engine=WIDE,
            frontend={"replicas": frontends},
        )
    )  # fmt: skip
    stack.wait_ready_engines(NAME, NAMESPACE, REPLICAS, seconds=420)
    stack.wait_condition(NAME, NAMESPACE, "Progressing", reason="Settled", seconds=60)


def plan(options: argparse.Namespace) -> list[str]:
    """Which events happen, the kinds in turn, so that none always follows itself."""
    left = {
        name: _chosen(getattr(options, name.replace("-", "_")), count, short=options.short)
        for name, count in COUNTS.items()
    }
    found = []
    while any(left.values()):
        for name, count in left.items():
            if count:
                left[name] -= 1
                found.append(name)
    return found


def _chosen(asked: int | None, usual: int, *, short: bool) -> int:
    if asked is not None:
        return asked
    return 1 if short else usual


def run(stack: Stack, traffic: Traffic, names: list[str], events: list[Event]) -> None:
    """Do it all."""
    chaos = Chaos(stack, NAME, NAMESPACE, traffic)
    rollouts = iter(range(1, 1000))
    acts: dict[str, Callable[[], Event]] = {
        "scale-downs": lambda: chaos.scale_down(REPLICAS - 1),
        "rollouts": lambda: chaos.rollout(next(rollouts)),
        "engine-deletions": chaos.delete_engine,
        "frontend-deletions": chaos.delete_frontend,
        "drains": chaos.evict_all,
        "operator-kills": chaos.kill_operator,
    }
    for number, name in enumerate(names, 1):
        with Progress(name.removesuffix("s"), number, len(names)):
            event = acts[name]()
            events.append(event)
            if name == "scale-downs":
                chaos.scale_up(REPLICAS)
            else:
                stack.wait_ready_engines(NAME, NAMESPACE, REPLICAS, seconds=300)
        gone = len(lost([record for record in traffic.records() if record.end is not None]))
        say(
            f"      {event.requests} requests on {event.pod}, whole again after "
            f"{event.seconds:.0f} s; {len(traffic.records())} requests so far, {gone} lost"
        )


def tell(
    options: argparse.Namespace,
    events: list[Event],
    records: list[Record],
    seconds: float,
    problem: str,
) -> None:
    """Each kind with its exposures, then the sum."""
    hurt = harmed(events, records)
    rows = []
    for kind in dict.fromkeys(event.kind for event in events):
        of_kind = [event for event in events if event.kind == kind]
        flying = [event.requests for event in of_kind]
        exposed = sum(event.exposed() for event in of_kind)
        seen = f"{len(of_kind)} events, {exposed} exposed, lost {hurt[kind]}"
        hit = f"on the pod: least {min(flying)}, median {median(flying)}"
        rows.append((kind, f"{seen}; {hit}", "all exposed, 0 lost"))
    rows.append(("requests, lost", f"{len(records)}, {len(lost(records))}", "0 lost"))
    rows.append(("minutes", f"{seconds / 60:.1f}", ""))
    numbers = {
        "events": [event.to_json() for event in events],
        "requests": len(records),
        "lost": len(lost(records)),
        "losses": [record.to_json() for record in lost(records)],
        "seconds": seconds,
        "problem": problem,
    }
    report("No request is lost", rows, numbers, options.output)


if __name__ == "__main__":
    sys.exit(main())
