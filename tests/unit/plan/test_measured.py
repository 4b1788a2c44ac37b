"""What engines teach: when it is written, what it holds for, what the next plan makes of it."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from typing import Any

import pytest

from stoker.model import reasons
from stoker.model.load import Load
from stoker.model.timing import Seen, Timings
from stoker.plan import measured, windows
from stoker.plan.measured import Measured
from stoker.plan.stored import PLANNER_VERSION
from stoker.plan.windows import Windows
from stoker.planner.calibration import Residual
from stoker.planner.feedback import Finding
from stoker.telemetry.parse import engine_sample
from tests.unit.plan import worlds
from tests.unit.plan.worlds import PLANNING, World

L4: dict[str, Any] = {
    "accelerator": {"types": ["nvidia-l4"], "perReplica": 1},
    "context": {"maxModelLen": 8192},
}
EITHER: dict[str, Any] = {
    "accelerator": {"types": ["nvidia-l4", "nvidia-a100"], "perReplica": 1},
    "context": {"maxModelLen": 8192},
}
HERE = Measured("nvidia-l4", ("1x1x1", "none", "auto"))
NONE = Finding(None, "nothing to compare")


def found(factor: float) -> Finding:
    return Finding(factor, f"{factor:g} times")


def times(*itl: float) -> list[tuple[Finding, Finding]]:
    return [(NONE, found(factor)) for factor in itl]


# Entries.


def test_the_cache_is_learned_at_once_and_times_when_two_windows_agree() -> None:
    (entry,) = measured.learn((), HERE, found(0.93), times(1.2))
    assert entry.residual == Residual(kv=0.93)
    (entry,) = measured.learn((entry,), HERE, found(0.93), times(1.2, 1.4))
    assert entry.itl is None
    (entry,) = measured.learn((entry,), HERE, found(0.93), times(1.2, 1.25))
    assert entry.residual == Residual(kv=0.93, itl=1.25)
    assert measured.learn((), HERE, None, []) == ()
    assert measured.learn((), HERE, NONE, [(NONE, NONE)] * 2) == ()


@pytest.mark.parametrize(("now", "kept"), [(1.25, 1.2), (1.1, 1.2), (1.33, 1.33), (1.0, 1.0)])
def test_less_than_a_tenth_moves_nothing(now: float, kept: float) -> None:
    known = measured.learn((), HERE, None, times(1.2, 1.2))
    (entry,) = measured.learn(known, HERE, None, times(now, now))
    assert entry.residual.itl == kept


def test_each_way_is_kept_beside_the_others_the_last_one_that_ran_first() -> None:
    known = measured.learn((), HERE, found(0.9), times(1.2, 1.2))
    cut = replace(HERE, way=("2x1x1", "none", "auto"))
    assert measured.learn(known, cut, None, times(1.5)) == known
    known = measured.learn(known, cut, found(0.8), [])
    assert [each.residual for each in known] == [Residual(kv=0.8), Residual(kv=0.9, itl=1.2)]
    known = measured.learn(known, HERE, None, [])
    assert [each.way[0] for each in known] == ["1x1x1", "2x1x1"]
    assert measured.by_type(known) == {
        "nvidia-l4": {HERE.way: Residual(kv=0.9, itl=1.2), cut.way: Residual(kv=0.8)}
    }
    for name in ("a", "b", "c"):
        known = measured.learn(known, replace(HERE, accelerator=name), found(0.9), [])
    assert [each.accelerator for each in known] == ["c", "b", "a"]


def stored(*ways: Any, **shared: str) -> dict[str, Any]:
    given = {"engine": "0.33.0", "model": "sha256:m", "planner": PLANNER_VERSION, **shared}
    return {"plan": {"measured": {**given, "ways": list(ways)}}}


def valid(status: dict[str, Any], *types: str) -> tuple[Measured, ...]:
    return measured.valid(status, "0.33.0", "sha256:m", types or ("nvidia-l4",))


def test_a_status_is_read_as_it_was_written() -> None:
    known = (replace(HERE, kv=0.93, ttft=1.1, itl=10.0), replace(HERE, accelerator="b", kv=2.0))
    told = measured.status_of(known, "0.33.0", "sha256:m")
    status = json.loads(json.dumps({"plan": {"measured": told}}))
    assert valid(status, "nvidia-l4", "b") == known
    assert status == stored(*(each.status for each in known))
    assert known[0].status["note"] == "itl: cut to a bound"
    assert measured.status_of((), "0.33.0", "sha256:m") is None


def test_what_holds_for_something_else_is_dropped() -> None:
    way = replace(HERE, kv=0.93)
    assert valid(stored(way.status)) == (way,)
    assert valid(stored(way.status), "nvidia-a100") == ()
    for name in ("engine", "model", "planner"):
        assert valid(stored(way.status, **{name: "another"})) == ()


@pytest.mark.parametrize(
    "factor", [math.nan, math.inf, 0, -1, 0.01, 50, True, "0.9", None, [], {"a": 1}]
)
def test_nonsense_that_somebody_wrote_counts_as_nothing(factor: Any) -> None:
    (way,) = valid(stored(HERE.status | {"kv": factor, "itl": 1.2}))
    assert (way.kv, way.residual) == (None, Residual(itl=1.2))


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"plan": None},
        {"plan": {"measured": "x"}},
        {"plan": {"measured": {"ways": [HERE.status]}}},
        stored("x", None, {}, {"accelerator": 1}),
        stored({"accelerator": "nvidia-l4", "parallelism": None}),
        {"plan": {**stored()["plan"], "inputs": {}, "configuration": "{"}},
    ],
)
def test_any_status_can_be_read(status: dict[str, Any]) -> None:
    assert valid(status) == ()
    assert not measured.is_settled(status)
    assert not measured.lacks_times(status)


# Stories.


def settled(**fields: Any) -> World:
    world = World(worlds.spec(**(fields or L4)), PLANNING)
    world.settle()
    return world


def entry(world: World) -> dict[str, Any]:
    (found,) = world.status["plan"]["measured"]["ways"]
    return dict(found)


def why(world: World, name: str) -> str:
    for technique in world.status["plan"]["techniques"]:
        if technique["name"] == name:
            return str(technique["why"])
    raise AssertionError(name)


def load(world: World, itl: float, ttft: float = 0.3) -> Seen:
    """Two hundred requests like those of the plan, four at once."""
    counted = Timings(
        first_tokens=200,
        first_token_s=200 * ttft,
        gaps=51_000,
        gap_s=51_000 * itl,
        requests=200,
        prompt_tokens=200 * 1024,
        computed_tokens=200 * 1024,
        generated_tokens=200 * 256,
    )
    return Seen(world.status["revision"]).plus(counted, 4, 1000)


def run(world: World, itl: float, ttft: float = 0.3) -> None:
    world.seen = (load(world, itl, ttft),) * 2
    world.settle()


def slow(world: World, factor: float) -> float:
    """The time per token that is so many times the estimate."""
    run(world, 0.4)
    told = entry(world)["itl"]
    assert 5 < told < 10
    return float(factor * 0.4 / told)


def test_the_next_plan_is_made_with_what_the_first_one_s_engines_reported() -> None:
    world = settled()
    (old,) = world.replicas()
    predicted = world.status["plan"]["kvCacheTokens"]
    world.kv_tokens = int(0.8 * predicted)
    world.settle()
    told = entry(world)
    assert told["accelerator"] == "nvidia-l4"
    assert told["parallelism"] == "1x1x1"
    assert told["kv"] == pytest.approx(0.8, abs=0.001)
    for_what = world.status["plan"]["measured"]
    assert (for_what["engine"], for_what["model"]) == ("0.33.0", "sha256:llama")
    assert world.replicas() == {old: 1}  # what is learned restarts nothing
    assert "measured" not in why(world, "gpuMemoryUtilization")  # of the plan that was made before
    world.change(worlds.spec(**L4, optimization={"objective": "latency"}))
    world.look()
    plan = world.status["plan"]
    assert plan["kvCacheTokens"] == pytest.approx(0.8 * predicted, rel=0.05)
    assert "measured: 0.80 of the predicted KV cache" in why(world, "gpuMemoryUtilization")
    # The same report again is what was estimated times the same factor.
    world.kv_tokens = plan["kvCacheTokens"]
    world.settle()
    assert entry(world)["kv"] == pytest.approx(0.8, abs=0.001)
    assert world.status["plan"]["residual"]["kvTokensReported"] == plan["kvCacheTokens"]


def test_times_are_written_once_and_a_steady_service_is_left_alone() -> None:
    world = settled()
    itl = slow(world, 1.3)
    world.seen = ()
    run(world, itl)
    assert measured.is_settled(world.status)
    assert entry(world)["itl"] == pytest.approx(1.3, abs=0.01)
    assert entry(world)["ttft"] > 0
    before = world.status
    for noise in (1.0, 1.05, 0.95, 1.09):
        run(world, noise * itl)
        assert world.status == before
    world.seen = (load(world, itl), load(world, 2 * itl))  # a quarrel
    world.settle()
    assert world.status == before
    run(world, 1.5 * itl)
    assert entry(world)["itl"] == pytest.approx(1.3 * 1.5, abs=0.02)


def test_times_correct_the_next_plan_and_are_told() -> None:
    world = settled()
    run(world, slow(world, 1.5))
    before = world.status["plan"]["configuration"]
    world.change(worlds.spec(**L4, optimization={"batching": {"maxNumSeqs": 8}}))
    world.settle()
    plan = world.status["plan"]
    assert plan["configuration"] != before
    assert entry(world)["itl"] == pytest.approx(1.5, abs=0.01)
    world.change(worlds.spec(**L4, optimization={"objective": "throughput"}))
    world.look()
    assert "(measured: 1.50 of the estimate)" in why(world, "maxNumSeqs")


def page(requests: int, itl: float) -> str:
    """What an engine's metrics say after so many requests like those of the plan."""
    counted = {
        "time_to_first_token_seconds_count": requests,
        "time_to_first_token_seconds_sum": 0.3 * requests,
        "inter_token_latency_seconds_count": 255 * requests,
        "inter_token_latency_seconds_sum": 255 * requests * itl,
        "request_generation_tokens_count": requests,
        "request_generation_tokens_sum": 256 * requests,
        "request_queue_time_seconds_sum": 0,
        "request_prompt_tokens_sum": 1024 * requests,
        "num_requests_running": 4,
        "num_requests_waiting": 0,
    }
    return "".join(f'vllm:{name}{{engine="0"}} {value}\n' for name, value in counted.items())


