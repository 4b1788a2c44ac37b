"""AIBrix against sequences computed by hand from apa.go, kpa.go and its controller."""

from stoker.simulate.baselines.aibrix import aibrix_apa, aibrix_kpa
from tests.unit.simulate.baselines.scenes import SETTING, Cluster, engine, look


def test_apa_moves_by_the_ratio_outside_10_percent_and_at_most_doubles() -> None:
    def asked(share: float, wanted: int) -> int:
        return Cluster(aibrix_apa(SETTING, None), wanted).ask(0.0, look(0.0, engine(kv=share)))

    assert asked(0.55, 4) == 4  # 1.1 is not above 1.1
    assert asked(0.60, 4) == 5  # ceil(4 · 1.2)
    assert asked(0.46, 4) == 4  # 0.92
    assert asked(0.35, 4) == 3  # ceil(4 · 0.7)
    assert asked(0.01, 4) == 2  # half at most
    assert Cluster(aibrix_apa(SETTING, 0.1), 3).ask(0.0, look(0.0, engine(kv=0.9))) == 6


def test_apa_looks_at_the_mean_of_180_s_over_the_pods_that_report() -> None:
    cluster = Cluster(aibrix_apa(SETTING, None), wanted=2)
    for tick in range(18):
        cluster.ask(10.0 * tick, look(10.0 * tick, engine(kv=0.5), engine(kv=0.5, pod=1)))
    # The 19 readings from 0 s to 180 s are all in the window: (18 · 0.5 + 1)/19 = 0.526: keep.
    assert cluster.ask(180.0, look(180.0, engine(kv=1.0), engine(kv=1.0, pod=1))) == 2
    # From 10 s to 190 s: (17 · 0.5 + 2 · 1)/19 = 0.553, 1.105 times the target: ceil(2.21) = 3.
    assert cluster.ask(190.0, look(190.0, engine(kv=1.0))) == 3


def test_apa_doubles_at_every_tick_while_replicas_are_on_their_way() -> None:
    cluster = Cluster(aibrix_apa(SETTING, None), wanted=1)
    hot = engine(kv=1.0)
    asked = [cluster.ask(10.0 * tick, look(10.0 * tick, hot), instant=False) for tick in range(4)]
    assert asked == [2, 4, 8, 16]


def test_apa_keeps_one_replica() -> None:
    cluster = Cluster(aibrix_apa(SETTING, None), wanted=1)
    assert cluster.ask(0.0, look(0.0, engine(kv=0.0))) == 1


def test_the_cooldown_takes_the_smallest_recommendation_and_so_delays_nothing() -> None:
    cluster = Cluster(aibrix_kpa(SETTING, None), wanted=4)
    assert cluster.ask(0.0, look(0.0, engine(150))) == 2  # at once, in spite of 300 s
    again = Cluster(aibrix_kpa(SETTING, None), wanted=4)
    again.ask(0.0, look(0.0, engine(150)))
    again.wanted = 8  # somebody asked for more meanwhile
    # Alone, (150 + 750)/2 = 450 asks for 5; the 2 of ten seconds ago is smaller.
    assert again.ask(10.0, look(10.0, engine(750))) == 2


def test_kpa_divides_the_total_and_keeps_within_10_percent_of_one_target() -> None:
    def asked(total: int, wanted: int) -> int:
        return Cluster(aibrix_kpa(SETTING, None), wanted).ask(0.0, look(0.0, engine(total)))

    assert asked(350, 2) == 4
    assert asked(901, 2) == 4  # ten, but twice at most
    assert asked(105, 3) == 3  # within 10 % of the target of one: as many as there are
    assert asked(89, 3) == 1  # ceil(0.89), and floor(3/2) = 1 allows it
    assert asked(0, 6) == 3


def test_kpa_panics_when_60_s_are_more_than_twice_180_s() -> None:
    cluster = Cluster(aibrix_kpa(SETTING, None), wanted=2)
    for tick in range(13):
        cluster.ask(10.0 * tick, look(10.0 * tick, engine(0)))
    assert cluster.wanted == 1
    # Readings of 60 s: 130 s, and 70 s to 120 s (both ends): 700/7 = 100, of 180 s: 700/14 = 50.
    # Twice is not more than twice: ceil(0.5) = 1.
    assert cluster.ask(130.0, look(130.0, engine(700))) == 1
    # 1400/7 = 200 against 1400/15 = 93: panic, ceil(2.0) = 2.
    assert cluster.ask(140.0, look(140.0, engine(700))) == 2
