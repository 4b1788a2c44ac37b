"""The comparison at equal attainment, by numbers that fit on paper."""

import pytest

from benchmarks.autoscale.frontier import (
    Point,
    best_at,
    cost_at,
    frontier_of,
    reached,
    runs_at,
    unable,
)


def points(*pairs: tuple[float, float]) -> list[Point]:
    return [Point(attained, cost, f"{attained:g}/{cost:g}") for attained, cost in pairs]


def test_a_run_that_costs_more_and_attains_less_is_no_corner() -> None:
    frontier = frontier_of(points((0.9, 20), (0.8, 30), (0.5, 10)))
    assert [each.label for each in frontier] == ["0.5/10", "0.9/20"]


def test_a_run_above_the_line_of_its_neighbours_is_no_corner() -> None:
    assert len(frontier_of(points((0.5, 10), (0.7, 19), (0.9, 20)))) == 2
    assert len(frontier_of(points((0.5, 10), (0.7, 12), (0.9, 20)))) == 3


def test_runs_on_one_line_leave_its_ends() -> None:
    assert len(frontier_of(points((0.5, 10), (0.7, 15), (0.9, 20)))) == 2


def test_of_equal_costs_the_higher_attainment_counts() -> None:
    assert frontier_of(points((0.6, 10), (0.8, 10))) == tuple(points((0.8, 10)))


def test_of_equal_attainments_the_lower_cost_counts() -> None:
    assert frontier_of(points((0.8, 12), (0.8, 10))) == tuple(points((0.8, 10)))


def test_between_two_runs_the_cost_lies_on_their_line() -> None:
    frontier = frontier_of(points((0.5, 10), (0.9, 20)))
    assert cost_at(frontier, 0.6) == pytest.approx(12.5)
    assert cost_at(frontier, 0.9) == 20
    assert [each.cost for each in runs_at(frontier, 0.6)] == [10, 20]
    assert [each.cost for each in runs_at(frontier, 0.9)] == [20]


def test_below_the_cheapest_run_its_cost_counts() -> None:
    frontier = frontier_of(points((0.5, 10), (0.9, 20)))
    assert cost_at(frontier, 0.1) == 10
    assert [each.cost for each in runs_at(frontier, 0.1)] == [10]


def test_beyond_the_most_that_was_attained_there_is_no_cost() -> None:
    frontier = frontier_of(points((0.5, 10), (0.9, 20)))
    assert cost_at(frontier, 0.91) is None
    assert runs_at(frontier, 0.91) == ()
    assert cost_at((), 0.5) is None
    assert reached(()) == 0


def test_the_best_is_the_cheapest_of_those_that_reach_it() -> None:
    frontiers = {
        "cheap": frontier_of(points((0.5, 5), (0.6, 6))),
        "middle": frontier_of(points((0.5, 10), (0.9, 20))),
        "dear": frontier_of(points((0.99, 40))),
    }
    assert getattr(best_at(frontiers, 0.55), "name", None) == "cheap"
    best = best_at(frontiers, 0.7)
    assert best is not None
    assert best.name == "middle"
    assert best.cost == pytest.approx(15)
    assert getattr(best_at(frontiers, 0.95), "name", None) == "dear"
    assert best_at(frontiers, 0.999) is None


def test_those_who_cannot_are_named_with_their_most() -> None:
    frontiers = {
        "low": frontier_of(points((0.5, 5))),
        "near": frontier_of(points((0.9, 9))),
        "there": frontier_of(points((0.95, 30))),
    }
    assert unable(frontiers, 0.95) == [("near", 0.9), ("low", 0.5)]
