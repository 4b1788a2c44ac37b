"""First held request → engine pod created, at zero replicas.

    python benchmarks/first_request.py [--services 20]

The request is one that a stand-in for the frontend counts in its statistics, at a time that we
note; the pod's creation is the API server's audit log. Both clocks are this machine's.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from stoker.naming import Component
from tests.integration.operator.pods import Frontend, make_ready
from tests.integration.operator.readers import Readers
from tests.integration.operator.support import (
    OperatorProcess,
    install,
    make_claim,
    service,
    wait_for,
)
from tests.support.controlplane import ControlPlane

NAMESPACE = "first"
SCALING = {"minReplicas": 0, "maxReplicas": 1, "scaleToZeroAfter": "10s"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--services", type=int, default=20)
    count = parser.parse_args().services
    folder = Path(tempfile.mkdtemp(prefix="stoker-first-"))
    with ExitStack() as stack:
        plane = stack.enter_context(ControlPlane(folder / "plane", controllers=True, audit=True))
        stack.enter_context(Readers(plane))
        install(plane)
        plane.namespace(NAMESPACE)
        make_claim(plane, NAMESPACE)
        operator = OperatorProcess(plane, folder, config={"logLevel": "warning"})
        stack.enter_context(operator)
        wait_for("the operator leads", operator.leads)
        frontends = [stack.enter_context(Frontend()) for _ in range(count)]
        for number, frontend in enumerate(frontends):
            plane.apply(service(f"s{number}", NAMESPACE, scaling=SCALING))
            make_ready(plane, NAMESPACE, f"s{number}", Component.FRONTEND, frontend)
        wait_for("all are at zero", lambda: not engine_pods(plane), 90)
        values = []
        for frontend in frontends:
            before = len(created(plane))
            time.sleep(0.5 + random.random() / 5)
            asked = time.time()
            frontend.request()
            wait_for("a pod", lambda: len(created(plane)) > before)  # noqa: B023
            values.append(created(plane)[before] - asked)
        report(sorted(values))


def engine_pods(plane: ControlPlane) -> list[str]:
    """Names of the engine pods that exist."""
    selector = "stoker.dev/component=engine"
    items = plane.get("pods", "-n", NAMESPACE, "-l", selector)["items"]
    return [item["metadata"]["name"] for item in items]


def created(plane: ControlPlane) -> list[float]:
    """When each pod of the namespace was created, in order."""
    return [
        datetime.fromisoformat(event["stageTimestamp"]).timestamp()
        for event in plane.writes()
        if event["verb"] == "create"
        and event["objectRef"]["resource"] == "pods"
        and event["objectRef"].get("namespace") == NAMESPACE
        and not event["objectRef"].get("subresource")
    ]


def report(values: list[float]) -> None:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    print(f"first held request -> engine pod created, {len(values)} services")
    print(f"p50 {cuts[49] * 1000:.0f} ms   p99 {cuts[98] * 1000:.0f} ms   (<= 300 and 1000)")


if __name__ == "__main__":
    main()
