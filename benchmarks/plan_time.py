"""A decision over the whole catalogue: processor time per plan, for every public model.

    python -m benchmarks.plan_time

Every accelerator type is allowed and nothing is fixed; then one type that is too small, so that
the ways out are planned as well. Processor time, as other work on the machine says nothing here.
"""

from __future__ import annotations

import time
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.common import milliseconds, options_of, report
from stoker.catalog.load import builtin_engines, builtin_gpus
from stoker.model.sizing import Objective, Request
from stoker.planner.decide import plan
from tests.support.families import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Callable


# The quickest and the two that look at most ways.
OBJECTIVES = (Objective.BALANCED, Objective.THROUGHPUT, Objective.MEMORY)


def main() -> None:
    """Measure and print."""
    options = options_of(__doc__).parse_args()
    gpus, features = builtin_gpus(), builtin_engines()["vllm"].at("0.33.0")
    small = ("nvidia-t4",)
    times: dict[str, list[float]] = {"every type": [], "one type, ways out": []}
    for family in FAMILIES.values():
        facts = family.facts
        for objective in OBJECTIVES:
            free = Request(objective=objective)
            times["every type"].append(_time(partial(plan, free, facts, gpus, features)))
            tight = Request(
                accelerators=small,
                per_replica=1,
                objective=objective,
                max_model_len=facts.max_positions,
            )
            times["one type, ways out"].append(_time(partial(plan, tight, facts, gpus, features)))
    rows = [
        (
            f"{name}, {len(taken)} plans",
            f"median {milliseconds(median(taken))}, worst {milliseconds(max(taken))}",
            "worst ≤ 200 ms",
        )
        for name, taken in times.items()
    ]
    report(
        f"A decision over {len(gpus)} accelerator types, processor time",
        rows,
        dict(times),
        options.output,
    )


def _time(call: Callable[[], object]) -> float:
    """Seconds of processor time."""
    before = time.process_time()
    call()
    return time.process_time() - before


if __name__ == "__main__":
    main()
