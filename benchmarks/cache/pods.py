"""Many pods on one cached model: they start with one download, and shut off from the hub.

    python -m benchmarks.cache.pods [--pods N] [--no-install] [-o FILE]

On the cluster (`make up`). All pods but two mount the model and read every byte of it against its
manifest before they say that they are ready; two are real engines of a service. Then what a warm
start costs: an engine's pod on a cached model beside one on a claim that the user filled by hand.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from benchmarks.common import cluster_options_of, installed, report
from e2e.caches import Caches, prepared
from e2e.load import median
from e2e.models import TINY
from e2e.stack import MODEL_CLAIM, is_ready
from e2e.test_00_cluster import RESTRICTED

NAMESPACE = "bench-caches"
CACHE, WARM, PLAIN = "tiny", "warm", "plain"
ENGINES = 2
GOOD = "/tmp/good"  # noqa: S108 - in a pod of its own
CHECK = """
import sys, time
from pathlib import Path
from stoker_worker.manifest import full_check, quick_check, read_manifest
folder = Path(sys.argv[1])
found = read_manifest(folder)
assert not [each for each in quick_check(folder, found) if each.certain]
assert not [each for each in full_check(folder, found.files) if each.fault]
Path(sys.argv[2]).touch()
time.sleep(3600)
"""


def readers(caches: Caches, count: int) -> dict[str, Any]:
    """A Deployment of pods that prove the model to themselves."""
    status = caches.status(CACHE)
    name = str(status["folder"]).rpartition("/")[2]
    container = {
        "name": "main",
        "image": caches.stack.cluster.images["worker"],
        "command": ["python3", "-c", CHECK, f"/volume/models/{name}", GOOD],
        "securityContext": RESTRICTED,
        "readinessProbe": {"exec": {"command": ["test", "-f", GOOD]}, "periodSeconds": 2},
        "volumeMounts": [{"name": "v", "mountPath": "/volume", "readOnly": True}],
    }
    claim = {"claimName": status["claim"], "readOnly": True}
    labels = {"app": "readers"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "readers", "namespace": NAMESPACE},
        "spec": {
            "replicas": count,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "automountServiceAccountToken": False,
                    "containers": [container],
                    "volumes": [{"name": "v", "persistentVolumeClaim": claim}],
                },
            },
        },
    }


def start_all(caches: Caches, count: int) -> float:
    """Seconds until all pods are ready, engines and readers."""
    stack = caches.stack
    began = time.monotonic()
    stack.apply(readers(caches, count - ENGINES))
    stack.apply(caches.service(WARM, {"cacheRef": {"name": CACHE}}, ENGINES))

    def ready() -> bool:
        pods = [pod for pod in stack.list("pods", NAMESPACE, "app=readers") if is_ready(pod)]
        return len(pods) == count - ENGINES

    stack.wait_for(ready, f"{count - ENGINES} readers", 420, every=2)
    caches.settle(WARM, ENGINES)
    return time.monotonic() - began


def start_one(caches: Caches, service: str) -> float:
    """Seconds from a pod's creation to Ready, by the API server's own times."""
    stack = caches.stack
    old = stack.engine_pods(service, caches.namespace)[0]["metadata"]
    stack.kubectl("delete", "pod", old["name"], "-n", caches.namespace, "--wait=true")
    (pod,) = caches.settle(service)
    return ready_at(pod) - made_at(pod)


def made_at(found: dict[str, Any]) -> float:
    """Unix seconds of an object's creation."""
    return _unix(found["metadata"]["creationTimestamp"])


def ready_at(pod: dict[str, Any]) -> float:
    """Unix seconds since when a pod is ready."""
    ready = next(c for c in pod["status"]["conditions"] if c["type"] == "Ready")
    return _unix(ready["lastTransitionTime"])


def _unix(text: str) -> float:
    from datetime import datetime  # noqa: PLC0415

    return datetime.fromisoformat(text).timestamp()


def main() -> int:
    """Measure and print."""
    parser = cluster_options_of(__doc__)
    parser.add_argument("--pods", type=int, default=50)
    parser.add_argument("--pairs", type=int, default=3, help="starts of an engine, cached and not")
    options = parser.parse_args()
    stack = installed(options)
    with prepared(stack, NAMESPACE) as caches:
        began = time.monotonic()
        stack.apply(caches.cache(CACHE, storage={"pvc": {"size": "100Mi"}}))
        caches.wait_ready(CACHE)
        filled = time.monotonic() - began
        downloads = caches.downloads()
        with caches.shut_off():
            caches.hub.forget()
            took = start_all(caches, options.pods)
            calls = len(caches.hub.hub.seen) + len(caches.hub.cdn.seen)
        stack.kubectl("delete", "deployment", "readers", "-n", NAMESPACE, "--wait=true")
        stack.apply(caches.service(WARM, {"cacheRef": {"name": CACHE}}))
        stack.apply(caches.service(PLAIN, {"uri": f"pvc://{MODEL_CLAIM}/{TINY.name}"}))
        caches.settle(WARM)
        caches.settle(PLAIN)
        pairs = [(start_one(caches, WARM), start_one(caches, PLAIN)) for _ in range(options.pairs)]
    added = median([warm - plain for warm, plain in pairs]) or 0.0
    rows = [
        ("ModelCache applied → Ready, 3 MB", f"{filled:.1f} s", ""),
        ("downloads of the weights", str(downloads), "1"),
        (f"{options.pods} pods ready, {ENGINES} engines, no hub", f"{took:.0f} s", ""),
        ("calls to the hub meanwhile", str(calls), "0"),
        ("engine start, cached", _seconds([warm for warm, _ in pairs]), ""),
        ("engine start, the user's claim", _seconds([plain for _, plain in pairs]), ""),
        ("added by the cache", f"{added:.1f} s (times are whole seconds)", "≤ 0.5 s"),
    ]
    numbers = {
        "filled": filled,
        "downloads": downloads,
        "all": took,
        "calls": calls,
        "pairs": pairs,
    }
    report("Model caches on the cluster", rows, numbers, options.output)
    return int(downloads != 1 or calls > 0)


def _seconds(values: list[float]) -> str:
    return f"{median(values) or 0:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