@pytest.mark.parametrize(("itl", "factor"), [(0.1, 1.638), (math.nan, None), (-0.1, None)])
def test_from_pages_of_metrics_to_the_status(itl: float, factor: float | None) -> None:
    world = settled()
    revision = world.status["revision"]
    (name,) = [name for name, pod in world.pods.items() if pod.revision == revision]
    seen = Windows()
    for look in range(100):
        sample = engine_sample(name, page(10 * look, itl))
        assert (sample.running, sample.waiting) == (4, 0)
        load = Load(5.0 * look, (), (sample,))
        seen = windows.advance(seen, load, world.pods.values(), revision, settled=False)
    world.seen = seen.closed
    world.settle()
    if factor is None:
        assert seen.closed == ()
        assert "measured" not in world.status["plan"]
    else:
        assert entry(world)["itl"] == pytest.approx(factor, rel=0.01)


@pytest.mark.parametrize("itl", [math.nan, math.inf, 0.0, -1.0])
def test_nonsense_of_an_engine_moves_nothing(itl: float) -> None:
    world = settled()
    before = world.status
    run(world, itl, ttft=itl)
    assert world.status == before


def test_an_absurd_time_is_cut_and_said() -> None:
    world = settled()
    run(world, 1e6)
    assert entry(world)["itl"] == 10
    assert "itl: cut to a bound" in entry(world)["note"]


