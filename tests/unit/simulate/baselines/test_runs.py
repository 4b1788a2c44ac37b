"""Every baseline in the simulator itself, from zero replicas on."""

import dataclasses

import pytest

from stoker.planner.batching import Arrival
from stoker.simulate.baselines import BASELINES
from stoker.simulate.policy import Bounds
from stoker.simulate.run import Conditions, simulate
from stoker.simulate.starts import Starts
from tests.unit.simulate.baselines.scenes import SETTING

# Two requests per second for five minutes, with a minute of 20 per second.
_ARRIVALS = tuple(
    Arrival(0.05 * each, 400, 50)
    for each in range(6000)
    if each % 10 == 0 or 120 <= 0.05 * each < 180
)
_TO_ZERO = {
    "knative", "knative-rps", "hpa-zero", "keda-gateway", "kubeai", "ray-serve", "wva-v1",
    "wva-v2", "wva-queueing",
}  # fmt: skip


@pytest.mark.parametrize("name", BASELINES)
def test_a_service_at_zero_is_woken_and_every_request_answered(name: str) -> None:
    setting = dataclasses.replace(
        SETTING,
        starts=Starts(warm_nodes=20),
        bounds=Bounds(minimum=0, maximum=20, initial=0),
        arrivals=_ARRIVALS,
    )
    result = simulate(setting, BASELINES[name](setting, None), Conditions(tail_s=2000.0))
    assert result.policy == name
    assert result.served == len(_ARRIVALS)
    assert (result.changes[0].before, result.changes[0].after >= 1) == (0, True)
    # The slowest is Ray Serve, with 600 s to one replica and 600 s more to none.
    assert (result.changes[-1].after == 0) == (name in _TO_ZERO)
