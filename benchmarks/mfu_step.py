"""What counting operations takes of an engine's step, in the engine's own process.

Runs on the engine's own Python, as `benchmarks.mfu` calls it:

    PYTHONPATH=<engine's packages> python3.11 mfu_step.py MODEL_FOLDER ROUNDS

The scheduler counts in every second step and not in the others, so that both kinds meet the same
requests, caches and neighbours. It prints JSON: for each number of sequences the microseconds of
processor time of the steps without and with, and of the counting alone.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

BATCHES = (1, 16, 64)
LARGE = 256
TOKENS = 256
CALLS = 2000


def main() -> None:
    from vllm import LLM, SamplingParams  # type: ignore[import-not-found]  # noqa: PLC0415

    engine = LLM(
        sys.argv[1], max_model_len=2048, max_num_seqs=LARGE, enforce_eager=True,
        enable_mfu_metrics=True, disable_log_stats=False, enable_prefix_caching=False,
    ).llm_engine  # fmt: skip
    scheduler = engine.engine_core.engine_core.scheduler
    counting = scheduler.perf_metrics
    params = SamplingParams(max_tokens=TOKENS, ignore_eos=True, temperature=0.0)
    found: dict[str, Any] = {}
    for batch in BATCHES:
        without: list[float] = []
        with_it: list[float] = []
        for turn in range(int(sys.argv[2])):
            for number in range(batch):
                engine.add_request(f"{batch}-{turn}-{number}", f"Request {number} says", params)
            engine.step()  # reads the prompts
            while engine.has_unfinished_requests():
                for seen, metrics in ((without, None), (with_it, counting)):
                    scheduler.perf_metrics = metrics
                    began = time.process_time()
                    engine.step()
                    seen.append((time.process_time() - began) * 1e6)
        found[str(batch)] = {"without": without, "with": with_it, "alone": alone(counting, batch)}
    found[str(LARGE)] = {"alone": alone(counting, LARGE)}
    sys.stdout.write("\n" + json.dumps(found) + "\n")


def alone(counting: Any, sequences: int) -> float:
    """Microseconds of one count, of a step in which each sequence gets one token."""
    from types import SimpleNamespace  # noqa: PLC0415

    names = [f"request-{number}" for number in range(sequences)]
    cached = SimpleNamespace(req_ids=names, num_computed_tokens=[1000] * sequences)
    step = SimpleNamespace(
        scheduled_new_reqs=[],
        scheduled_cached_reqs=cached,
        num_scheduled_tokens=dict.fromkeys(names, 1),
    )
    began = time.process_time()
    for _ in range(CALLS):
        counting.get_step_perf_stats_per_gpu(step)
    return (time.process_time() - began) / CALLS * 1e6


if __name__ == "__main__":
    main()
