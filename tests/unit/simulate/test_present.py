"""The operator's own policy in the simulator."""

from stoker import autoscale
from stoker.autoscale.policy import utilization_of
from stoker.autoscale.rates import Behavior, Rate, Rates
from stoker.model import reasons
from stoker.model.moment import Moment
from stoker.model.scale import History
from stoker.simulate.policy import Bounds, ReplicaSignal, Sample, Setting, Snapshot
from stoker.simulate.present import Stoker, load_of, stoker, stoker_queue
from stoker.simulate.run import Conditions, simulate
from tests.unit.simulate.worlds import SERVICE, STARTS, TARGETS, requests, setting

SLOW = Behavior(Rates((Rate(1, 60.0, percent=False),)))
SEEN = Snapshot(
    time=100.0,
    held=6,
    replicas=(
        ReplicaSignal("engine-0", 4, 3, 0.7, 1120),
        ReplicaSignal("engine-1", 2, 0, 0.1, 160),
    ),
    leaving=1,
    requests_total=40,
    input_tokens_total=4000,
    first_total=24,
    ttft_s_total=30.0,
    finished_total=20,
    output_tokens_total=900,
    prompt_tokens_total=2000,
    itl_s_total=2.0,
    shed_total=4,
)


def test_a_snapshot_becomes_the_load_that_the_operator_reads() -> None:
    load = load_of(SEEN)
    assert (load.held, load.waiting, load.running, load.queue_depth) == (6, 3, 6, 9)
    assert load.frontends[0].active == 16
    assert (load.requests_total, load.time, load.complete) == (40, 100.0, True)


def test_the_answer_is_the_operators_own() -> None:
    given = autoscale.Policy(0, 5, 3, 99, 60.0, 30.0, quantile=0.9, behavior=SLOW)
    world = Setting(SERVICE, STARTS, Bounds(1, 8), TARGETS, rules=given)
    policy = stoker(world, None)
    assert isinstance(policy, Stoker)
    rules = policy.rules
    assert (rules.min_replicas, rules.max_replicas, rules.queue_target) == (1, 8, 3)
    assert (rules.idle_before_zero, rules.stabilization) == (60.0, 30.0)
    assert (rules.quantile, rules.utilization) == (0.9, utilization_of(0.9))
    assert (rules.concurrency, rules.behavior) == (SERVICE.max_num_seqs, SLOW)
    assert rules.work is not None
    assert rules.lead_s == STARTS.lead_s(0.0)
    found = policy.decide(policy.begin(), Sample(2, 2, 2, (SEEN,), SEEN), 101.0)
    own = autoscale.decide(
        rules, History(), autoscale.Sample(2, 2, load_of(SEEN)), Moment(101.0, 101.0)
    )
    assert found.replicas == own.replicas
    assert found.history == own.history
    assert found.reason == f"{own.verdict.reason}: {own.verdict.message}"


def test_its_parameter_is_how_sure_it_is() -> None:
    policy = stoker(setting(()), 0.97)
    assert isinstance(policy, Stoker)
    assert (policy.rules.quantile, policy.name) == (0.97, "stoker:0.97")
    usual = stoker(setting(()), None)
    assert isinstance(usual, Stoker)
    assert policy.rules.utilization < usual.rules.utilization


def test_where_no_pace_is_known_the_queue_decides() -> None:
    policy = stoker_queue(setting(()), 9.0)
    assert isinstance(policy, Stoker)
    rules = policy.rules
    assert (rules.queue_target, rules.work, policy.name) == (9, None, "stoker-queue:9")
    assert (rules.idle_before_zero, rules.stabilization) == (600.0, 300.0)


def test_from_zero_and_back() -> None:
    arrivals = requests((1001, 50, 5))
    world = setting(arrivals, initial=1)
    found = simulate(world, stoker_queue(world, None))
    down, up, *rest = found.changes
    # Ten minutes without a request since the first look.
    assert (down.time, down.after) == (600.0, 0)
    assert down.reason.startswith(reasons.IDLE)
    assert (up.after, round(up.time, 3)) == (1, 1001.1)
    assert up.reason.startswith(reasons.REQUEST_ARRIVED)
    assert found.served == 1
    assert rest == [] or rest[0].after == 0


def test_up_under_load_and_down_after_the_window() -> None:
    burst = requests(*[(51.0, 10, 200)] * 16)
    world = setting(burst)
    found = simulate(world, stoker_queue(world, None), Conditions(tail_s=2000))
    up = found.changes[0]
    # 4 are computed and 12 wait: three replicas at 4 waiting ones each.
    assert (up.time, up.before, up.after) == (52.0, 1, 3)
    # Whoever waits inside the engine of the first one stays there; the others wait at the frontend.
    assert found.served == 16
    assert found.changes[1].after < 3
    assert found.changes[1].time > 52.0 + 300.0
    assert found.changes[-1].after == 0


def test_what_is_learned_ends_and_begins_replicas() -> None:
    bursts = requests(*[(2000.0 * k + second, 50, 20) for k in range(12) for second in range(60)])
    world = setting(bursts, initial=1)
    found = simulate(world, stoker(world, None))
    assert found.in_flight == 0
    # Between bursts nothing stays for long, and nothing flaps.
    zeros = [change for change in found.changes if change.after == 0]
    assert len(zeros) >= 10
    assert found.direction_changes_in_10_min <= 2
    fixed = simulate(world, stoker_queue(world, None))
    # Bursts that come every half an hour are met by a replica that is there.
    assert found.ttft.p50 < fixed.ttft.p50
