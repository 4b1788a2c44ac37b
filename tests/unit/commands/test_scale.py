"""`stoker scale`: what is written for each kind of service, and what is refused in words."""

from __future__ import annotations

from typing import Any

import pytest

from stoker import naming
from stoker.commands.inputs import InputError
from stoker.commands.scaling import Wish, check, rescaled

FIXED: dict[str, Any] = {"spec": {"replicas": 2}}
SCALES: dict[str, Any] = {"spec": {"scaling": {"minReplicas": 0, "maxReplicas": 8}}}


def annotated(value: str, low: int = 3, high: int = 3) -> dict[str, Any]:
    return {
        "metadata": {"annotations": {naming.ANNOTATION_BOUNDS: value}},
        "spec": {"scaling": {"minReplicas": low, "maxReplicas": high}},
    }


def test_a_fixed_number_is_the_specs() -> None:
    change = rescaled(FIXED, Wish(count=3))
    assert change.patch == {"spec": {"replicas": 3}}
    assert (change.before, change.after) == ("2 replicas", "3 replicas")
    assert not rescaled(FIXED, Wish(count=2)).patch
    assert "held" in rescaled(FIXED, Wish(count=0)).note
    unsaid = rescaled({"spec": {}}, Wish(count=1))
    assert unsaid.patch == {"spec": {"replicas": 1}}
    assert "nobody said" in unsaid.before


def test_bounds_belong_to_what_scales() -> None:
    for wish in (Wish(least=1), Wish(most=3), Wish(auto=True)):
        with pytest.raises(InputError, match=r"write spec\.scaling"):
            rescaled(FIXED, wish)
    change = rescaled(SCALES, Wish(most=4))
    assert change.patch == {"spec": {"scaling": {"minReplicas": 0, "maxReplicas": 4}}}
    assert change.after == "0 to 4 replicas"
    assert not rescaled(SCALES, Wish(least=0, most=8)).patch
    with pytest.raises(InputError, match="at least 9 and at most 8"):
        rescaled(SCALES, Wish(least=9))


def test_a_number_by_hand_keeps_the_bounds_for_later() -> None:
    pinned = rescaled(SCALES, Wish(count=3))
    assert pinned.patch == annotated("0-8")
    assert "--auto` gives it 0 to 8 replicas" in pinned.note
    # Another number keeps the first bounds, not the last number.
    assert rescaled(annotated("0-8"), Wish(count=5)).patch == annotated("0-8", 5, 5)
    released = rescaled(annotated("0-8"), Wish(auto=True))
    assert released.patch["metadata"]["annotations"] == {naming.ANNOTATION_BOUNDS: None}
    assert released.patch["spec"]["scaling"] == {"minReplicas": 0, "maxReplicas": 8}
    # Other bounds end it too.
    bounded = rescaled(annotated("0-8"), Wish(least=1, most=2))
    assert bounded.patch["metadata"]["annotations"] == {naming.ANNOTATION_BOUNDS: None}


@pytest.mark.parametrize("value", ["", "8-0", "0-0", "0-99999", "a-b", "-1-2", "1-2-3"])
def test_an_annotation_that_anybody_wrote_is_not_believed(value: str) -> None:
    with pytest.raises(InputError, match="no number was set by hand"):
        rescaled(annotated(value), Wish(auto=True))


def test_zero_by_hand_is_refused_where_a_request_would_wake_it() -> None:
    with pytest.raises(InputError, match="--min 0"):
        rescaled(SCALES, Wish(count=0))


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (Wish(), "pass one of"),
        (Wish(count=1, auto=True), "pass one of"),
        (Wish(count=1, most=2), "pass one of"),
        (Wish(count=-1), "N -1"),
        (Wish(count=1001), "0 to 1000"),
        (Wish(most=0), "one at least"),
        (Wish(least=3, most=2), "--min 3 is more than --max 2"),
    ],
)
def test_wishes_that_contradict_themselves(wish: Wish, said: str) -> None:
    with pytest.raises(InputError, match=said):
        check(wish)
