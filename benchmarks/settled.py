"""Writes by the operator while services are settled, idle and under steady load; its memory.

    python -m benchmarks.settled [--seconds 600]

Two services at once, one of each: a write for either shows. Counted twice, by those who cannot know
of each other. The operator's own metrics count each request that it sent, by verb: PATCH, POST and
DELETE are writes, and PUT is only ever the Lease's renewal. That count sees a write that changes
nothing, too. And the API server's objects are laid side by side before and after, with what it
notes of each manager's last write, and the Events. The second count needs no trust in the first.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import (
    NAMESPACE,
    cluster_options_of,
    cpu_share,
    installed,
    processes,
    report,
    resident_mib,
)
from e2e.cluster.progress import Progress
from e2e.demo.reach import Reach
from e2e.load import BackgroundLoad, Mix, OpenLoop, Outcome, Target
from e2e.models import PROMPTS
from e2e.stack import OPERATOR_NAMESPACE, Stack, example

BUSY, IDLE = "settled-busy", "settled-idle"
LEARNING_S = 600
SCALING = {"minReplicas": 1, "maxReplicas": 2}
OURS = ("manager stoker", "reporter stoker")
WRITES = ("PATCH", "POST", "DELETE")
KINDS = (
    "inferenceservices.stoker.dev", "deployments.apps", "services", "serviceaccounts", "configmaps",
    "roles.rbac.authorization.k8s.io", "rolebindings.rbac.authorization.k8s.io",
    "poddisruptionbudgets.policy", "networkpolicies.networking.k8s.io",
    "inferencepools.inference.networking.k8s.io", "events.events.k8s.io", "pods",
)  # fmt: skip


def main() -> int:
    parser = cluster_options_of(__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="how long to count")
    parser.add_argument("--rate", type=float, default=2, help="requests a second")
    options = parser.parse_args()
    stack = installed(options)
    for name in (BUSY, IDLE):
        stack.apply(example(name, NAMESPACE, scaling=SCALING))
    try:
        with Progress("two services answer, and everything is settled"):
            for name in (BUSY, IDLE):
                stack.wait_ready_engines(name, NAMESPACE, 1, seconds=300)
                stack.wait_condition(name, NAMESPACE, "Progressing", reason="Settled", seconds=60)
        url = Reach(stack, BUSY, NAMESPACE).url()
        mix = Mix(tuple(p.text for p in PROMPTS), unary_tokens=8, stream_tokens=16)
        pattern = OpenLoop(mix, options.rate, options.seconds + LEARNING_S + 60)
        with BackgroundLoad(Target(url, BUSY), pattern) as load:
            # That load begins is a change that the status may tell of, and so is what it teaches.
            with Progress("the engine's times under load are known"):
                learned = learn(stack)
            time.sleep(30)
            with Progress("one is idle, one has a steady load"):
                seen = watch(stack, options.seconds)
            records = load.finish()
    finally:
        for name in (BUSY, IDLE):
            stack.kubectl("delete", "inferenceservices.stoker.dev", name, "-n", NAMESPACE)
    failed = sum(record.outcome is not Outcome.COMPLETE for record in records)
    window = f"in {options.seconds:.0f} s"
    rows = [
        (f"writes sent {window}", str(seen["sent"]), "0"),
        (f"objects changed by us {window}", str(seen["changed"]), "0"),
        ("until times were known", f"{learned:.0f} s", ""),
        (f"requests at {options.rate:g} a second, failed", f"{len(records)}, {failed}", ""),
        ("renewals of the Lease", str(seen["lease"]), ""),
        ("leading operator: memory", f"{seen['memory']:.0f} MiB", "≤ 150 MB with 20 services"),
        ("leading operator: CPU", f"{seen['cpu']:.1%} of a core", ""),
    ]
    report("Settled services", rows, {**seen, "seconds": options.seconds}, options.output)
    return 1 if seen["sent"] or seen["changed"] else 0


def learn(stack: Stack) -> float:
    """Wait until the plan is corrected by the time per token, as long as that may take; seconds."""
    began = time.monotonic()
    while time.monotonic() - began < LEARNING_S:
        service = stack.get("inferenceservices.stoker.dev", BUSY, NAMESPACE) or {}
        measured = service.get("status", {}).get("plan", {}).get("measured") or {}
        if any("itl" in way for way in measured.get("ways", ())):
            break
        time.sleep(5)
    return time.monotonic() - began


def watch(stack: Stack, seconds: float) -> dict[str, Any]:
    """Count writes during that time."""
    leader = leading_pod(stack)
    (pid,) = [pid for pid, name in processes(leader).items() if "stoker" in name]
    objects, calls = versions(stack), sent(leader)
    cpu = cpu_share([pid], seconds)[pid]
    now, after = sent(leader), versions(stack)
    assert leading_pod(stack)["metadata"]["uid"] == leader["metadata"]["uid"], "the leader changed"
    spent = now - calls
    changes = [
        f"{kind}/{name} by {manager}"
        for (kind, name, manager), stamp in after.items()
        if objects.get((kind, name, manager)) != stamp
    ]
    changes += [
        f"{kind}/{name} of {manager} is gone"
        for kind, name, manager in objects.keys() - after.keys()
    ]
    return {
        "sent": sum(count for verb, count in spent.items() if verb in WRITES),
        "changed": sum(any(word in change for word in OURS) for change in changes),
        "changes": changes,
        "lease": spent["PUT"],
        "calls": dict(spent),
        "cpu": cpu,
        "memory": resident_mib(pid),
    }


def leading_pod(stack: Stack) -> dict[str, Any]:
    """The operator pod that holds the Lease."""
    (lease,) = stack.list("leases", OPERATOR_NAMESPACE)
    holder = lease["spec"]["holderIdentity"]
    pods = stack.list("pods", OPERATOR_NAMESPACE)
    return next(pod for pod in pods if pod["metadata"]["name"] in holder)


def sent(pod: dict[str, Any]) -> Counter[str]:
    """Requests to the API server by verb, as the operator counts them."""
    url = f"http://{pod['status']['podIP']}:8080/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "stoker_api_call_duration_seconds_count":
                found[sample.labels["verb"]] += int(sample.value)
    return found


def versions(stack: Stack) -> dict[tuple[str, str, str], str]:
    """What each manager last wrote, and when, of each object of the namespace."""
    text = stack.kubectl(
        "get", ",".join(KINDS), "-n", NAMESPACE, "-o", "json", "--show-managed-fields"
    )
    found = {}
    for item in json.loads(text)["items"]:
        kind, name = item["kind"], item["metadata"]["name"]
        if reporter := item.get("reportingController"):  # an Event: its count is in its version
            found[kind, name, f"reporter {reporter}"] = item["metadata"]["resourceVersion"]
            continue
        for entry in item["metadata"].get("managedFields", ()):
            part = entry.get("subresource", "")
            manager = f"manager {entry['manager']} {entry['operation']} {part}".rstrip()
            found[kind, name, manager] = json.dumps(entry, sort_keys=True)
    return found


if __name__ == "__main__":
    sys.exit(main())
