"""The frontend's own share of a request, paired per request, and what one frontend costs.

    python -m benchmarks.frontend_share             real Envoy and picker, an engine that is a stub
    python -m benchmarks.frontend_share --cluster   the whole service on the cluster, real vLLM

The promise is for 50 requests a second, more than vLLM answers on two cores without an accelerator.
So the first way has the product's own Envoy configuration, picker and API server on loopback, and
in the engine's place a small server that answers at once. Each request is its own pair: Envoy's
duration minus the time until the engine's answer began, from Envoy's own log. The engine's time
has whole milliseconds there, cut off, so what is reported is up to 1 ms too much, never too little.

The second way sends each request twice, through the frontend and straight to the pod, at a rate
that the engine carries; the difference holds the network's way to the frontend, too.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import (
    NAMESPACE,
    cluster_options_of,
    cpu_share,
    installed,
    milliseconds,
    p50_p99,
    processes,
    report,
    resident_mib,
)
from e2e.cluster import programs
from e2e.cluster.progress import Progress
from e2e.demo.paired import measure
from e2e.demo.reach import Reach
from e2e.load import Mix, OpenLoop, Outcome, Target, median, percentile, run
from e2e.models import PROMPTS
from e2e.stack import example, is_ready
from tests.integration.frontend.support import (
    NAMESPACE as RIG_NAMESPACE,
)
from tests.integration.frontend.support import (
    FrontendRig,
    make_input,
    picker_crds,
)
from tests.support.controlplane import ControlPlane

NAME = "share"
IDLE_SECONDS = 15.0
PROMISE = "p50 ≤ 3 ms, p99 ≤ 15 ms"


def main() -> int:
    parser = cluster_options_of(__doc__)
    parser.add_argument("--cluster", action="store_true", help="on the cluster, with real vLLM")
    parser.add_argument("--rate", type=float, help="requests (on the cluster: pairs) a second")
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    return on_cluster(options) if options.cluster else on_rig(options)


def on_rig(options: argparse.Namespace) -> int:
    """Real Envoy and picker, a stub engine."""
    rate = options.rate or 50.0
    address = f"127.{os.getpid() % 250 + 2}.1.1"
    found = {**programs.ensure(["epp"]), "envoy": programs.ensure_envoy()}
    with tempfile.TemporaryDirectory(prefix="stoker-share-") as folder:
        with Progress("control plane"):
            plane = ControlPlane(Path(folder) / "plane").__enter__()
        try:
            for path in picker_crds():
                plane.apply(path.read_text())
            plane.kubectl("wait", "--for=condition=Established", "crd", "--all")
            plane.namespace(RIG_NAMESPACE)
            account = {"name": "default", "namespace": RIG_NAMESPACE}
            plane.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
            with FrontendRig(Path(folder) / "rig", plane, found, make_input(NAME)) as rig:
                rig.add_engine("stub", address)
                return measure_rig(options, rig, rate)
        finally:
            plane.__exit__(None, None, None)


def measure_rig(options: argparse.Namespace, rig: FrontendRig, rate: float) -> int:
    """Load, and what Envoy's log says about each request."""
    mix = Mix((PROMPTS[0].text,), stream_share=0, unary_tokens=1, api="completions")
    target = Target(f"{rig.url}/v1", "tiny", keep_alive=True)
    time.sleep(2)  # the picker reads the new engine's metrics first
    with Progress("warm up"):
        run(target, OpenLoop(mix, rate, 5))
    seen = len(log_lines(rig))
    with Progress(f"{rate:g} requests a second"):
        sent = len(run(target, OpenLoop(mix, rate, options.seconds)))
    rig.wait_until(lambda: len(log_lines(rig)) >= seen + sent, "Envoy's log is written")
    lines = log_lines(rig)[seen : seen + sent]
    good = [line for line in lines if line["status"] == 200]
    shares = [share(line) for line in good]
    pids = {name: process.pid for name, process in rig.processes.items()}
    with Progress("idle"):
        cpu = cpu_share(list(pids.values()), IDLE_SECONDS)
    memory = {name: resident_mib(pid) for name, pid in pids.items()}
    rows = [
        (f"frontend's share at {rate:g} requests/s, stub engine", p50_p99(shares), PROMISE),
        ("requests, answered 200", f"{len(lines)}, {len(good)}", ""),
        *_costs(memory, {name: cpu[pid] for name, pid in pids.items()}),
    ]
    numbers = {
        "engine": "stub", "rate": rate, "requests": len(lines), "answered": len(good),
        "share": {"p50": median(shares), "p90": percentile(shares, 90),
                  "p99": percentile(shares, 99)},
        "memoryMiB": memory, "idleCpu": {name: cpu[pid] for name, pid in pids.items()},
    }  # fmt: skip
    report("The frontend's share of a request", rows, numbers, options.output)
    return 0


