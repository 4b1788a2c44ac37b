"""What the list of 5,000 nodes costs the operator: processor time, longest pause, memory.

    python -m benchmarks.nodes_at_scale

Bodies are made up at the size that real ones have: fifty images, the labels of node feature
discovery. Pages come from memory and not from an API server, whose time is not the operator's.
"""

from __future__ import annotations

import json
import time
import tracemalloc
from typing import Any

from benchmarks.common import milliseconds, options_of, report
from stoker.catalog.load import builtin_marks
from stoker.cluster.nodes import PAGE
from stoker.model.inventory import Node, inventory_of, node_of
from stoker.model.platform import AcceleratorPlatform
from stoker.model.topology import Requirement, Topology

NODES = 5000
ZONE = "topology.kubernetes.io/zone"
PRODUCTS = ("NVIDIA-L4", "NVIDIA-H100-80GB-HBM3")


def main() -> None:
    """Measure and print."""
    options = options_of(__doc__).parse_args()
    types = {
        name: AcceleratorPlatform(
            name,
            marks.resource,
            {marks.label: marks.products[0]} if marks.label and marks.products else {},
        )
        for name, marks in builtin_marks().items()
    }
    numbers = range(0, NODES, PAGE)
    pages = [json.dumps({"items": [_body(n) for n in range(k, k + PAGE)]}) for k in numbers]
    nodes: list[Node] = []
    times = []
    for page in pages:
        before = time.process_time()
        nodes.extend(_read(page, types))
        times.append(time.process_time() - before)
    place = Topology(((Requirement(ZONE, "In", ("z1",)),),), "models")
    before = time.process_time()
    inventory_of(nodes, types, place)
    counting = time.process_time() - before
    del nodes
    tracemalloc.start()
    again = [node for page in pages for node in _read(page, types)]
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    size = sum(map(len, pages))
    rows = [
        ("bodies", f"{size / 1e6:.0f} MB, {size / NODES / 1e3:.1f} kB each", ""),
        ("one list", f"{sum(times):.2f} s of a core, every 300 s", ""),
        ("the loop waits for a page", f"at most {milliseconds(max(times))}", ""),
        ("counting for a volume", milliseconds(counting), ""),
        ("kept", f"{kept / 1e6:.1f} MB, peak {peak / 1e6:.1f} MB", ""),
    ]
    found = {"bytes": size, "pages_s": times, "counting_s": counting, "kept": kept, "peak": peak}
    report(f"{len(again)} nodes, {len(types)} types", rows, found, options.output)


def _read(page: str, types: dict[str, AcceleratorPlatform]) -> list[Node]:
    return [node_of(body, types) for body in json.loads(page)["items"]]


def _body(number: int) -> dict[str, Any]:
    labels = {f"feature.node.kubernetes.io/cpu-cpuid.F{flag}": "true" for flag in range(60)}
    labels |= {
        "nvidia.com/gpu.product": PRODUCTS[number % len(PRODUCTS)],
        "nvidia.com/gpu.memory": "23034",
        "nvidia.com/cuda.driver.major": "580",
        "kubernetes.io/hostname": f"node-{number}",
        ZONE: f"z{number % 3}",
    }
    conditions = ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
    name = "registry.example.com/some/image"
    return {
        "kind": "Node",
        "metadata": {
            "name": f"node-{number}",
            "labels": labels,
            "annotations": {f"example.com/{n}": "x" * 80 for n in range(10)},
        },
        "status": {
            "allocatable": {"cpu": "64", "nvidia.com/gpu": "8"},
            "conditions": [
                {"type": each, "status": str(each == "Ready"), "message": "x" * 60}
                for each in conditions
            ],
            "images": [
                {"names": [f"{name}@sha256:{'0' * 64}", f"{name}:1"], "sizeBytes": 1}
                for _ in range(50)
            ],
        },
    }


if __name__ == "__main__":
    main()
