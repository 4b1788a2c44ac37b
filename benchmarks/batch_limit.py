"""A limit of requests per replica that the frontend changes while it runs: what it brings.

    python -m benchmarks.batch_limit TRACE[=TIMES][@HOURS]… [--itl S] [--policy NAME] [-o FILE]

A TRACE is one of those of `benchmarks.autoscale`, and so are the replica and the targets. Each
trace is replayed with the same replicas under every rule (`stoker.simulate.limit`): with Stoker's
scaling, with those that the trace needs on the mean (static-mean, short at every peak) and at its
peak. `none` is vLLM's own limit alone. Engine CPU is no part of the simulator's model: on an
accelerator the engine's own processes are not what holds it up there, and on processors they are
always busy while there is work.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.autoscale.cases import ITL_S, Case, case_of, setting_of
from stoker.errors import StokerError
from stoker.simulate.frontend import STOKERS_FRONTEND
from stoker.simulate.limit import ByPace, ByQueue, Fixed, Rule
from stoker.simulate.registry import policy_of
from stoker.simulate.run import Conditions, simulate

POLICIES: Final = ("stoker", "static-mean", "static-peak")
RULES: Final[tuple[Rule | None, ...]] = (
    None,
    Fixed(32),
    Fixed(64),
    Fixed(128),
    ByQueue(32, 256),
    ByQueue(64, 256),
)
# What is added for a target: as many requests as keep steps within this share of it.
_PACES: Final = (1.0, 0.8)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One replay. Times in seconds, shares from 0 to 1."""

    trace: str
    policy: str
    rule: str
    attained: float
    ttft_attained: float
    itl_attained: float
    ttft_p50: float
    ttft_p90: float
    itl_p50: float
    itl_p90: float
    accelerator_h: float
    shed: int


def main() -> None:
    options = _options()
    outcomes: list[Outcome] = []
    for case in options.cases:
        for outcome in _replay(case, options.policy or POLICIES, options.itl):
            outcomes.append(outcome)
            print(
                f"{outcome.trace}, {outcome.policy}, {outcome.rule}: {outcome.attained:.1%}",
                file=sys.stderr,
                flush=True,
            )
            if options.output is not None:
                found = [asdict(each) for each in outcomes]
                options.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    _show(outcomes)


def _replay(case: Case, policies: Sequence[str], itl_s: float) -> Iterator[Outcome]:
    setting = setting_of(case)
    setting = replace(setting, targets=replace(setting.targets, itl_s=itl_s))
    rules = (*RULES, *(ByPace(share * itl_s, 8, 256) for share in _PACES))
    for name in policies:
        policy = policy_of(name, setting)
        for rule in rules:
            conditions = Conditions(replace(STOKERS_FRONTEND, rule=rule))
            result = simulate(setting, policy, conditions)
            yield Outcome(
                case.name,
                name,
                "none" if rule is None else rule.name,
                result.attained,
                result.ttft_attained,
                result.itl_attained,
                result.ttft.p50,
                result.ttft.p90,
                result.itl.p50,
                result.itl.p90,
                result.accelerator_s / 3600,
                result.shed,
            )


def _show(outcomes: Sequence[Outcome]) -> None:
    table = Table("trace", "replicas", "rule", "in time", "first token", "tokens", title="")
    for name in ("TTFT p50, p90", "ITL p50, p90", "shed", "hours"):
        table.add_column(name, justify="right")
    for each in outcomes:
        table.add_row(
            each.trace,
            each.policy,
            each.rule,
            f"{each.attained:.1%}",
            f"{each.ttft_attained:.1%}",
            f"{each.itl_attained:.1%}",
            f"{each.ttft_p50:.2f}, {each.ttft_p90:.2f} s",
            f"{each.itl_p50 * 1000:.0f}, {each.itl_p90 * 1000:.0f} ms",
            str(each.shed),
            f"{each.accelerator_h:.1f}",
        )
    Console(width=None if sys.stdout.isatty() else 150).print(table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("traces", nargs="+", metavar="TRACE[=TIMES][@HOURS]")
    parser.add_argument("--policy", action="append", help="instead of " + ", ".join(POLICIES))
    parser.add_argument("--itl", type=float, default=ITL_S, help="target between tokens, in s")
    parser.add_argument("-o", "--output", type=Path, help="write the numbers as JSON")
    options = parser.parse_args()
    try:
        options.cases = [case_of(each) for each in options.traces]
    except StokerError as error:
        parser.error(str(error))
    return options


if __name__ == "__main__":
    main()
