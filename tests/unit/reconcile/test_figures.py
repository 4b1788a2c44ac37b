"""An object is read once, however often somebody scrapes, and again when anything may differ."""

from __future__ import annotations

from typing import Any

from stoker.model.observed import Key, ObservedPod
from stoker.reconcile.figures import Figures
from tests.unit.plan.worlds import PLANNING, pod

KEY = Key("chat", "llama")


def body(**status: Any) -> dict[str, Any]:
    return {"spec": {"replicas": 2}, "status": status}


def test_the_same_object_gives_the_same_figures() -> None:
    figures = Figures(PLANNING, lambda _: ())
    still = body(desiredReplicas=2, replicas=2, readyReplicas=2)
    (first,) = figures.of([(KEY, still)])
    (second,) = figures.of([(KEY, still)])
    assert second is first
    (third,) = figures.of([(KEY, body(desiredReplicas=3, replicas=2, readyReplicas=2))])
    assert third.replicas["desired"] == 3


def test_pods_are_looked_at_where_replicas_do_not_answer() -> None:
    asked: list[Key] = []

    def pods(key: Key) -> list[ObservedPod]:
        asked.append(key)
        return [pod("a", unschedulable="no node", created=5.0 * len(asked))]

    figures = Figures(PLANNING, pods)
    (calm,) = figures.of([(KEY, body(replicas=2, readyReplicas=2))])
    assert (calm.waiting_since, asked) == (None, [])
    waiting = body(replicas=2, readyReplicas=1)
    assert [figures.of([(KEY, waiting)])[0].waiting_since for _ in range(2)] == [5.0, 10.0]


def test_nothing_is_kept_of_a_service_that_is_gone() -> None:
    figures = Figures(PLANNING, lambda _: ())
    figures.of([(KEY, body())])
    assert figures.of([]) == []
    assert figures._known == {}
