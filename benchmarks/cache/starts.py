"""What a cache saves a start: from the service's first moment, or a pod's, to Ready.

    python -m benchmarks.cache.starts [--rounds N] [--slow BYTES] [--no-install] [-o FILE]

On the cluster (`make up`). Each round begins with nothing: no ModelCache, nothing on the volume,
and what the kernel keeps of files dropped. Then, of one model from a hub beside the cluster:

    cold      the service is applied until its engine is Ready: a cache is made, fetches, and loads
    warm      that engine's pod is deleted, and the next one is Ready: the volume and the kernel's
              memory have the model
    kernels   the same of a service that compiles (`compile: on`), without and with the kernels that
              an earlier pod left beside the cache

Pods' times are the API server's own, whole seconds. The model is tiny, so the download of a cold
start is what `--slow` makes of it, in bytes per second; 0 is as fast as it goes.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.cache.pods import start_one
from benchmarks.common import cluster_options_of, installed, report
from e2e.caches import KIND, REPO, Caches, prepared, remove_services
from e2e.load import median

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMESPACE = "bench-starts"
EAGER, COMPILING = "eager", "compiling"
MODEL = {"uri": f"hf://{REPO}"}
COMPILED: dict[str, Any] = {"optimization": {"compile": "on"}}


def forget(caches: Caches) -> None:
    """Leave nothing of the model: no service, no cache, no file, no page."""
    remove_services(caches.stack, NAMESPACE)
    caches.stack.kubectl("delete", KIND, "--all", "-n", NAMESPACE, "--wait=true")
    for path in caches.folder.iterdir():
        shutil.rmtree(path)
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3\n", encoding="ascii")


def cold(caches: Caches, service: str, **spec: Any) -> float:
    """Seconds from `kubectl apply` until the engine is Ready."""
    began = time.time()
    caches.stack.apply(caches.service(service, MODEL, **spec))
    caches.settle(service)
    return time.time() - began


def round_of(caches: Caches) -> dict[str, float]:
    """One round of everything."""
    forget(caches)
    found = {"cold": cold(caches, EAGER)}
    found["warm"] = start_one(caches, EAGER)
    forget(caches)
    found["cold, compiling"] = cold(caches, COMPILING, **COMPILED)
    caches.stack.wait_for(lambda: bool(kernels(caches)), "what it compiled to be kept", 120)
    for snapshot in kernels(caches):
        snapshot.unlink()
    found["warm, no kernels"] = start_one(caches, COMPILING)
    caches.stack.wait_for(lambda: bool(kernels(caches)), "what it compiled to be kept", 120)
    found["warm, kept kernels"] = start_one(caches, COMPILING)
    restored = caches.state(COMPILING)["compiled"]["restored"]
    assert restored in {each.name for each in kernels(caches)}, "the start had no kernels"
    return found


def kernels(caches: Caches) -> list[Path]:
    """Snapshots of compiled kernels on the volume."""
    return sorted(caches.folder.glob("compile/*/*.tar"))


def main() -> int:
    """Measure and print."""
    parser = cluster_options_of(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slow", type=float, default=0.0, help="bytes per second of the hub")
    options = parser.parse_args()
    stack = installed(options)
    rounds: list[dict[str, float]] = []
    loads = []
    with prepared(stack, NAMESPACE) as caches:
        if options.slow:
            caches.hub.cdn.fail(times=None, bytes_per_second=options.slow)
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
