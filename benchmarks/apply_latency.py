"""Apply → engine Deployment written, from the API server's own audit log.

    python benchmarks/apply_latency.py [--services 40]

Both times are the API server's: the end of the request that made the InferenceService, and the end
of the operator's request that made the Deployment. Services are made one after another, half a
second apart, on a control plane without kubelets.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.integration.operator.readers import Readers
from tests.integration.operator.support import (
    OperatorProcess,
    install,
    make_claim,
    service,
    wait_for,
)
from tests.support.controlplane import ControlPlane

NAMESPACE = "latency"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--services", type=int, default=40)
    count = parser.parse_args().services
    folder = Path(tempfile.mkdtemp(prefix="stoker-latency-"))
    with ControlPlane(folder / "plane", controllers=True, audit=True) as plane, Readers(plane):
        install(plane)
        plane.namespace(NAMESPACE)
        make_claim(plane, NAMESPACE)
        with OperatorProcess(plane, folder, config={"logLevel": "warning"}) as operator:
            wait_for("the operator leads", operator.leads)
            for number in range(count):
                plane.apply(service(f"s{number}", NAMESPACE))
                time.sleep(0.5)
            wait_for("all Deployments", lambda: len(delays(plane)) == count, 60)
        report(sorted(delays(plane)))


def delays(plane: ControlPlane) -> list[float]:
    """Seconds between the two writes, of each service whose engine Deployment is there."""
    asked: dict[str, float] = {}
    answered: dict[str, float] = {}
    for event in plane.writes():
        reference = event["objectRef"]
        if event["responseStatus"].get("code") != 201 or reference.get("namespace") != NAMESPACE:
            continue
        if reference["resource"] == "inferenceservices":
            asked[reference["name"]] = _time(event)
        elif reference["resource"] == "deployments" and "-engine-" in reference.get("name", ""):
            answered[reference["name"].split("-engine-")[0]] = _time(event)
    return [answered[name] - asked[name] for name in answered if name in asked]


def _time(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["stageTimestamp"]).timestamp()


def report(values: list[float]) -> None:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    print(f"apply -> engine Deployment written, {len(values)} services")
    print(f"p50 {cuts[49] * 1000:.0f} ms   p99 {cuts[98] * 1000:.0f} ms   (<= 300 and 1000)")


if __name__ == "__main__":
    main()
