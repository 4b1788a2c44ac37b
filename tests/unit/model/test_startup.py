"""How long starts took, from the times that the cluster wrote."""

from dataclasses import replace

import pytest

from stoker.model.observed import ObservedPod
from stoker.model.startup import lead_in, start_of, startup_status
from stoker.naming import Component

POD = ObservedPod(
    name="engine-0",
    uid="1",
    component=Component.ENGINE,
    revision="a",
    phase="Running",
    ready=True,
    deleting=False,
    ip="10.0.0.1",
    node="n",
    created=1000.0,
    restarts=0,
    scheduled=True,
    unschedulable=None,
    scheduled_at=1100.0,
    started_at=1160.0,
    ready_at=1200.0,
)


def test_phases_are_differences() -> None:
    start = start_of(POD)
    assert start is not None
    assert (start.node, start.image, start.load, start.total) == (100.0, 60.0, 40.0, 200.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"ready": False},
        {"deleting": True},
        {"restarts": 1},
        {"started_at": None},
        {"ready_at": None},
    ],
)
def test_what_was_no_first_start_tells_nothing(changes: dict[str, object]) -> None:
    assert start_of(replace(POD, **changes)) is None  # type: ignore[arg-type]


def test_clocks_that_disagree_make_no_negative_phase() -> None:
    start = start_of(replace(POD, scheduled_at=999.0))
    assert start is not None
    assert start.node == 0.0


def test_each_start_counts_once() -> None:
    once = startup_status(None, [POD], "nvidia-l4")
    assert once == {
        "accelerator": "nvidia-l4",
        "nodeSeconds": 100.0,
        "imageSeconds": 60.0,
        "loadSeconds": 40.0,
        "starts": 1,
        "newest": 1000,
    }
    assert startup_status(once, [POD], "nvidia-l4") == once
    # It toggled its readiness since: still the same start.
    assert startup_status(once, [replace(POD, ready_at=9999.0)], "nvidia-l4") == once


def test_means_follow_the_last_starts() -> None:
    status = startup_status(None, [POD], "nvidia-l4")
    for count in range(1, 12):
        later = replace(
            POD,
            created=1000.0 + count * 500,
            scheduled_at=1000.0 + count * 500,
            started_at=1000.0 + count * 500,
            ready_at=1010.0 + count * 500,
        )
        status = startup_status(status, [POD, later], "nvidia-l4")
    assert status is not None
    assert status["starts"] == 12
    assert lead_in(status) == pytest.approx(10, abs=20)


def test_another_type_starts_over() -> None:
    before = startup_status(None, [POD], "nvidia-l4")
    assert startup_status(before, [], "nvidia-h100") is None
    after = startup_status(before, [POD], "nvidia-h100")
    assert after is not None
    assert (after["accelerator"], after["starts"]) == ("nvidia-h100", 1)


@pytest.mark.parametrize(
    "status", [{}, {"nodeSeconds": "x"}, {"nodeSeconds": 0, "imageSeconds": 0, "loadSeconds": 0}]
)
def test_a_status_that_says_nothing(status: dict[str, object]) -> None:
    assert lead_in(status) is None


def test_a_status_of_another_version_is_no_crash() -> None:
    strange = {"accelerator": "nvidia-l4", "newest": "yesterday", "starts": None}
    found = startup_status(strange, [POD], "nvidia-l4")
    assert found is not None
    assert found["starts"] == 1
