"""What holds for any trace, any policy and any bad luck."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.planner.batching import Arrival
from stoker.simulate.frontend import Frontend
from stoker.simulate.policy import Bounds, Pipeline
from stoker.simulate.registry import policy_of
from stoker.simulate.run import Conditions, simulate
from stoker.simulate.starts import Phase, Starts
from tests.unit.simulate.worlds import Script, setting

TRACES = st.lists(
    st.tuples(st.floats(0, 1500), st.integers(1, 2000), st.integers(1, 80)), max_size=40
).map(lambda rows: tuple(Arrival(*row) for row in sorted(rows)))
STARTS = st.builds(
    Starts,
    node=st.builds(Phase, st.floats(0, 200), st.floats(0, 1)),
    warm_nodes=st.integers(0, 2),
    node_stays_s=st.floats(0, 900),
    not_granted=st.sampled_from([0.0, 0.3]),
    never_ready=st.sampled_from([0.0, 0.3]),
    spot_losses_per_hour=st.sampled_from([0.0, 20.0]),
)
SCRIPTS = st.builds(
    Script,
    st.dictionaries(st.floats(0, 2000), st.integers(-3, 12), max_size=12).map(
        lambda answers: dict(sorted(answers.items()))
    ),
    st.builds(
        Pipeline,
        tick_s=st.floats(1, 60),
        scrape_s=st.floats(1, 60),
        lag_s=st.floats(0, 60),
        noise=st.sampled_from([0.0, 0.4]),
        wake_s=st.sampled_from([None, 0.1]),
    ),
)
FRONTENDS = st.builds(
    Frontend,
    hold_s=st.floats(1, 900),
    max_held=st.integers(1, 30),
    queue_per_replica=st.integers(1, 8),
    drain_s=st.floats(1, 400),
)


@given(TRACES, STARTS, SCRIPTS, FRONTENDS, st.integers(0, 3), st.integers(1, 5))
@settings(max_examples=80, deadline=None)
def test_nobody_is_lost_and_bounds_hold(
    arrivals: tuple[Arrival, ...],
    starts: Starts,
    policy: Script,
    frontend: Frontend,
    low: int,
    room: int,
) -> None:
    world = replace(setting(arrivals, starts), bounds=Bounds(low, low + room, 1))
    found = simulate(world, policy, Conditions(frontend, seed=3))
    assert found.served + found.shed + found.cut + found.in_flight == found.arrivals
    assert all(low <= change.after <= low + room for change in found.changes)
    assert all(change.after != change.before for change in found.changes)
    assert 0 <= found.attained <= 1 or not arrivals
    assert 0 <= found.starting_s <= found.accelerator_s
    for _, sample in policy.seen:
        assert low <= sample.wanted <= low + room
        assert 0 <= sample.ready <= sample.created == sample.wanted
        times = [each.time for each in sample.snapshots]
        assert times == sorted(times)


@given(TRACES, STARTS, st.sampled_from(["stoker", "oracle", "static-peak"]))
@settings(max_examples=20, deadline=None)
def test_the_same_seed_is_the_same_result(
    arrivals: tuple[Arrival, ...], starts: Starts, name: str
) -> None:
    world = setting(arrivals, starts)
    first, second = (simulate(world, policy_of(name, world), Conditions(seed=5)) for _ in range(2))
    assert repr(first) == repr(second)  # NaN is the same as NaN here
