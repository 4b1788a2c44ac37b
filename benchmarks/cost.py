"""What a day of a trace costs, by the operator's own way and by hand.

    python -m benchmarks.cost TRACE[=TIMES][@[FROM-]HOURS] [--most 64] [-o FILE]

TRACE is a file as `stoker simulate` reads it. The simulator replays it with Stoker's scaling; a
replica computes one request at a time (10 ms for a token of answer, 0.1 ms for one of prompt), so
that the seconds that it serves can be added by hand. The operator's code then counts from what it
would have seen: pods with times to the second, samples when they were taken. By hand are sums over
pods and requests, with nothing of `stoker.cost`. Two pods of three are on spot nodes.
It ends with 1 where the two are more than 1 % apart.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.autoscale.cases import case_of
from benchmarks.common import options_of, report
from stoker.commands.situations import read_trace
from stoker.cost import figures
from stoker.cost.prices import Share
from stoker.errors import StokerError
from stoker.simulate.trace import multiply
from tests.unit.cost.replay import (
    Day,
    Pace,
    billed_s,
    dollars_by_hand,
    integrate,
    price_by_hand,
    replay,
    starting_by_hand,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.autoscale.cases import Case
    from stoker.planner.batching import Arrival

WITHIN = 0.01
PACE = Pace(0.0001, 0.01)
RATIO = PACE.output_s / PACE.prompt_s
_MILLION = 1e6


@dataclass(frozen=True)
class Compared:
    """One figure, both ways."""

    what: str
    counted: float
    by_hand: float

    @property
    def apart(self) -> float:
        """As a share of what was found by hand."""
        return abs(self.counted / self.by_hand - 1)


def arrivals_of(case: Case) -> tuple[Arrival, ...]:
    """The requests of that part of the trace."""
    begin, end = case.since * 3600, case.hours * 3600
    cut = [
        replace(each, at_s=each.at_s - begin)
        for each in read_trace(Path(case.source))
        if begin <= each.at_s < end
    ]
    if not cut:
        raise StokerError(f"{case.name}: has no request")
    return multiply(cut, case.times)


def compare(day: Day) -> list[Compared]:
    """Dollars of the whole and of its shares, of a request and of a million tokens."""
    result, served = day.result, day.served
    spot = frozenset(number for number in range(result.pods) if number % 3)
    ledger = integrate(result, day.read, spot)
    dollars = {
        share: sum(each for (_, of), each in ledger.dollars.items() if of is share)
        for share in Share
    }
    total, starting = dollars_by_hand(result, spot), starting_by_hand(result, spot)
    # A second of serving costs what its pod costs; which pod served whom is not in the result, so
    # serving is compared with all pods at one price.
    plain = integrate(result, day.read)
    serving = sum(each for (_, of), each in plain.dollars.items() if of is Share.SERVING)
    seconds = sorted(PACE.seconds(each) for each in served)
    busy = sum(seconds) / 3600 * price_by_hand(0, frozenset())
    given, made = (
        sum(each.input_tokens for each in served),
        sum(max(1, each.output_tokens) for each in served),
    )
    tokens = figures.per_million(
        ledger.total(), given=given, computed=given, made=made, ratio=RATIO
    )
    whole, rest = plain.total(), plain.total() - serving
    p95_s = seconds[int(len(seconds) * 0.95)]
    request = figures.per_request(
        serving, rest, len(served), mean_s=sum(seconds) / len(seconds), p95_s=p95_s
    )
    assert request is not None
    assert tokens.input is not None
    assert tokens.output is not None
    everything = dollars_by_hand(result)
    # Each request's own seconds, and an even part of what served nobody.
    costs = sorted(
        each / 3600 * price_by_hand(0, frozenset()) + (everything - busy) / len(served)
        for each in seconds
    )
    computing = PACE.prompt_s * given + PACE.output_s * made
    return [
        Compared("all, spot and on demand", ledger.total(), total),
        Compared("starting", dollars[Share.STARTING], starting),
        Compared("all, on demand", whole, everything),
        Compared("serving, on demand", serving, busy),
        Compared("idle, ending and unknown", rest - _starting(plain.dollars),
                 everything - busy - starting_by_hand(result)),
        Compared("a request, mean", request[0], everything / len(served)),
        Compared("a request, P95", request[1], costs[int(len(costs) * 0.95)]),
        Compared("a million tokens of input", tokens.input,
                 total * PACE.prompt_s / computing * _MILLION),
        Compared("a million tokens of output", tokens.output,
                 total * PACE.output_s / computing * _MILLION),
    ]  # fmt: skip


def _starting(dollars: Mapping[tuple[str, Share], float]) -> float:
    return sum(each for (_, of), each in dollars.items() if of is Share.STARTING)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = options_of(__doc__)
    parser.add_argument("trace", metavar="TRACE[=TIMES][@[FROM-]HOURS]")
    parser.add_argument("--most", type=int, default=64, help="replicas at the most")
    options = parser.parse_args(arguments)
    try:
        case = case_of(options.trace)
        arrivals = arrivals_of(case)
    except StokerError as error:
        parser.error(str(error))
    day = replay(arrivals, PACE, options.most)
    found, result = compare(day), day.result
    hours = sum(billed_s(life, result.end_s) for life in result.lives) / 3600
    rows = [
        (each.what, f"${each.counted:.4f} and ${each.by_hand:.4f}, {each.apart:.2%}", "<= 1 %")
        for each in found
    ]
    counts = f"{result.arrivals:,}, {len(day.served):,}, {result.pods}, {hours:.1f}"
    rows.insert(0, ("requests, answered, pods, replica-hours", counts, ""))
    numbers = {each.what: [each.counted, each.by_hand] for each in found}
    report(f"Cost of {case.name}: counted and by hand", rows, numbers, options.output)
    return 1 if any(each.apart > WITHIN for each in found) else 0


if __name__ == "__main__":
    sys.exit(main())
