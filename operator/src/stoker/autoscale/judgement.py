"""More, fewer or as many replicas: what one decision weighs, and its words."""

import math
from dataclasses import dataclass

from stoker import quantity
from stoker.autoscale.memory import LEAST_IDLE_S, OBSERVED_S, TURN_S, full
from stoker.autoscale.need import ROUNDING
from stoker.autoscale.policy import Policy
from stoker.model import reasons
from stoker.model.learned import Forecast
from stoker.model.load import Load
from stoker.model.plan import Verdict
from stoker.model.scale import History


@dataclass(frozen=True, slots=True)
class Present:
    """Everything that one decision weighs."""

    policy: Policy
    history: History
    load: Load
    current: int
    need: int
    outlook: Forecast
    time: float

    def judge(self) -> tuple[int, Verdict]:
        """Replicas before the bounds, and why."""
        current, need = self.current, self.need
        if need > current:
            return need, self._more()
        if self.expected > current:
            return self.expected, Verdict(
                reasons.LOAD_EXPECTED, f"{self.seen} need {need} replicas; {self.outlook.words}"
            )
        if current == 0:
            return 0, Verdict(reasons.IDLE, "no request since the last replica went")
        to_zero = self._zero()
        if to_zero is not None:
            return 0, to_zero
        if max(1, need) == current:
            return current, Verdict(reasons.LOAD_STEADY, f"{self.seen}: {current} replicas fit")
        return self._fewer()

    @property
    def seen(self) -> str:
        """The load in words."""
        load = self.load
        return f"{load.held} held, {load.waiting} waiting, {load.running} running"

    @property
    def expected(self) -> int:
        """The most that is expected while a replica starts; where windows are set, the need.

        A service that the user's own window took to zero is woken by a request, not by a forecast.
        """
        policy = self.policy
        by_hand = self.current == 0 and policy.idle_before_zero is not None
        if by_hand or policy.stabilization is not None:
            return self.need
        return max(self.need, math.ceil(self.outlook.demand - ROUNDING))

    def _more(self) -> Verdict:
        if self.current == 0:
            return Verdict(reasons.REQUEST_ARRIVED, f"a request came at zero replicas: {self.seen}")
        return Verdict(
            reasons.LOAD_GREW,
            f"{self.seen} need {self.need} replicas at {self.policy.queue_target} waiting per "
            "replica",
        )

    def _zero(self) -> Verdict | None:
        """Why the last replica may go; None while it may not."""
        policy, active = self.policy, self.history.active_at
        if policy.min_replicas > 0 or active is None or self.need > 0:
            return None
        idle = self.time - active
        if policy.idle_before_zero is not None:
            if idle < policy.idle_before_zero:
                return None
            words = quantity.format_duration(policy.idle_before_zero)
            return Verdict(reasons.IDLE, f"no request for {words}")
        if idle < LEAST_IDLE_S or self.expected > 0 or not self._may_turn():
            return None
        words = quantity.format_duration(round(idle))
        return Verdict(reasons.IDLE, f"no request for {words}; {self.outlook.words}")

    def _fewer(self) -> tuple[int, Verdict]:
        policy, current = self.policy, self.current
        if policy.stabilization is None:
            enough = max(1, self.expected)
            if enough < current and self._may_turn():
                return enough, Verdict(reasons.LOAD_SHRANK, f"{self.seen}; {self.outlook.words}")
            why = self.outlook.words if enough == current else "what was added stays for a while"
            return current, Verdict(
                reasons.WAITING_TO_SCALE_DOWN, f"{self.seen} need {self.need} replicas; {why}"
            )
        highest = max(1, self.history.needs[0][1])
        words = quantity.format_duration(policy.stabilization)
        if highest < current and full(self.history, policy.stabilization, self.time):
            return highest, Verdict(
                reasons.LOAD_SHRANK, f"{self.seen}; {highest} replicas were enough for {words}"
            )
        return current, Verdict(
            reasons.WAITING_TO_SCALE_DOWN,
            f"{self.seen} need {self.need} replicas; fewer only after {words}",
        )

    def _may_turn(self) -> bool:
        """Whether taking away now keeps the direction from changing too often."""
        if not full(self.history, OBSERVED_S, self.time):
            return False
        turned = self.history.turned_up_at
        return self.history.falling or turned is None or self.time - turned >= TURN_S
