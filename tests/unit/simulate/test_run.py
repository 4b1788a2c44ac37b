"""Whole runs in a small world, against times added by hand."""

import math
from dataclasses import replace

import pytest

from stoker.simulate.frontend import Frontend
from stoker.simulate.policy import Pipeline
from tests.unit.simulate.worlds import STARTS, Script, requests, run, setting


def test_one_request_on_one_replica() -> None:
    found = run(Script({}), setting(requests((5, 50, 11))))
    assert (found.arrivals, found.served, found.shed, found.in_flight) == (1, 1, 0, 0)
    assert found.ttft.p50 == pytest.approx(1.5)
    assert found.itl.p50 == pytest.approx(1.0)
    assert found.attained == 1.0
    assert found.accelerator_s == pytest.approx(605)
    assert found.changes == ()


def test_the_least_loaded_replica_gets_the_request() -> None:
    world = setting(requests((0, 50, 20), (3, 50, 20)), initial=2)
    # Alone on its replica, each has its first token after 1.5 s; together the second would have to
    # wait for the end of a step.
    assert run(Script({}), world).ttft.p99 == pytest.approx(1.5)
    assert run(Script({}), replace(world, bounds=replace(world.bounds, initial=1))).ttft.p99 > 1.5


def test_a_request_at_zero_is_held_through_the_phases_of_a_start() -> None:
    policy = Script({10: 1})
    found = run(policy, setting(requests((5, 50, 1)), initial=0))
    # Asked for at 10, ready at 210, first token 1.5 s later.
    assert found.ttft.p50 == pytest.approx(206.5)
    assert found.starting_s == pytest.approx(200)
    assert found.accelerator_s == pytest.approx(605 - 10)
    ready = {now: sample.ready for now, sample in policy.seen}
    assert (ready[200.0], ready[210.0]) == (0, 1)
    pending = {now: sample.pending for now, sample in policy.seen}
    assert (pending[10.0], pending[20.0], pending[210.0]) == (0, 1, 0)
    assert found.ttft_attained == 0.0
    assert found.itl_attained == 1.0


def test_a_node_that_was_left_is_found_again_for_a_while() -> None:
    world = setting(requests((0, 50, 1), (2000, 50, 1)), replace(STARTS, node_stays_s=300))
    soon = run(Script({100: 0, 390: 1}), world, tail_s=100)
    assert soon.starting_s == pytest.approx(40)
    late = run(Script({100: 0, 410: 1}), world, tail_s=100)
    assert late.starting_s == pytest.approx(200)


def test_warm_nodes_are_there_for_good() -> None:
    world = setting(requests((0, 50, 1), (5000, 50, 1)), replace(STARTS, warm_nodes=1), initial=0)
    found = run(Script({0: 1, 1000: 0, 4000: 2}), world, tail_s=100)
    assert found.pods == 3
    assert found.starting_s == pytest.approx(40 + 40 + 200)


def test_held_requests_are_shed_after_their_time_and_beyond_the_limit() -> None:
    world = setting(requests((0, 50, 1), (1, 50, 1), (2, 50, 1)), initial=0)
    found = run(Script({}), world, Frontend(hold_s=30, max_held=2))
    assert (found.shed, found.served) == (3, 0)
    waiting = Script({}, Pipeline(tick_s=0.5, scrape_s=0.5))
    run(waiting, world, Frontend(hold_s=30, max_held=2))
    held = {now: sample.latest.held for now, sample in waiting.seen if sample.latest}
    assert (held[0.5], held[1.5], held[2.5], held[30.5], held[31.5]) == (1, 2, 2, 1, 0)
    shed = {now: sample.latest.shed_total for now, sample in waiting.seen if sample.latest}
    assert (shed[1.5], shed[2.5], shed[30.5], shed[31.5]) == (0, 1, 2, 3)


def test_a_full_engine_takes_no_more() -> None:
    burst = requests(*[(0.0, 10, 50)] * 8)
    policy = Script({}, Pipeline(tick_s=5.0, scrape_s=5.0))
    run(policy, setting(burst), Frontend(queue_per_replica=2))
    latest = policy.seen[1][1].latest
    assert latest is not None
    # Two fit into the queue before the first step is made; the places that it frees are filled.
    assert (latest.running, latest.waiting, latest.held) == (4, 2, 2)
    assert latest.in_progress == 8


def test_a_request_that_no_replica_holds_is_refused_at_once() -> None:
    found = run(Script({}), setting(requests((0, 1500, 101), (1, 50, 1))))
    assert (found.shed, found.served) == (1, 1)


def test_a_replica_that_goes_ends_what_it_computes() -> None:
    world = setting(requests((1, 50, 101)))
    policy = Script({20: 0})
    found = run(policy, world)
    # First token at 2.5, a hundred more until 102.5; then it is deleted.
    assert (found.served, found.cut) == (1, 0)
    assert found.accelerator_s == pytest.approx(102.5)
    leaving = {now: sample.latest.leaving for now, sample in policy.seen if sample.latest}
    assert (leaving[20.0], leaving[30.0], leaving[100.0], leaving[110.0]) == (0, 1, 1, 0)


