"""Small worlds whose times can be added in the head.

A step takes 1 s, and 0.01 s more per token of prompt. A replica holds 1,600 tokens and computes
four requests at once. A start takes 100 + 60 + 20 + 10 + 10 = 200 s, or 40 s on a node that is
there.
"""

from dataclasses import dataclass, field, replace

from stoker.planner.batching import Arrival
from stoker.simulate.frontend import Frontend
from stoker.simulate.policy import Bounds, Decision, Pipeline, Sample, Setting, Targets
from stoker.simulate.result import Result
from stoker.simulate.run import Conditions, simulate
from stoker.simulate.service import Linear, measured_service
from stoker.simulate.starts import Phase, Starts

SERVICE = measured_service(Linear(1.0, 0.0, 0.0, 0.01, chunk=100), 1600, 4)
STARTS = Starts(Phase(100), Phase(60), Phase(20), Phase(10), Phase(10))
EVERY_TEN = Pipeline(tick_s=10.0, scrape_s=10.0)
TARGETS = Targets(ttft_s=10.0, itl_s=2.0)


@dataclass(frozen=True)
class Script:
    """A policy that knows by heart what to answer from which moment on; keeps what it saw."""

    answers: dict[float, int]
    pipeline: Pipeline = EVERY_TEN
    name: str = "script"
    seen: list[tuple[float, Sample]] = field(default_factory=list)

    def begin(self) -> int:
        return 0

    def decide(self, history: int, sample: Sample, now: float) -> Decision:
        self.seen.append((now, sample))
        count = sample.wanted
        for time, replicas in self.answers.items():
            if time <= now:
                count = replicas
        return Decision(count, f"asked {history + 1} times", history + 1)


def requests(*rows: tuple[float, int, int]) -> tuple[Arrival, ...]:
    return tuple(Arrival(*row) for row in rows)


def setting(
    arrivals: tuple[Arrival, ...], starts: Starts = STARTS, initial: int = 1, maximum: int = 5
) -> Setting:
    return Setting(SERVICE, starts, Bounds(0, maximum, initial), TARGETS, arrivals)


def run(
    policy: Script, world: Setting, frontend: Frontend | None = None, tail_s: float = 600.0
) -> Result:
    conditions = Conditions(seed=7, tail_s=tail_s)
    if frontend is not None:
        conditions = replace(conditions, frontend=frontend)
    return simulate(world, policy, conditions)