def test_windows_of_another_revision_teach_nothing() -> None:
    world = settled()
    before = world.status
    world.seen = (replace(load(world, 0.1), revision="other"),) * 2
    world.settle()
    assert world.status == before


def test_another_model_or_engine_drops_what_was_learned() -> None:
    world = settled()
    world.kv_tokens = 30_000
    world.settle()
    assert world.status["plan"]["measured"]["model"] == "sha256:llama"
    world.kv_tokens = None
    engine = {"image": "registry.test/vllm:0.34"}
    world.change(worlds.spec(**L4, engine=engine))
    world.settle()
    assert "measured" not in world.status["plan"]
    world.kv_tokens = 30_000
    world.settle()
    assert world.status["plan"]["measured"]["engine"] == "0.34.0"
    world.kv_tokens = None
    world.model = replace(worlds.FACTS, digest="sha256:other")
    world.change(worlds.spec(**L4, engine=engine, model={"uri": "pvc://models/other"}))
    world.settle()
    assert world.status["model"]["digest"] == "sha256:other"
    assert "measured" not in world.status["plan"]


def test_pods_that_keep_an_older_image_teach_nothing_about_todays() -> None:
    world = settled()
    base = PLANNING.engines["vllm"]
    newer = replace(base, image="registry.test/vllm:0.34")
    world.platform = replace(PLANNING, engines={"vllm": newer})
    world.kv_tokens = 30_000
    run(world, 0.1)
    assert "measured" not in world.status["plan"]
    assert world.status["plan"]["residual"]["kvTokensReported"] == 30_000