def test_the_end_of_the_grace_cuts_streams_and_sends_the_others_again() -> None:
    # Four run, a fifth waits inside the engine.
    burst = requests(*[(1.0, 25, 300)] * 5)
    found = run(Script({20: 0, 70: 1}), setting(burst), Frontend(drain_s=50), tail_s=900)
    assert (found.cut, found.served, found.in_flight) == (4, 1, 0)
    # The fifth was sent again at 70, to a replica on the node that the first one left.
    assert found.ttft.p99 == pytest.approx(70 + 40 + 1.25 - 1)
    assert found.itl_attained == pytest.approx(0.2)


def test_idle_replicas_go_first_and_those_that_start_before_them() -> None:
    world = setting(requests((1, 50, 400)), initial=2)
    found = run(Script({10: 3, 20: 2, 30: 1}), world)
    # The third never became ready: 10 s of start; the idle one goes at 30.
    assert found.served == 1
    assert found.accelerator_s == pytest.approx(10 + 30 + 601)
    assert found.starting_s == pytest.approx(10)


def test_a_lost_node_is_replaced_and_its_requests_are_cut_or_sent_again() -> None:
    arrivals = requests(*[(float(number), 50, 30) for number in range(0, 3000, 20)])
    world = setting(arrivals, replace(STARTS, spot_losses_per_hour=6.0))
    found = run(Script({}), world)
    assert found.pods > 2
    assert found.cut > 0
    assert found.changes == ()
    assert found.served + found.shed + found.cut + found.in_flight == len(arrivals)


def test_a_pod_that_never_comes_is_billed_and_serves_nobody() -> None:
    world = setting(requests((5, 50, 1)), replace(STARTS, not_granted=1.0), initial=0)
    found = run(Script({0: 1}), world)
    assert (found.served, found.shed) == (0, 1)
    assert found.starting_s == found.accelerator_s == pytest.approx(605)


def test_signals_are_as_late_and_as_frequent_as_the_pipeline() -> None:
    policy = Script({}, Pipeline(tick_s=15.0, scrape_s=5.0, lag_s=7.0))
    run(policy, setting(requests((0, 50, 1)), initial=1), tail_s=60)
    by_time = dict(policy.seen)
    assert by_time[0.0].latest is None
    assert [each.time for each in by_time[15.0].snapshots] == [0.0, 5.0]
    assert [each.time for each in by_time[30.0].snapshots] == [10.0, 15.0, 20.0]
    assert by_time[30.0].latest is by_time[30.0].snapshots[-1]


def test_noise_blurs_counts_and_leaves_counters() -> None:
    burst = requests(*[(0.0, 10, 400)] * 12)
    plain = Script({}, Pipeline(tick_s=1.0, scrape_s=1.0))
    noisy = Script({}, Pipeline(tick_s=1.0, scrape_s=1.0, noise=0.5))
    run(plain, setting(burst))
    run(noisy, setting(burst))
    exact = [sample.latest for _, sample in plain.seen if sample.latest]
    blurred = [sample.latest for _, sample in noisy.seen if sample.latest]
    assert {each.running for each in exact[1:300]} == {4}
    assert len({each.running for each in blurred[1:300]}) > 3
    assert min(each.running for each in blurred) >= 0
    assert [each.requests_total for each in exact] == [each.requests_total for each in blurred]


def test_whoever_is_told_of_the_first_request_need_not_wait_for_a_tick() -> None:
    told = Pipeline(tick_s=60.0, scrape_s=60.0, wake_s=0.1)
    policy = Script({5: 1}, told)
    found = run(policy, setting(requests((5, 50, 1)), initial=0))
    assert found.ttft.p50 == pytest.approx(0.1 + 200 + 1.5)
    now, sample = policy.seen[1]
    assert now == pytest.approx(5.1)
    assert sample.latest is not None
    assert sample.latest.held == 1


def test_counters_give_means_of_what_was_served() -> None:
    policy = Script({})
    run(policy, setting(requests((0, 50, 11), (30, 100, 21))))
    last = policy.seen[-1][1].latest
    assert last is not None
    assert (last.requests_total, last.input_tokens_total) == (2, 150)
    assert (last.first_total, last.finished_total, last.output_tokens_total) == (2, 2, 32)
    assert last.ttft_s_total == pytest.approx(1.5 + 2.0)
    assert last.itl_s_total == pytest.approx(2.0)


def test_bounds_are_obeyed_whatever_a_policy_says() -> None:
    found = run(Script({0: 99, 50: -3}), setting(requests((0, 50, 1)), maximum=3))
    assert [change.after for change in found.changes] == [3, 0]
    assert found.replicas_peak == 3


def test_no_requests_are_no_error() -> None:
    found = run(Script({}), setting(()))
    assert (found.arrivals, found.served) == (0, 0)
    assert math.isnan(found.attained)
    assert math.isnan(found.ttft.p50)
