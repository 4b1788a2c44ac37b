"""What a cache saves a start: from the service's first moment, or a pod's, to Ready.

    python -m benchmarks.cache.starts [--rounds N] [--no-install] [-o FILE]

On the cluster (`make up`). Each round begins with nothing: no service, no ModelCache, nothing on
the volume. Then, of one model from a hub beside the cluster:

    cold      from the creation of cache and service until the engine's pod is Ready: two jobs
              resolve and fetch, a pod loads; and of this the pod's part, from its creation
    warm      that pod is deleted, and the next one is Ready, from its creation: the volume and the
              kernel's memory have the model; without and with what an earlier pod left beside it
              (kernels, and what vLLM found out about the model's class)

All that of a service that runs eagerly, and of one that compiles (`compile: on`).

Times are the API server's own, whole seconds. The model is tiny, so its download is no part of it.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.cache.pods import made_at, ready_at, start_one
from benchmarks.common import cluster_options_of, installed, report
from e2e.caches import Caches, prepared, remove_caches_and_services
from e2e.load import median

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMESPACE = "bench-starts"
EAGER, COMPILING = "eager", "compiling"
CACHE = "tiny"
PV_FREE, PV_LEFT = "Available", "Released"
COMPILED: dict[str, Any] = {"optimization": {"compile": "on"}}


def forget(caches: Caches) -> None:
    """Leave nothing of the model: no service, no cache, no file, no page."""
    stack, volume = caches.stack, f"{NAMESPACE}-free"
    remove_caches_and_services(stack, NAMESPACE)
    claims = (PV_FREE, PV_LEFT)
    stack.wait_for(lambda: phase(caches, volume) in claims, "the claim to go", 120)
    for path in caches.folder.iterdir():
        shutil.rmtree(path)
    if phase(caches, volume) == PV_LEFT:  # nobody may claim it until it forgets who did
        patch = '[{"op": "remove", "path": "/spec/claimRef"}]'
        stack.kubectl("patch", "persistentvolume", volume, "--type=json", "-p", patch)


def phase(caches: Caches, volume: str) -> str:
    """Whether a PersistentVolume is free, claimed, or left by a claim that went."""
    told = caches.stack.kubectl("get", "persistentvolume", volume, "-o", "jsonpath={.status.phase}")
    return str(told).strip()


def cold(caches: Caches, service: str, **spec: Any) -> tuple[float, float]:
    """Seconds until the first engine is Ready: since the service was made, and since its pod."""
    caches.stack.apply(caches.cache(CACHE, storage={"pvc": {"size": "100Mi"}}))
    caches.stack.apply(caches.service(service, {"cacheRef": {"name": CACHE}}, **spec))
    (pod,) = caches.settle(service)
    found = caches.stack.get("infer", service, NAMESPACE) or {}
    return ready_at(pod) - made_at(found), ready_at(pod) - made_at(pod)


def round_of(caches: Caches) -> dict[str, float]:
    """One round of everything."""
    found: dict[str, float] = {}
    for service, what, spec in ((EAGER, "", {}), (COMPILING, "compiling: ", COMPILED)):
        forget(caches)
        whole, part = cold(caches, service, **spec)
        found[f"{what}cold"], found[f"{what}cold, the pod's part"] = whole, part
        wait_for_snapshot(caches)
        for snapshot in caches.compiled():
            snapshot.unlink()
        found[f"{what}warm, nothing kept"] = start_one(caches, service)
        wait_for_snapshot(caches)
        found[f"{what}warm, with what was kept"] = start_one(caches, service)
        restored = caches.state(service)["compiled"]["restored"]
        assert restored in {each.name for each in caches.compiled()}, "the start had no snapshot"
    return found


def wait_for_snapshot(caches: Caches) -> None:
    """Wait until an engine has published what it compiled and found out."""
    caches.stack.wait_for(lambda: bool(caches.compiled()), "what it wrote to be kept", 180)


def main() -> int:
    """Measure and print."""
    parser = cluster_options_of(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    stack = installed(options)
    rounds: list[dict[str, float]] = []
    loads = []
    with prepared(stack, NAMESPACE) as caches:
        for number in range(1, options.rounds + 1):
            loads.append(os.getloadavg()[0])
            rounds.append(round_of(caches))
            sys.stderr.write(f"round {number} of {options.rounds}, load {loads[-1]:.1f}: ")
            sys.stderr.write(f"{ {name: round(value) for name, value in rounds[-1].items()} }\n")
        forget(caches)
    rows = [(name, _seconds([each[name] for each in rounds]), "") for name in rounds[0]]
    rows.append(("load average", f"{min(loads):.0f} to {max(loads):.0f}", ""))
    report(
        "Starts with and without a cache", rows, {"rounds": rounds, "loads": loads}, options.output
    )
    return 0


def _seconds(values: Sequence[float]) -> str:
    return f"{median(list(values)) or 0:.0f} s ({min(values):.0f} to {max(values):.0f})"


if __name__ == "__main__":
    sys.exit(main())
