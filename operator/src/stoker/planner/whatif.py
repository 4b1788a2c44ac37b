"""What requests as they were seen would get of a configuration, by the planner's own figures.

The formulas are those of a plan's expected times (`stoker.planner.time.expected_of`), for another
mix of requests than the spec names, for prompts of which a part is found in the prefix cache, and
for requests that are put off: those have their prompt, and half of their answer, computed again in
the steps of the others. Corrected by what the engines have taught.
"""

from dataclasses import dataclass

from stoker.model.sizing import Configuration
from stoker.planner.estimate import Estimator


@dataclass(frozen=True, slots=True)
class Mix:
    """Requests as they were seen; means, in tokens."""

    prompt: float
    computed: float  # of the prompt, not found in the prefix cache
    generated: float
    put_off: float = 0.0  # times that a request is put off and computed again


@dataclass(frozen=True, slots=True)
class Outlook:
    """One full replica."""

    at_once: float
    itl_s: float
    tokens_per_s: float  # of output
    cost: float | None  # US dollars per million tokens of output; None: there is no price


def outlook(
    estimator: Estimator, configuration: Configuration, mix: Mix, at_once: float
) -> Outlook:
    """A replica with so many of these requests at once."""
    pace, residual = estimator.pace(configuration), estimator.calibration.residual_of(configuration)
    generated = max(1.0, mix.generated)
    again = mix.put_off * (mix.prompt + generated / 2)
    batch = max(1.0, at_once / configuration.data)
    itl = pace.gap_s(batch, mix.prompt, generated, mix.computed + again) * residual.itl
    cached = max(0.0, mix.prompt - mix.computed)
    first = (pace.prefill_s(max(1.0, mix.computed), cached) + pace.prefill_s(again)) * residual.ttft
    rate = at_once * generated / (first + itl * (generated - 1))
    price = estimator.price(configuration)
    cost = None if price is None else price / 3600 / rate * 1e6
    return Outlook(at_once, itl, rate, cost)