def test_a_kv_type_that_was_not_taken_is_no_lesson_about_memory() -> None:
    world = settled(**L4, optimization={"kvCache": {"dtype": "fp8"}})
    world.kv_tokens = world.status["plan"]["kvCacheTokens"] // 2
    world.settle()
    assert world.condition("KvDtypeNotHonoured")["status"] == "True"
    assert "measured" not in world.status["plan"]


TARGET = {"optimization": {"targets": {"itl": "200ms"}}}


def test_a_plan_that_turns_out_worse_is_not_restarted_and_a_better_one_is_offered() -> None:
    world = settled(**EITHER, **TARGET)
    (old,) = world.replicas()
    before = world.status["plan"]
    assert before["accelerator"] == "nvidia-l4"  # the first in the order of preference
    run(world, slow(world, 6))
    assert world.replicas() == {old: 1}
    assert world.status["plan"]["configuration"] == before["configuration"]
    assert world.status["plan"]["expected"] == before["expected"]
    offered = world.condition("BetterPlanAvailable")
    assert offered["reason"] == reasons.BETTER_PLAN
    assert "1 x nvidia-a100" in offered["message"]
    assert "per token" in world.status["plan"]["offer"]["saves"]


def test_one_that_is_as_good_as_the_estimate_errs_is_not_offered() -> None:
    world = settled(**EITHER, **TARGET)
    run(world, slow(world, 1.05))
    assert not [c for c in world.status["conditions"] if c["type"] == "BetterPlanAvailable"]


@pytest.mark.parametrize("wanted", [EITHER, {**L4, "accelerator": {"types": ["nvidia-l4"]}}])
def test_whoever_accepts_every_offer_is_not_sent_back_and_forth(wanted: dict[str, Any]) -> None:
    """Two types, or two cuts of one: the first disappoints, the second does what it promised."""
    world = settled(**wanted, **TARGET)
    world.annotations["stoker.dev/accept-plan"] = "true"
    ways = []
    for _ in range(8):
        plan = world.status["plan"]
        ways.append((plan["accelerator"], plan["tensor"]))
        world.kv_tokens = plan["kvCacheTokens"]
        world.settle()
        world.kv_tokens = None
        run(world, 0.5 if ways[-1] == ("nvidia-l4", 1) else 0.03)
    assert ways[0] == ("nvidia-l4", 1)
    turns = [way for way, _ in itertools.groupby(ways)]
    assert len(turns) == len(set(turns)) > 1  # what was left is not returned to
    assert ways[-1] == ways[-4]


def test_what_lacks_times_is_looked_at() -> None:
    world = settled()
    assert measured.lacks_times(world.status)
    run(world, 0.1)
    assert not measured.lacks_times(world.status)
    world = settled(**L4, optimization={"speculative": {"method": "ngram"}})
    assert not measured.lacks_times(world.status)  # they could not be compared
