"""How fast the number may change, by the policies of `spec.scaling.behavior`, as in autoscaling/v2.

With N replicas at the beginning of a policy's period (what there is now, less what came within the
period, and what went):

    up     Pods: N + value    Percent: ceil(N · (1 + value / 100))
    down   Pods: N - value    Percent: floor(N · (1 - value / 100))

`selectPolicy` takes the policy that allows the most change (Max), the least (Min), or none
(Disabled). From zero to one is always allowed, or a percentage would never wake a service; bounds,
schedule and budget are obeyed before any rate. What has changed is remembered in the process only.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Final

from stoker.api import scaling as scalings
from stoker.model import reasons
from stoker.model.plan import Verdict
from stoker.model.scale import History

# No period is longer.
_REMEMBERED_S: Final = 1800.0
# More than maxReplicas can be.
_ANY: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """One policy. `period` in seconds."""

    value: int
    period: float
    percent: bool


@dataclass(frozen=True, slots=True)
class Rates:
    """The policies of one direction; none of them: any change."""

    rates: tuple[Rate, ...] = ()
    least: bool = False  # Min instead of Max
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class Behavior:
    """Both directions."""

    up: Rates = field(default_factory=Rates)
    down: Rates = field(default_factory=Rates)


def behavior_of(scaling: scalings.Scaling) -> Behavior:
    """What the spec says; nothing: any change."""
    given = scaling.behavior
    return (
        Behavior() if given is None else Behavior(_rates(given.scale_up), _rates(given.scale_down))
    )


def _rates(rules: scalings.ScalingRules | None) -> Rates:
    """What the spec says of one direction."""
    if rules is None:
        return Rates()
    return Rates(
        tuple(
            Rate(each.value, float(each.period_seconds), each.type == "Percent")
            for each in rules.policies
        ),
        rules.select_policy == "Min",
        rules.select_policy == "Disabled",
    )


def bound(
    behavior: Behavior, history: History, current: int, asked: tuple[int, Verdict], time: float
) -> tuple[int, Verdict]:
    """The number that the policies let through, and who held it."""
    (wanted, verdict), up, down = asked, behavior.up, behavior.down
    if wanted > current:
        most = max(current, _highest(up, history, current, time))
        if current == 0 and not up.disabled:
            most = max(1, most)
        if wanted > most:
            return most, _held(verdict, "scaleUp", most)
    if wanted < current:
        least = min(current, _lowest(down, history, current, time))
        if wanted < least:
            return least, _held(verdict, "scaleDown", least)
    return wanted, verdict


def remember(history: History, before: int, after: int, time: float) -> History:
    """After a decision."""
    kept = tuple(each for each in history.changes if each[0] > time - _REMEMBERED_S)
    if after != before:
        kept = (*kept, (time, after - before))
    return history if kept == history.changes else replace(history, changes=kept)


def next_change(behavior: Behavior, history: History, time: float) -> float | None:
    """When a policy may let more through."""
    rates = (*behavior.up.rates, *behavior.down.rates)
    ends = (at + rate.period for rate in rates for at, _ in history.changes)
    return min((end for end in ends if end > time), default=None)


def _highest(rates: Rates, history: History, current: int, time: float) -> int:
    if rates.disabled:
        return current
    if not rates.rates:
        return _ANY
    allowed = []
    for rate in rates.rates:
        begun = _begun(history, current, rate, time)
        more = begun * rate.value / 100 if rate.percent else rate.value
        allowed.append(math.ceil(begun + more - 1e-9))
    return min(allowed) if rates.least else max(allowed)


def _lowest(rates: Rates, history: History, current: int, time: float) -> int:
    if rates.disabled:
        return current
    if not rates.rates:
        return 0
    allowed = []
    for rate in rates.rates:
        begun = _begun(history, current, rate, time)
        less = begun * rate.value / 100 if rate.percent else rate.value
        allowed.append(max(0, math.floor(begun - less + 1e-9)))
    return max(allowed) if rates.least else min(allowed)


def _begun(history: History, current: int, rate: Rate, time: float) -> int:
    """Replicas at the beginning of the period."""
    return current - sum(delta for at, delta in history.changes if at > time - rate.period)


def _held(verdict: Verdict, field: str, replicas: int) -> Verdict:
    return Verdict(
        reasons.WITHIN_BEHAVIOR, f"{verdict.message}; behavior.{field} allows {replicas} now"
    )