def share(line: dict[str, Any]) -> float:
    """What of a request's time the frontend had, in seconds, from a line of Envoy's log."""
    spent: float = line["duration_us"] / 1e6 - int(line["upstream_service_ms"]) / 1e3
    return spent


def log_lines(rig: FrontendRig) -> list[dict[str, Any]]:
    """Envoy's log of finished requests."""
    text = (rig.folder / "envoy.log").read_text(errors="replace")
    whole = text[: text.rfind("\n") + 1].splitlines()
    return [json.loads(line) for line in whole if line.startswith('{"') and "duration_us" in line]


def on_cluster(options: argparse.Namespace) -> int:
    """Everything real; the rate is halved until the engine carries it."""
    stack = installed(options)
    stack.apply(example(NAME, NAMESPACE, scaling=None, replicas=1, engine=None))
    try:
        with Progress("one replica starts"):
            stack.wait_ready_engines(NAME, NAMESPACE, 1, seconds=300)
            reach = Reach(stack, NAME, NAMESPACE)
            url, engine = reach.url(60), reach.engine_url()
            assert engine is not None, "the engine cannot be reached past the frontend"
        pod = next(p for p in stack.frontend_pods(NAME, NAMESPACE) if is_ready(p))
        rate = options.rate or next(r for r in _rates(50.0) if carries(url, r))
        pairs_rate = rate / 2  # each pair is two requests to the one engine
        with Progress(f"{pairs_rate:g} pairs a second"):
            count = int(pairs_rate * options.seconds)
            pairs = measure(url, engine, NAME, PROMPTS[0].text, count=count, rate=pairs_rate)
        one = measure(url, engine, NAME, PROMPTS[0].text, count=50)
        names = {
            pid: "envoy" if "envoy" in text else "picker"
            for pid, text in processes(pod).items()
            if "envoy" in text.split()[0] or "epp" in text.split()[0]
        }
        with Progress("idle"):
            cpu = cpu_share(list(names), IDLE_SECONDS)
        memory = {name: resident_mib(pid) for pid, name in names.items()}
    finally:
        stack.kubectl("delete", "inferenceservices.stoker.dev", NAME, "-n", NAMESPACE)
    rows = [
        (f"added at {rate:g} requests/s to real vLLM", p50_p99(pairs.added), f"{PROMISE} at 50"),
        ("… a request at a time", p50_p99(one.added), ""),
        ("through the frontend", p50_p99(pairs.through), ""),
        ("straight to the pod", p50_p99(pairs.past), ""),
        ("difference of the medians", _difference(pairs.through, pairs.past), ""),
        ("pairs, failed", f"{len(pairs.added) + pairs.failed}, {pairs.failed}", ""),
        *_costs(memory, {name: cpu[pid] for pid, name in names.items()}),
    ]
    numbers = {
        "engine": "vllm", "rate": rate, "loaded": pairs.to_json(), "single": one.to_json(),
        "memoryMiB": memory, "idleCpu": {name: cpu[pid] for pid, name in names.items()},
    }  # fmt: skip
    report("The frontend's share of a request, on the cluster", rows, numbers, options.output)
    return 0


def carries(url: str, rate: float) -> bool:
    """Whether one-token requests at that rate are answered as they come, without a queue."""
    mix = Mix((PROMPTS[0].text,), stream_share=0, unary_tokens=1, api="completions")
    with Progress(f"does it carry {rate:g} requests a second?"):
        records = run(Target(url, NAME, keep_alive=True), OpenLoop(mix, rate, 6))
    late = [r.seconds for r in records[len(records) // 2 :] if r.outcome is Outcome.COMPLETE]
    middle = median([value for value in late if value is not None])
    return len(late) == len(records) - len(records) // 2 and middle is not None and middle < 0.25


def _rates(first: float) -> itertools.chain[float]:
    return itertools.chain((first, 30.0, 20.0, 10.0, 5.0, 2.0))


def _difference(through: tuple[float, ...], past: tuple[float, ...]) -> str:
    one, other = median(through), median(past)
    return milliseconds(None if one is None or other is None else one - other)


def _costs(memory: dict[str, float], cpu: dict[str, float]) -> list[tuple[str, str, str]]:
    return [
        (f"one frontend's {name}", f"{memory[name]:.0f} MiB, idle {cpu[name]:.1%} of a core", "")
        for name in memory
    ]


if __name__ == "__main__":
    sys.exit(main())
