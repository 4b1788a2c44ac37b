"""What it costs an engine to count operations and bytes (`enable-mfu-metrics`).

    python -m benchmarks.mfu [--rounds 6] [-o FILE]

A real vLLM on the CPU counts in every second step and not in the others; processor time is compared
by medians, as other work on the same cores moves every clock on the wall. The counting is also
called in a loop, which tells a difference that drowns in the first way.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.common import options_of, report
from e2e.engine import ENGINE_PYTHON, ensure_site_packages
from e2e.load import median
from e2e.models import ensure_model

STEP = Path(__file__).with_name("mfu_step.py")
PATIENCE_S = 3000
# One thread: with more, threads that wait for each other burn time that belongs to nobody.
SETTINGS = {
    "OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_LOGGING_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1", "CUDA_VISIBLE_DEVICES": "",
}  # fmt: skip


def measure(rounds: int) -> dict[str, Any]:
    """Microseconds, by the number of sequences."""
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ensure_site_packages()), **SETTINGS}
    done = subprocess.run(
        [str(ENGINE_PYTHON), str(STEP), str(ensure_model()), str(rounds)],
        env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"the engine ended with {done.returncode}:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    found, rows = measure(options.rounds), []
    for batch, each in found.items():
        text = f"{each['alone']:.0f} µs"
        if "with" in each:
            without = median(each["without"]) or 0.0
            more = (median(each["with"]) or 0.0) - without
            text += (
                f"; {more:+.0f} µs of {without:.0f} ({more / without:+.1%}), "
                f"{len(each['with']):,} steps of each kind"
            )
        rows.append((f"{batch} sequences: counting alone; in a step", text, ""))
    report("What counting operations adds to a step", rows, {"us": found}, options.output)


if __name__ == "__main__":
    main()
