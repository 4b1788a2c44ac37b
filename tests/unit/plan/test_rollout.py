"""The rollout step, single and run to the end."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.api.v1alpha1 import RolloutStrategy
from stoker.plan.rollout import RevisionState, next_step

ROLLING, RECREATE = RolloutStrategy.ROLLING, RolloutStrategy.RECREATE


def state(
    name: str, replicas: int, ready: int, *, pods: int | None = None, served: bool | None = None
) -> RevisionState:
    return RevisionState(
        name,
        replicas,
        ready,
        replicas if pods is None else pods,
        ready > 0 if served is None else served,
    )


@pytest.mark.parametrize(
    ("sentence", "wanted", "surge", "states", "expected"),
    [
        ("a first revision gets everything", 3, 1, [], {"new": 3}),
        ("zero is zero", 0, 1, [state("old", 2, 2)], {"new": 0, "old": 0}),
        ("the new one starts as surge", 2, 1, [state("old", 2, 2)], {"new": 1, "old": 2}),
        (
            "one new ready frees one old",
            2,
            1,
            [state("new", 1, 1), state("old", 2, 2)],
            {"new": 2, "old": 1},
        ),
        (
            "all new ready frees all old",
            2,
            1,
            [state("new", 2, 2), state("old", 1, 1)],
            {"new": 2, "old": 0},
        ),
        (
            "scaling up during a change goes to the one that works",
            4,
            1,
            [state("new", 1, 0), state("old", 2, 2)],
            {"new": 1, "old": 4},
        ),
        (
            "scaling down during a change takes from the old",
            1,
            1,
            [state("new", 1, 0), state("old", 3, 3)],
            {"new": 1, "old": 1},
        ),
        (
            "an old one that never answered goes at once",
            2,
            1,
            [state("old", 2, 0)],
            {"new": 2, "old": 0},
        ),
        (
            "an old one that did answer stays while its node restarts",
            1,
            1,
            [state("new", 1, 0), state("old", 1, 0, served=True)],
            {"new": 1, "old": 1},
        ),
        (
            "a third revision: the middle one that never answered goes",
            2,
            1,
            [state("middle", 1, 0), state("old", 2, 2)],
            {"new": 1, "middle": 0, "old": 2},
        ),
        (
            "a third revision: what is ready is kept first",
            3,
            1,
            [state("middle", 2, 1), state("old", 2, 2)],
            {"new": 1, "middle": 1, "old": 2},
        ),
        ("more surge", 4, 3, [state("old", 4, 4)], {"new": 3, "old": 4}),
    ],
)
def test_rolling(
    sentence: str, wanted: int, surge: int, states: list[RevisionState], expected: dict[str, int]
) -> None:
    assert next_step(wanted, "new", ROLLING, surge, states).replicas == expected, sentence


@pytest.mark.parametrize(
    ("sentence", "wanted", "states", "expected"),
    [
        ("the old goes first", 2, [state("old", 2, 2)], {"new": 0, "old": 0}),
        (
            "the new waits for the last pod",
            2,
            [state("old", 0, 0, pods=1)],
            {"new": 0, "old": 0},
        ),
        ("then the new starts", 2, [state("old", 0, 0, pods=0)], {"new": 2, "old": 0}),
        (
            "what already runs of the new stays",
            3,
            [state("new", 2, 2), state("old", 1, 1)],
            {"new": 2, "old": 0},
        ),
    ],
)
def test_recreate(
    sentence: str, wanted: int, states: list[RevisionState], expected: dict[str, int]
) -> None:
    assert next_step(wanted, "new", RECREATE, 1, states).replicas == expected, sentence


def test_a_revision_is_finished_when_nothing_of_it_is_left() -> None:
    states = [state("new", 1, 1), state("a", 0, 0, pods=0), state("b", 0, 0, pods=1)]
    assert next_step(1, "new", ROLLING, 1, states).finished == ("a",)


@dataclass
class Cluster:
    """Revisions as a cluster runs them: replicas that are told, pods that start or end later."""

    states: dict[str, RevisionState]

    def tell(self, replicas: dict[str, int], finished: tuple[str, ...]) -> None:
        for name, count in replicas.items():
            if name in finished:
                del self.states[name]
                continue
            now = self.states.get(name, RevisionState(name, 0, 0, 0, served=False))
            # A ReplicaSet removes what is not ready first; what it removes ends later.
            self.states[name] = replace(
                now, replicas=count, ready=min(now.ready, count), pods=max(now.pods, count)
            )

    def act(self, *, ready: bool, broken: set[str]) -> None:
        for name, now in self.states.items():
            count = now.ready
            if ready and name not in broken:
                count = min(now.replicas, now.ready + 1)
            self.states[name] = replace(
                now, ready=count, pods=now.replicas, served=now.served or count > 0
            )

    @property
    def told(self) -> int:
        return sum(now.replicas for now in self.states.values())

    @property
    def ready(self) -> int:
        return sum(now.ready for now in self.states.values())


starts = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=3)


@given(
    starts,
    st.integers(0, 6),
    st.integers(1, 3),
    st.lists(st.booleans(), min_size=10, max_size=60),
    st.sampled_from(["new", "r0", "r1"]),
)
def test_a_rolling_change_run_to_the_end(
    start: list[tuple[int, int]], wanted: int, surge: int, luck: list[bool], current: str
) -> None:
    cluster = Cluster(
        {
            f"r{number}": state(f"r{number}", replicas, min(replicas, ready))
            for number, (replicas, ready) in enumerate(start)
        }
    )
    floor = min(wanted, cluster.ready)
    for ready in [*luck, *[True] * 60]:
        step = next_step(wanted, current, ROLLING, surge, cluster.states.values())
        assert sum(step.replicas.values()) <= wanted + surge
        assert all(count >= 0 for count in step.replicas.values())
        cluster.tell(step.replicas, step.finished)
        assert cluster.ready >= floor
        cluster.act(ready=ready, broken=set())
        assert cluster.ready >= floor
    assert {name: now.replicas for name, now in cluster.states.items()} == {current: wanted}
    assert cluster.ready == wanted


@given(starts, st.integers(1, 6), st.integers(1, 3))
def test_a_broken_revision_takes_the_surge_and_nothing_else(
    start: list[tuple[int, int]], wanted: int, surge: int
) -> None:
    cluster = Cluster(
        {
            f"r{number}": state(f"r{number}", replicas, min(replicas, ready))
            for number, (replicas, ready) in enumerate(start)
        }
    )
    anything_works = cluster.ready > 0
    for _ in range(40):
        step = next_step(wanted, "new", ROLLING, surge, cluster.states.values())
        assert sum(step.replicas.values()) <= wanted + surge
        cluster.tell(step.replicas, step.finished)
        cluster.act(ready=True, broken={"new"})
    if anything_works:
        assert cluster.ready == wanted
        assert cluster.states["new"].replicas == min(wanted, surge)
        # The next correct spec recovers without hands.
        for _ in range(40):
            step = next_step(wanted, "better", ROLLING, surge, cluster.states.values())
            cluster.tell(step.replicas, step.finished)
            cluster.act(ready=True, broken={"new"})
        assert {name: now.replicas for name, now in cluster.states.items()} == {"better": wanted}


@given(starts, st.lists(st.integers(0, 6), min_size=1, max_size=20), st.integers(1, 3))
def test_scaling_during_a_change_never_fights_it(
    start: list[tuple[int, int]], wishes: list[int], surge: int
) -> None:
    cluster = Cluster(
        {
            f"r{number}": state(f"r{number}", replicas, min(replicas, ready))
            for number, (replicas, ready) in enumerate(start)
        }
    )
    for wanted in [*wishes, *[wishes[-1]] * 60]:
        step = next_step(wanted, "new", ROLLING, surge, cluster.states.values())
        assert sum(step.replicas.values()) <= wanted + surge
        cluster.tell(step.replicas, step.finished)
        cluster.act(ready=True, broken=set())
    assert {name: now.replicas for name, now in cluster.states.items()} == {"new": wishes[-1]}


@given(starts, st.integers(0, 6))
def test_recreate_never_runs_two_revisions(start: list[tuple[int, int]], wanted: int) -> None:
    cluster = Cluster(
        {
            f"r{number}": state(f"r{number}", replicas, min(replicas, ready))
            for number, (replicas, ready) in enumerate(start)
        }
    )
    for _ in range(40):
        step = next_step(wanted, "new", RECREATE, 1, cluster.states.values())
        if step.replicas["new"] > 0:
            assert all(s.pods == 0 for s in cluster.states.values() if s.name != "new")
        cluster.tell(step.replicas, step.finished)
        cluster.act(ready=True, broken=set())
    assert {name: now.replicas for name, now in cluster.states.items()} == {"new": wanted}


@given(
    starts,
    st.integers(0, 6),
    st.integers(0, 1),
    st.integers(0, 8),
    st.lists(st.integers(0, 8), min_size=4, max_size=4),
)
def test_no_more_than_the_limit_and_what_has_a_node_first(
    start: list[tuple[int, int]], wanted: int, spare: int, limit: int, placed: list[int]
) -> None:
    states = [
        replace(state(name, count, min(count, ready)), placed=min(count, there))
        for name, (count, ready), there in zip(("new", "a", "b"), start, placed, strict=False)
    ]
    free = next_step(wanted, "new", ROLLING, 0, states, spare=spare).replicas
    step = next_step(wanted, "new", ROLLING, 0, states, spare=spare, limit=limit).replicas
    assert sum(step.values()) == min(limit, sum(free.values()))
    assert all(0 <= step[name] <= free[name] for name in free)
    there = {each.name: min(each.placed, free[each.name]) for each in states}
    if sum(there.values()) <= limit:
        assert all(step[name] >= count for name, count in there.items())


@given(st.integers(2, 6))
def test_places_of_old_replicas_are_enough_for_a_whole_change(wanted: int) -> None:
    cluster = Cluster({"old": state("old", wanted, wanted)})
    for _ in range(30):
        step = next_step(wanted, "new", ROLLING, 0, cluster.states.values(), spare=1)
        assert sum(step.replicas.values()) <= wanted
        cluster.tell(step.replicas, step.finished)
        assert cluster.ready >= wanted - 1
        cluster.act(ready=True, broken=set())
    assert {name: now.replicas for name, now in cluster.states.items()} == {"new": wanted}
