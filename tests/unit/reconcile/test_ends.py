"""Each end of an engine is counted once, and none of before."""

from __future__ import annotations

from dataclasses import replace

from stoker.model.observed import ContainerFailure, Key, ObservedPod
from stoker.reconcile.ends import Ends
from stoker_worker.contract import Termination, TerminationReason
from tests.unit.plan.worlds import pod

KEY = Key("chat", "llama")


def ended(finished: float, name: str = "a") -> ObservedPod:
    said = Termination(TerminationReason.ENGINE_HUNG, "no token").to_json()
    failure = ContainerFailure("engine", "Error", "", 1, said, finished)
    return pod(name, failures=(failure,))


def test_an_end_is_counted_once_while_its_pod_shows_it() -> None:
    ends = Ends(since=100.0)
    assert list(ends.fresh(KEY, [pod("a")])) == []
    assert list(ends.fresh(KEY, [ended(110.0)])) == ["hung"]
    assert list(ends.fresh(KEY, [ended(110.0)])) == []
    assert list(ends.fresh(KEY, [ended(120.0), ended(121.0, "b")])) == ["hung", "hung"]
    assert list(ends.fresh(KEY, [replace(ended(120.0), ready=True)])) == []


def test_what_ended_before_this_process_is_not_its_to_count() -> None:
    ends = Ends(since=100.0)
    assert list(ends.fresh(KEY, [ended(99.0)])) == []
    assert list(ends.fresh(KEY, [ended(101.0)])) == ["hung"]


def test_nothing_is_kept_of_pods_and_services_that_are_gone() -> None:
    ends = Ends(since=100.0)
    assert list(ends.fresh(KEY, [ended(110.0)])) == ["hung"]
    assert list(ends.fresh(KEY, [])) == []
    assert ends._seen == {}
    assert list(ends.fresh(KEY, [ended(110.0)])) == ["hung"]
    ends.forget(KEY)
    assert ends._seen == {}
