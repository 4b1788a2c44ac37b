"""WVA's queueing analyzer: replicas from a queueing model of one replica.

Source: `pkg/analyzer/queueanalyzer.go`, `mm1modelstatedependent.go`, `utils.go`; the loop is in
`wva`. With I and O the mean lengths and n requests at once:

    T(n)       = a + n · (b · (I + O)/(O + 1) + g · (I + O/2))     one iteration
    prefill(n) = T(n) + (b + g) · I
    decode(n)  = T(n) + b + g · (I + O/2)
    mu(n)      = n / (prefill(n) + O · decode(n)),  mu(N) beyond the N sequences of a batch

A queue of 10 N behind them gives state probabilities p(i+1) = p(i) · lambda / mu(i+1), from these
the mean in service L and in the system, the mean times by Little's law, and

    ITL  = (service time - prefill(L)) / O
    TTFT = waiting time + prefill(L) + ITL

The largest lambda that meets both targets is found by bisection; replicas = ceil(rate / lambda).
The original tracks a, b and g with an extended Kalman filter on seen TTFT and ITL. Here they are
those of the service itself, fitted around the present lengths: no filter could know more, so this
favours it, as does a rate of arrivals in place of one of answers. Where no rate meets a target, it
keeps what there is, as the original does on that error.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from stoker.planner.batching import Steps
from stoker.simulate.baselines.wva import Seen, Wva
from stoker.simulate.policy import Policy, Setting, Targets

_QUEUE_PER_BATCH: Final = 10
_EDGE: Final = 0.001  # the rates looked at end this share before 0 and before the limit
_HALVINGS: Final = 25


@dataclass(frozen=True, slots=True)
class Coefficients:
    """Of an iteration, in seconds: fixed, per token computed, per token read."""

    fixed: float
    compute: float
    memory: float


@dataclass(frozen=True, slots=True)
class Times:
    """What the model says for one rate, in seconds."""

    wait: float
    ttft: float
    itl: float


@dataclass(frozen=True, slots=True)
class Model:
    """One replica with requests of one mean length."""

    of: Coefficients
    prompt: float
    output: float
    batch: int
    queue: int

    def iteration_s(self, requests: float) -> float:
        """T(n)."""
        computed = (self.prompt + self.output) / (self.output + 1)
        read = self.prompt + self.output / 2
        return self.of.fixed + requests * (self.of.compute * computed + self.of.memory * read)

    def prefill_s(self, requests: float) -> float:
        """prefill(n)."""
        if self.prompt == 0:
            return 0.0
        return self.iteration_s(requests) + (self.of.compute + self.of.memory) * self.prompt

    def decode_s(self, requests: float) -> float:
        """decode(n)."""
        read = self.prompt + self.output / 2
        return self.iteration_s(requests) + self.of.compute + self.of.memory * read

    def rate(self, requests: int) -> float:
        """mu(n), in requests per second."""
        return requests / (self.prefill_s(requests) + self.output * self.decode_s(requests))

    def rates(self) -> tuple[float, ...]:
        """mu(1) to mu(N)."""
        return tuple(self.rate(present) for present in range(1, self.batch + 1))

    def times(self, arrivals: float, rates: Sequence[float]) -> Times:
        """The mean times at this rate of arrivals, below the last of `rates`."""
        # Products of many rates leave the range of floats; logarithms do not.
        logs = [0.0, *accumulate(math.log(arrivals / each) for each in rates)]
        highest = max(logs)
        weights = [math.exp(each - highest) for each in logs]
        # Behind the full batch the weights fall by the same ratio each: w · r, w · r², ...
        ratio, queue, full = arrivals / rates[-1], self.queue, weights[-1]
        last = ratio**queue
        queued = full * ratio * (1 - last) / (1 - ratio)
        waiting = full * ratio * (1 - last * (queue + 1 - queue * ratio)) / (1 - ratio) ** 2
        total = sum(weights) + queued
        served = sum(number * each for number, each in enumerate(weights)) + self.batch * queued
        through = arrivals * (1 - full * last / total)
        service = served / total / through
        wait = waiting / total / through
        prefill = self.prefill_s(served / total)
        itl = (service - prefill) / self.output
        return Times(wait, wait + prefill + itl, itl)

    def largest_rate(self, targets: Targets) -> float | None:
        """The largest rate that meets both targets; None: not even the smallest does."""
        rates = self.rates()

        def met(arrivals: float) -> bool:
            times = self.times(arrivals, rates)
            return times.ttft <= targets.ttft_s and times.itl <= targets.itl_s

        low, high = rates[0] * _EDGE, rates[-1] * (1 - _EDGE)
        if not met(low):
            return None
        if met(high):
            return high
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if met(middle) else (low, middle)
        return low


def coefficients_of(steps: Steps, batch: int, prompt: float, output: float) -> Coefficients:
    """The service's own coefficients around requests of these lengths.

    The fixed part and the slope in n are those of mixed iterations between one request and as many
    as a batch has or as bring no more prompt than an iteration computes; the part per token read is
    that of decoding by the same number; the rest of the slope is computing.
    """
    context = prompt + output / 2
    share = prompt / (output + 1)  # of a prompt, in each iteration of a request
    many = max(2, min(batch, int(steps.chunk / share)))

    def mixed_s(requests: int) -> float:
        return steps.step_s(requests, context, requests * share, prompt / 2)

    slope = (mixed_s(many) - mixed_s(1)) / (many - 1)
    reading = steps.step_s(many, context) - steps.step_s(many, 0.0)
    memory = max(0.0, reading / (many * context))
    compute = max(0.0, (slope - memory * context) * (output + 1) / (prompt + output))
    return Coefficients(max(0.0, mixed_s(1) - slope), compute, memory)


@dataclass(frozen=True, slots=True)
class Queueing:
    """The analyzer."""

    steps: Steps
    batch: int
    targets: Targets

    def first(self) -> None:
        """It remembers nothing; the filter is left out."""

    def analyze(self, memory: None, seen: Seen) -> tuple[int, str, None]:  # noqa: ARG002
        """The rate of the last minute over what one replica can take."""
        prompt, output = seen.lengths.input_tokens, seen.lengths.output_tokens
        rate = seen.traffic.rate
        if output < 1 or prompt < 1:
            return seen.created, "no lengths yet", None
        of = coefficients_of(self.steps, self.batch, prompt, output)
        model = Model(of, prompt, output, self.batch, _QUEUE_PER_BATCH * self.batch)
        largest = model.largest_rate(self.targets)
        if largest is None:
            return seen.created, "no rate meets the targets", None
        said = f"{rate:.2f} requests/s, {largest:.2f} per replica"
        return math.ceil(rate / largest), said, None


def wva_queueing(setting: Setting, parameter: float | None) -> Policy:
    """The parameter is the share of the targets that it plans for (1)."""
    share = 1.0 if parameter is None else max(parameter, 0.001)
    targets = Targets(setting.targets.ttft_s * share, setting.targets.itl_s * share)
    analyzer = Queueing(setting.service.steps, setting.service.max_num_seqs, targets)
    name = "wva-queueing" if parameter is None else f"wva-queueing:{parameter:g}"
    return Wva(name, analyzer, zero=setting.bounds.minimum == 0)
