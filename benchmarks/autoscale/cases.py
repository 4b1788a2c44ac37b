"""What the policies are compared on: a replica, targets, and traces by name or file.

The replica is an 8B model on one H100, as the planner's time model has it after calibration with
published measurements of vLLM 0.19 on that GPU. Starts are the simulator's (docs/simulator.md): 206
s with a new node, 46 s on one that was left. All policies begin with the same replicas: what the
busiest of the first five minutes needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Final

from benchmarks.planner.times import setup_of
from stoker.commands.situations import read_trace
from stoker.errors import StokerError
from stoker.planner.batching import Arrival
from stoker.planner.calibration import calibration_of
from stoker.planner.memory import memory_of
from stoker.planner.steps import PlannedSteps
from stoker.planner.time import pace_of
from stoker.simulate import synthetic
from stoker.simulate.need import BUCKET_S, Need, need_of
from stoker.simulate.policy import Bounds, Setting, Targets
from stoker.simulate.run import TAIL_S
from stoker.simulate.service import Service
from stoker.simulate.starts import Starts
from stoker.simulate.synthetic import Shape
from stoker.simulate.trace import multiply

# Within 2 s, and a longer prompt in proportion: a replica computes 40,000 tokens of prompt per
# second at best, so 126,000 of them take 7 s even alone.
TTFT_S: Final = 2.0
TTFT_TOKEN_S: Final = 1 / 8000
ITL_S: Final = 0.05
MOST: Final = 20  # replicas
# A trace is called bursty when its busiest minute has so many times the requests of the mean one,
# or when so many of its minutes have none.
BURSTY: Final = 4.0
IDLE: Final = 0.1
_BEGIN_S: Final = 300.0
_MINUTE_S: Final = 60.0

# Of 4,000 tokens of prompt and 800 of answer on the mean: a replica carries about 4 per second.
SHAPES: Final[Mapping[str, Callable[[], Shape]]] = {
    "step": lambda: synthetic.step(3, 24, 1200, 3600),
    "ramp": lambda: synthetic.ramp(3, 36, 600, 3000, 3600),
    "spike": lambda: synthetic.spike(6, 40, 1200, 300, 3600),
    "on-off": lambda: synthetic.on_off(20, 600, 1200, 14_400),
    # Of other sizes and rhythms, on which nothing of Stoker's was chosen.
    "steps": lambda: synthetic.steps((2, 14, 6, 20, 4, 9), 1500),
    "spikes": lambda: synthetic.spikes(4, 28, 2400, 180, 14_400),
}
_SHAPE_TOKENS: Final = (4000, 800)


@dataclass(frozen=True, slots=True)
class Case:
    """One trace: where from, how many times its requests, how much of it."""

    source: str  # a file, or the name of a shape
    times: float = 1.0
    hours: float = math.inf  # it ends here
    ttft_token_s: float = TTFT_TOKEN_S
    since: float = 0.0  # it begins here, in hours
    seeds: int = 1  # runs with other chance, of which the mean counts

    @property
    def name(self) -> str:
        """As tables and plots call it."""
        name = Path(self.source).name.removesuffix(".gz").removesuffix(".csv")
        times = f" x{self.times:g}" if self.times != 1 else ""
        if self.since:
            end = f"to {self.hours:g}" if self.hours < math.inf else "on"
            return f"{name}{times}, from {self.since:g} h {end}"
        return f"{name}{times}" + (f", first {self.hours:g} h" if self.hours < math.inf else "")


@dataclass(frozen=True, slots=True)
class Character:
    """What kind of traffic a trace is."""

    requests: int
    hours: float
    need_mean: float  # replicas
    need_peak: float
    begins_with: int  # replicas
    idle: float  # share of minutes without a request
    bursts: float  # requests of the busiest minute over those of the mean one

    @property
    def bursty(self) -> bool:
        return self.bursts >= BURSTY or self.idle >= IDLE


def case_of(text: str) -> Case:
    """`TRACE[=TIMES][@[FROM-]HOURS]`; StokerError says what is wrong with it."""
    rest, at, hours = text.rpartition("@")
    if not at:
        rest, hours = text, "inf"
    since, dash, until = hours.partition("-")
    if not dash:
        since, until = "0", hours
    elif not until:
        until = "inf"
    source, equals, times = rest.partition("=")
    if source not in SHAPES and not Path(source).is_file():
        raise StokerError(
            f"{text}: {source} is no file and none of {', '.join(SHAPES)}; "
            "write FILE=3 for three times its requests, FILE=3@24 for its first 24 hours alone"
        )
    try:
        case = Case(source, float(times) if equals else 1.0, float(until), since=float(since))
    except ValueError as error:
        raise StokerError(f"{text}: write numbers after = and @, as in FILE=3@24") from error
    if not (0 < case.times < math.inf and 0 <= case.since < case.hours):
        raise StokerError(f"{text}: write numbers above 0 after = and @")
    return case


@lru_cache(maxsize=5)
def setting_of(case: Case, seed: int = 0) -> Setting:
    """Everything that a run needs; the last ones are kept, as policies come one after another."""
    if case.source in SHAPES:
        arrivals = synthetic.draw(SHAPES[case.source](), *_SHAPE_TOKENS, seed)
    else:
        arrivals = read_trace(Path(case.source))
    begin, end = case.since * 3600, case.hours * 3600
    cut = [replace(each, at_s=each.at_s - begin) for each in arrivals if begin <= each.at_s < end]
    arrivals = multiply(cut, case.times)
    if not arrivals:
        raise StokerError(f"{case.name}: has no request")
    targets = Targets(TTFT_S, ITL_S, case.ttft_token_s)
    bare = Setting(replica(), Starts(), Bounds(0, MOST, 1), targets, arrivals)
    return replace(bare, bounds=Bounds(0, MOST, min(MOST, _begins_with(_need(bare)))))


def character_of(setting: Setting) -> Character:
    """The trace in a few numbers."""
    arrivals, need = setting.arrivals, _need(setting)
    minutes = [0] * (int(arrivals[-1].at_s / _MINUTE_S) + 1)
    for each in arrivals:
        minutes[int(each.at_s / _MINUTE_S)] += 1
    return Character(
        len(arrivals),
        arrivals[-1].at_s / 3600,
        need.mean,
        need.peak,
        setting.bounds.initial,
        sum(not count for count in minutes) / len(minutes),
        max(minutes) * len(minutes) / len(arrivals),
    )


@cache
def replica() -> Service:
    """An 8B model on one H100."""
    facts, gpu, small = setup_of(
        {"gpu": "nvidia-h100-80gb", "model": "Llama-3.1-8B", "sequences": 256}
    )
    configuration = replace(small, max_model_len=131_072)
    calibration = calibration_of(gpu, facts, "0.19")
    pace = pace_of(facts, gpu, configuration, calibration)
    tokens = memory_of(facts, gpu, configuration, calibration).kv_tokens
    return Service(PlannedSteps(pace), tokens, configuration.max_num_seqs)


def _need(setting: Setting) -> Need:
    arrivals: tuple[Arrival, ...] = setting.arrivals
    return need_of(setting.service, setting.targets, arrivals, arrivals[-1].at_s + TAIL_S)


def _begins_with(need: Need) -> int:
    """What the busiest of the first minutes needs on the mean; one at least."""
    size = int(_MINUTE_S / BUCKET_S)
    first = need.replicas[: int(_BEGIN_S / BUCKET_S)]
    minutes = [first[begin : begin + size] for begin in range(0, len(first), size)]
    return max(1, *(math.ceil(sum(minute) / len(minute)) for minute in minutes))
