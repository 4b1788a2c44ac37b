"""KEDA on vLLM's queue against sequences computed by hand from production-stack's values."""

from stoker.simulate.baselines.keda import keda, keda_gateway
from tests.unit.simulate.baselines.scenes import SETTING, Cluster, changes, engine, look


def test_the_chart_polls_every_15_s_and_scrapes_every_30() -> None:
    pipeline = keda(SETTING, None).pipeline
    assert (pipeline.tick_s, pipeline.scrape_s, pipeline.lag_s) == (15.0, 15.0, 15.0)


def test_five_waiting_requests_per_replica_and_the_rules_of_the_hpa() -> None:
    cluster = Cluster(keda(SETTING, None))
    answers = []
    for poll in range(40):
        now = 15.0 * poll
        waiting = 16 if 30 <= now <= 45 else 0
        answers.append((now, cluster.ask(now, look(now, engine(100, waiting=waiting)))))
    # ceil(16/5) = 4 at once, which 2 · 1 would not allow but 4 does; down 300 s after 45 s.
    assert changes(answers) == [(0.0, 1), (30.0, 4), (360.0, 1)]


def test_what_the_gateway_holds_is_invisible_to_the_gauge_of_no_engine() -> None:
    cluster = Cluster(keda(SETTING, None))
    assert cluster.ask(0.0, look(0.0, held=500)) == 1
    seeing = Cluster(keda_gateway(SETTING, None))
    assert seeing.ask(0.0, look(0.0, held=500)) == 4
    # With one, it would be in its queue.
    assert cluster.ask(15.0, look(15.0, engine(100), held=500)) == 4


def test_zero_comes_360_s_after_the_last_traffic_and_a_request_brings_one_replica() -> None:
    cluster = Cluster(keda_gateway(SETTING, None))
    answers = []
    for poll in range(60):
        now = 15.0 * poll
        # A request every poll until 150 s; the counter stands still from there until 800 s.
        came = min(poll, 10) + (1 if now >= 800 else 0)
        held = 7 if now >= 800 else 0
        seen = look(now, engine(1), requests_total=came, held=held)
        answers.append((now, cluster.ask(now, seen)))
    # Traffic in the last minute until 195 s (210 s looks back to 150 s); the cool-down ends at
    # 555 s, and must be over. From zero KEDA asks for one whatever waits; the HPA does the rest.
    assert changes(answers) == [(0.0, 1), (570.0, 0), (810.0, 1), (825.0, 2)]


def test_a_new_scaled_object_may_go_to_zero_after_60_s() -> None:
    cluster = Cluster(keda_gateway(SETTING, None))
    answers = [(15.0 * poll, cluster.ask(15.0 * poll, look(15.0 * poll))) for poll in range(8)]
    assert changes(answers) == [(0.0, 1), (75.0, 0)]


def test_the_engines_gauge_alone_never_goes_to_zero() -> None:
    cluster = Cluster(keda(SETTING, None))
    for poll in range(100):
        cluster.ask(15.0 * poll, look(15.0 * poll, engine()))
    assert cluster.wanted == 1
