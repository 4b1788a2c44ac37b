"""Memory of the operator with many services, and its writes while they are settled.

    python benchmarks/operator_rss.py [--services 20] [--seconds 60]

Half of the services scale by load, so their samplers run too.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.integration.operator.readers import Readers
from tests.integration.operator.support import (
    OperatorProcess,
    install,
    make_claim,
    operator_writes,
    service,
    wait_for,
)
from tests.support.controlplane import ControlPlane

NAMESPACE = "memory"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--services", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="stoker-memory-"))
    with ControlPlane(folder / "plane", controllers=True, audit=True) as plane, Readers(plane):
        install(plane)
        plane.namespace(NAMESPACE)
        make_claim(plane, NAMESPACE)
        with OperatorProcess(plane, folder, config={"logLevel": "warning"}) as operator:
            wait_for("the operator leads", operator.leads)
            before = operator.resident_mib()
            for number in range(options.services):
                spec = {"scaling": {"minReplicas": 1, "maxReplicas": 2}} if number % 2 else {}
                plane.apply(service(f"s{number}", NAMESPACE, **spec))
            wait_for(
                "all Deployments",
                lambda: (
                    len(plane.get("deployments", "-n", NAMESPACE)["items"]) == 2 * options.services
                ),
                120,
            )
            time.sleep(10)
            settled = len(operator_writes(plane))
            cpu = operator.metric("process_cpu_seconds_total") or 0.0
            time.sleep(options.seconds)
            cpu = ((operator.metric("process_cpu_seconds_total") or 0.0) - cpu) / options.seconds
            writes = len(operator_writes(plane)) - settled
            print(f"operator RSS: {before:.0f} MiB without services")
            print(
                f"operator RSS: {operator.resident_mib():.0f} MiB with {options.services} (<= 150)"
            )
            print(f"settled: {writes} writes in {options.seconds:.0f} s, {cpu:.1%} of one core")


if __name__ == "__main__":
    main()
