"""What was learned outlives the operator, and nonsense is nothing learned."""

import json

import pytest

from stoker import autoscale
from stoker.autoscale.forecast import STRIDE_S, forecast, observe, quantiles
from stoker.autoscale.keep import KEEP_EVERY_S, due, from_text, to_text
from stoker.autoscale.memory import remember
from stoker.model.learned import LEARNED, Learned
from stoker.model.load import EngineSample, FrontendSample, Load
from stoker.model.scale import History
from tests.unit.plan import worlds

LEAD_S = 60.0


def learned(until: float = 20_000.0) -> Learned:
    found, time = Learned(), 0.0
    while time <= until:
        found = observe(found, 4.0 if time % 600 < 60 else 0.5, LEAD_S, time)
        time += STRIDE_S
    return found


def test_what_is_read_back_says_the_same() -> None:
    before = learned()
    after = from_text(to_text(before))
    assert quantiles(after) == quantiles(before)
    assert after.moments == ()
    again = observe(after, 4.0, LEAD_S, 50_000.0)  # the recent peak is this moment itself
    assert forecast(again, 0.9, LEAD_S, 50_000.0).seen > 0
    assert len(to_text(before)) < 10_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"version": 2, "counts": {}}',
        '{"version": 1, "counts": []}',
        '{"version": 1, "counts": {"1": []}}',
        '{"version": 1, "counts": {"1,2": [[1]]}}',
        '{"version": 1, "counts": {"1,2": [[1, -1]]}}',
        '{"version": 1, "counts": {"1,2": [[1, NaN]]}}',
        '{"version": 1, "counts": {"1,2": [[1, 1e99]]}}',
        '{"version": 1, "counts": {"1,2": [[99999, 1]]}}',
        '{"version": 1, "counts": {"1,2": [["a", 1]]}}',
        json.dumps({"version": 1, "counts": {f"{n},0": [[1, 1]] for n in range(501)}}),
    ],
)
def test_nonsense_is_nothing_learned(text: str) -> None:
    assert from_text(text) == Learned()


def test_it_is_written_at_most_every_half_an_hour_and_only_when_it_says_something_else() -> None:
    history, text = due(History(learned=learned()), 100.0)
    assert text is None  # it has just begun
    history, text = due(history, 100.0 + KEEP_EVERY_S - 1)
    assert text is None
    history, text = due(history, 100.0 + KEEP_EVERY_S)
    assert text == to_text(history.learned)
    history, text = due(history, 100.0 + 2 * KEEP_EVERY_S)
    assert text is None


def test_another_operator_begins_with_it() -> None:
    world = worlds.World(worlds.spec(scaling={"maxReplicas": 4}))
    writes = 0
    for second in range(0, 9000, 5):
        world.time = 1000.0 + second
        load = Load(
            world.time,
            (FrontendSample("front-0", 0, 2, second / 5),),
            (EngineSample("engine-0", 2, 0, None),),
        )
        world.look(load)
        writes += ("ConfigMap", "llama-learned") in world.objects
    present = world.objects["ConfigMap", "llama-learned"]
    assert writes
    assert present.owner_uid == "uid-service"
    history = autoscale.begin(world.observe())
    assert quantiles(history.learned) == history.kept
    assert history.learned.counts.keys() == world.history.learned.counts.keys()
    assert history.since is None


def test_a_gap_forgets_nothing_of_what_was_written() -> None:
    """A new operator's first look is one after a gap: it writes only what says something else."""
    before = History(learned=learned(), kept=quantiles(learned()), kept_at=100.0)
    load = Load(
        5000.0,
        (FrontendSample("front-0", 0, 0, 0.0),),
        (EngineSample("engine-0", 0, 0, None),),
    )
    after, _ = remember(before, load, 5000.0)
    assert (after.kept, after.kept_at) == (before.kept, before.kept_at)
    assert due(after, 5000.0)[1] is None


def test_a_map_that_somebody_wrote_is_no_crash() -> None:
    world = worlds.World(worlds.spec(scaling={"maxReplicas": 4}))
    assert autoscale.begin(world.observe()) == History()
    assert LEARNED == "learned"


def test_the_users_windows_need_no_memory() -> None:
    windows = {"scaleToZeroAfter": "1m", "scaleDownStabilization": "30s"}
    world = worlds.World(worlds.spec(scaling={"maxReplicas": 4, **windows}))
    for second in range(0, 4000, 5):
        world.time = 1000.0 + second
        world.look(
            Load(
                world.time,
                (FrontendSample("front-0", 0, 2, second / 5),),
                (EngineSample("engine-0", 2, 0, None),),
            )
        )
    assert ("ConfigMap", "llama-learned") not in world.objects
