"""What holds for every policy and every sequence of samples."""

import math

from hypothesis import given
from hypothesis import strategies as st

from stoker.autoscale import Policy, Sample, decide
from stoker.autoscale.need import need_of, terms_of
from stoker.model.load import EngineSample, FrontendSample, Load
from stoker.model.moment import Moment
from stoker.model.scale import History

policies = st.builds(
    lambda low, more, target, concurrency, idle, window: Policy(
        low, max(1, low + more), target, concurrency, idle, window
    ),
    st.integers(0, 3),
    st.integers(0, 8),
    st.integers(1, 10),
    st.integers(1, 32),
    st.sampled_from([10.0, 60.0]),
    st.sampled_from([0.0, 5.0, 30.0]),
)
counts = st.integers(0, 60)
loads = st.one_of(
    st.none(),
    st.just("partial"),
    st.just("nan"),
    st.tuples(counts, counts, counts),
)
looks = st.lists(st.tuples(loads, st.sampled_from([0.5, 1.0, 7.0, 45.0]), counts), max_size=40)


@given(policies, st.integers(0, 12), looks)
def test_a_run_keeps_its_promises(
    policy: Policy, start: int, sequence: list[tuple[object, float, int]]
) -> None:
    wanted, history, time, total = start, History(), 100.0, 0.0
    first_seen: float | None = None
    for shape, pause, ready in sequence:
        time += pause
        total += 1 if shape not in (None, "partial", "nan") and ready % 3 == 0 else 0
        load = _load(shape, time, total)
        sample = Sample(wanted, min(ready, wanted), load)
        decision = decide(policy, history, sample, Moment(time, time))
        trusted = isinstance(shape, tuple)

        assert policy.min_replicas <= decision.replicas <= policy.max_replicas
        inside = policy.clamp(wanted)
        if not trusted:
            assert not decision.active
            assert decision.replicas in {inside, policy.clamp(max(wanted, 1))}
            assert decision.replicas >= inside
        else:
            assert load is not None
            first_seen = time if first_seen is None else first_seen
            settled = sample.ready >= wanted > 0
            need = need_of(terms_of(policy, load, wanted, settled=settled))
            # Never below what the load needs now.
            assert decision.replicas >= policy.clamp(need)
            # Never down before the shortest window could be full.
            window = min(policy.stabilization or 0.0, policy.idle_before_zero or 0.0)
            if decision.replicas < inside:
                assert time - first_seen >= window
            # Zero only where it is allowed and nothing is in progress.
            if decision.replicas == 0:
                assert policy.min_replicas == 0
                assert load.queue_depth + load.running == 0
            assert math.isfinite(decision.wake_at or 0)
        assert decision.wake_at is None or decision.wake_at > time
        assert decision.verdict.reason
        assert decision.verdict.message
        wanted, history = decision.replicas, decision.history


@given(policies, st.integers(0, 12), st.tuples(counts, counts, counts))
def test_the_same_look_gives_the_same_answer(
    policy: Policy, wanted: int, shape: tuple[int, int, int]
) -> None:
    sample = Sample(wanted, wanted, _load(shape, 10.0, 1.0))
    once = decide(policy, History(), sample, Moment(10, 10))
    again = decide(policy, History(), sample, Moment(10, 10))
    assert once == again


@given(policies, st.lists(st.tuples(counts, counts, counts), max_size=80))
def test_the_memory_stays_small(policy: Policy, shapes: list[tuple[int, int, int]]) -> None:
    history, time = History(), 0.0
    for shape in shapes:
        time += 1
        load = _load(shape, time, time)
        history = decide(policy, history, Sample(2, 2, load), Moment(time, time)).history
    needs = [need for _, need in history.needs]
    assert needs == sorted(set(needs), reverse=True)


def _load(shape: object, time: float, total: float) -> Load | None:
    if shape is None:
        return None
    held, waiting, running = shape if isinstance(shape, tuple) else (5, 5, 5)
    if shape == "nan":
        total = math.nan
    problems = ("pod front-1: silent",) if shape == "partial" else ()
    return Load(
        time=time,
        frontends=(FrontendSample("front-0", held, held + waiting + running, total),),
        engines=(EngineSample("engine-0", running, waiting, None),),
        problems=problems,
    )
