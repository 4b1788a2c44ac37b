"""What counts as a difference between what we want and what the API server has."""

from typing import Any

import pytest

from stoker.render import drift, objects
from stoker.render.objects import Owner
from tests.unit.plan import worlds

OWNER = Owner(worlds.KEY, "uid")


@pytest.mark.parametrize(
    ("sentence", "observed", "wanted"),
    [
        ("defaults were added", {"spec": {"a": 1, "b": 2}}, {"spec": {"a": 1}}),
        ("an empty list is dropped", {"spec": {}}, {"spec": {"egress": []}}),
        ("an empty mapping is dropped", {}, {"spec": {}}),
        ("false is dropped", {}, {"optional": False}),
        (
            "quantities are spelt anew",
            {"limits": {"cpu": "1", "memory": "1Gi"}},
            {"limits": {"cpu": "1000m", "memory": "1024Mi"}},
        ),
        ("an empty directory stays", {"emptyDir": {}}, {"emptyDir": {}}),
        (
            "somebody's container is theirs",
            {"containers": [{"name": "mesh"}, {"name": "engine", "tty": False}]},
            {"containers": [{"name": "engine"}]},
        ),
    ],
)
def test_no_difference(sentence: str, observed: Any, wanted: Any) -> None:
    assert drift.holds(observed, wanted), sentence


@pytest.mark.parametrize(
    ("sentence", "observed", "wanted"),
    [
        ("a value changed", {"spec": {"a": 2}}, {"spec": {"a": 1}}),
        ("a value is gone", {"spec": {}}, {"spec": {"a": 1}}),
        ("true is not one", {"a": 1}, {"a": True}),
        ("a list is a mapping", {"a": {}}, {"a": [1]}),
        ("a memory limit changed", {"limits": {"memory": "1G"}}, {"limits": {"memory": "1Gi"}}),
        ("a variable that looks like an amount", {"value": "1"}, {"value": "1000m"}),
        (
            "a rule was added by a stranger",
            {"rules": [{"verbs": ["get"]}, {"verbs": ["*"]}]},
            {"rules": [{"verbs": ["get"]}]},
        ),
        (
            "a verb was added by a stranger",
            {"rules": [{"verbs": ["get", "*"]}]},
            {"rules": [{"verbs": ["get"]}]},
        ),
        ("our container is gone", {"containers": []}, {"containers": [{"name": "engine"}]}),
    ],
)
def test_difference(sentence: str, observed: Any, wanted: Any) -> None:
    assert not drift.holds(observed, wanted), sentence


def test_a_missing_object_is_applied() -> None:
    assert drift.needs_apply(manifest(a=1), None)


def test_what_was_applied_and_still_holds_is_left_alone() -> None:
    assert not drift.needs_apply(manifest(a=1), manifest(a=1))


def test_a_field_that_we_no_longer_want_is_found_by_the_digest() -> None:
    assert drift.needs_apply(manifest(a=1), manifest(a=1, b=2))


def manifest(**spec: Any) -> dict[str, Any]:
    return objects.finish({"kind": "X", "metadata": {"name": "x"}, "spec": spec}, OWNER)


def test_finishing_mutates_nothing_and_is_the_same_twice() -> None:
    given = {"kind": "X", "metadata": {"name": "x"}, "spec": {"a": 1}}
    once = objects.finish(given, OWNER)
    assert given == {"kind": "X", "metadata": {"name": "x"}, "spec": {"a": 1}}
    assert objects.finish(once, OWNER) == once
