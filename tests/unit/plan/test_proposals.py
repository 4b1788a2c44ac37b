"""Proposals: what the windows have to say for one, what it says, when it stays and when it goes."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.model.load import EngineSample
from stoker.model.plan import Apply
from stoker.model.strain import Strain
from stoker.model.timing import Timings
from stoker.plan import proposals
from tests.unit.plan import worlds
from tests.unit.plan.worlds import PLANNING, World

L4: dict[str, Any] = {
    "accelerator": {"types": ["nvidia-l4"], "perReplica": 1},
    "context": {"maxModelLen": 8192},
}
EIGHT: dict[str, Any] = {**L4, "optimization": {"batching": {"maxNumSeqs": 8}}}


def settled(**fields: Any) -> World:
    world = World(worlds.spec(**(fields or EIGHT)), PLANNING)
    world.settle()
    return world


def window(
    world: World,
    running: int = 8,
    waiting: int = 3,
    cache: float = 0.4,
    share: float = 1.0,
    put_off: float = 0.0,
    prompt: int = 1024,
) -> Strain:
    """Five hundred requests like those of the plan; for a share of the time it was like that."""
    requests = 500.0
    counted = Timings(
        first_tokens=requests,
        first_token_s=requests,
        gaps=255 * requests,
        gap_s=0.05 * 255 * requests,
        requests=requests,
        prompt_tokens=prompt * requests,
        computed_tokens=prompt * requests,
        generated_tokens=256 * requests,
        preemptions=put_off * requests,
    )
    seen = Strain(world.status["revision"], world.status["plan"]["maxNumSeqs"])
    calm = EngineSample("one", 1, 0, 0.05)
    busy = EngineSample("one", running, waiting, cache)
    return seen.plus(busy, counted, 0, 900 * share).plus(calm, Timings(), 0, 900 * (1 - share))


def told(world: World) -> list[dict[str, str]]:
    return list(world.status["plan"].get("proposals") or [])


def show(world: World, *strains: Strain) -> list[dict[str, str]]:
    world.strains = strains
    world.settle()
    return told(world)


def test_full_places_and_room_in_the_cache_ask_for_more_places() -> None:
    world = settled()
    before = dict(world.objects)
    assert show(world, window(world, share=0.43)) == []  # one window is one burst
    (found,) = show(world, *[window(world, share=0.43)] * 2)
    assert found == {
        "reason": "PlacesFull",
        "change": "optimization.batching.maxNumSeqs: 16",
        "why": "you set 8; all 8 places taken, requests wait 43 % of the time, KV cache up to 40 %",
        "gain": "+72 % tokens/s, 66ms to 77ms per token, $2.80 to $1.63 per 1M tokens",
    }
    assert world.objects == before  # it is told, and not done
    # The numbers are those of the plan for what would run then.
    taken = settled(**{**L4, "optimization": {"batching": {"maxNumSeqs": 16}}})
    assert taken.status["plan"]["expected"]["itl"]["typical"] == "77ms"


def test_the_fewest_places_that_gain_as_much() -> None:
    world = settled()
    (found,) = show(world, *[window(world, cache=0.1)] * 2)
    assert found["change"] == "optimization.batching.maxNumSeqs: 32"
    # Beyond 32 a token takes longer than people read, by the plan's own bound.
    assert "99ms per token" in found["gain"]


def test_a_target_is_kept() -> None:
    fields = {**EIGHT, "optimization": {**EIGHT["optimization"], "targets": {"itl": "70ms"}}}
    world = settled(**fields)
    assert show(world, *[window(world)] * 2) == []


def test_what_was_not_set_is_not_said_to_be() -> None:
    world = settled(**L4, optimization={"objective": "balanced"})
    world.change(worlds.spec(accelerator={"types": ["nvidia-a100"]}))
    world.settle()
    places = world.status["plan"]["maxNumSeqs"]
    (found,) = show(world, *[window(world, running=places)] * 2)
    assert found["why"].startswith(f"all {places} places taken")
    assert found["change"] == f"optimization.batching.maxNumSeqs: {2 * places}"


def test_a_flag_of_the_user_s_is_named_where_it_stands() -> None:
    world = settled(**L4, engine={"args": {"max-num-seqs": "8"}})
    (found,) = show(world, *[window(world)] * 2)
    assert found["change"] == "engine.args.max-num-seqs: 16"
    assert found["why"].startswith("you set 8; ")


def test_a_full_cache_asks_for_what_gains_most_per_dollar() -> None:
    world = settled(**{**L4, "optimization": {"batching": {"maxNumSeqs": 32}}})
    full = window(world, running=24, cache=0.97, put_off=0.1)
    (found,) = show(world, full, full)
    assert found["reason"] == "CacheFull"
    assert found["change"] == "accelerator.types: [nvidia-a100]"
    assert found["why"].startswith("you set [nvidia-l4]; KV cache full, requests wait 100 %")


def test_what_the_budget_does_not_pay_for_is_not_proposed() -> None:
    scaling = {"maxReplicas": 4, "budget": {"maxPerHour": "2.00"}}
    world = settled(**{**L4, "optimization": {"batching": {"maxNumSeqs": 32}}}, scaling=scaling)
    full = window(world, running=24, cache=0.97, put_off=0.1)
    (found,) = show(world, full, full)  # and neither two of these nor a larger one
    assert found["change"] == "optimization.kvCache.dtype: fp8"
    world = settled(**L4, optimization={"batching": {"maxNumSeqs": 8}}, scaling=scaling)
    (found,) = show(world, *[window(world)] * 2)  # the same accelerator costs no more
    assert found["change"] == "optimization.batching.maxNumSeqs: 16"


def test_a_cache_of_eight_bits_tells_what_it_costs() -> None:
    world = settled(accelerator={"types": ["nvidia-a100"]})
    full = window(world, running=22, cache=0.97)
    (found,) = show(world, full, full)
    assert found["change"] == "optimization.kvCache.dtype: fp8"
    assert found["why"] == "KV cache full, requests wait 100 % of the time; 0.2 % of quality"
    # What the user does not want is refused by the planner, and something else is proposed.
    world = settled(accelerator={"types": ["nvidia-a100"]}, optimization={"maxQualityLoss": 0})
    full = window(world, running=22, cache=0.97)
    (found,) = show(world, full, full)
    assert found["change"] == "parallelism.tensor: 2"


def test_fewer_places_where_requests_are_computed_twice() -> None:
    world = settled(
        accelerator={"types": ["nvidia-a100"]},
        optimization={
            "batching": {"maxNumSeqs": 256},
            "kvCache": {"dtype": "fp8"},
            "maxQualityLoss": 1,
        },
        parallelism={"tensor": 1},
    )
    full = window(world, running=180, cache=0.97, put_off=0.3)
    (found,) = show(world, full, full)
    assert found["change"] == "optimization.batching.maxNumSeqs: 144"
    assert found["why"].startswith("you set 256; ")


def test_idle_places_become_cache_where_that_is_much() -> None:
    world = settled(**{**L4, "optimization": {"batching": {"maxNumSeqs": 512}}})
    idle = window(world, running=50, waiting=0, cache=0.6)
    (found,) = show(world, idle, idle)
    assert found["reason"] == "PlacesIdle"
    assert found["change"] == "optimization.batching.maxNumSeqs: 128"
    assert found["why"].startswith(
        "you set 512; 50 of 512 places used at most, KV cache up to 60 %"
    )
    assert found["gain"].startswith("+48 % KV cache (20672 to 30512 tokens)")
    # Nobody needs a larger cache who leaves half of it empty; and a little more helps nobody.
    world = settled(**{**L4, "optimization": {"batching": {"maxNumSeqs": 512}}})
    assert show(world, *[window(world, running=50, waiting=0, cache=0.3)] * 2) == []
    world = settled()
    assert show(world, *[window(world, running=1, waiting=0, cache=0.6)] * 2) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"optimization": {"batching": {"maxNumSeqs": 8}, "speculative": {"method": "ngram"}}},
        {"optimization": {"batching": {"maxNumSeqs": 8}, "cpuOffloadGiB": 2}},
        {
            "optimization": {"batching": {"maxNumSeqs": 8}},
            "accelerator": {"types": ["cpu"]},
            "template": {"resources": {"limits": {"memory": "64Gi"}}},
        },
    ],
)
def test_where_estimates_are_not_compared_with_engines_nothing_is_proposed(
    fields: dict[str, Any],
) -> None:
    world = settled(**{**L4, **fields})
    assert world.condition("Planned")["status"] == "True"
    assert show(world, *[window(world)] * 2) == []


def test_what_engines_taught_corrects_it() -> None:
    world = settled()
    plain = show(world, *[window(world)] * 2)[0]["gain"]
    slow = settled()
    way = {
        "accelerator": "nvidia-l4",
        "parallelism": "1x1x1",
        "quantization": "none",
        "kvCacheDtype": "auto",
        "itl": 0.5,
    }
    status = json.loads(json.dumps(slow.status))
    status["plan"]["measured"] = {
        "engine": "0.33.0",
        "model": "sha256:llama",
        "planner": "1",
        "ways": [way],
    }
    slow.status = status
    taught = show(slow, *[window(slow)] * 2)[0]["gain"]
    assert "66ms to 77ms" in plain
    assert "33ms to 39ms" in taught


# What stays, and what goes.


def test_it_stays_word_for_word_and_goes_when_it_is_over() -> None:
    world = settled()
    first = show(world, *[window(world, share=0.5)] * 2)
    status = world.status
    for share, cache in ((0.3, 0.4), (0.9, 0.35), (0.15, 0.4)):
        assert show(world, *[window(world, share=share, cache=cache)] * 2) == first
        assert world.status == status
    calm = window(world, share=0.0)
    assert show(world, *[calm] * 3) == first
    world.strains = ()  # an operator that began anew has seen nothing
    world.settle()
    assert told(world) == first
    assert show(world, *[calm] * 4) == []
    assert "proposals" not in world.status["plan"]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.floats(0.27, 0.36), st.floats(0.25, 1.0)), min_size=3, max_size=8))
def test_noise_moves_nothing(noise: list[tuple[float, float]]) -> None:
    """The cache takes a little more or less, and the value that fits is another one each time."""
    world, start = WORLD, WORLD.status
    try:
        windows = [window(world, cache=cache, share=share) for cache, share in noise]
        first = show(world, *windows[:2])
        assert [each["reason"] for each in first] == ["PlacesFull"]
        for number in range(3, len(windows) + 1):
            assert show(world, *windows[:number][-4:]) == first
    finally:
        world.status, world.strains = start, ()


def test_what_no_longer_gains_is_replaced_and_what_gains_much_more_as_well() -> None:
    world = settled()
    (small,) = show(world, *[window(world, cache=0.4)] * 2)
    (same,) = show(world, *[window(world, cache=0.36)] * 2)
    assert same == small
    (wide,) = show(world, *[window(world, cache=0.1)] * 2)
    assert (small["change"], wide["change"]) == (
        "optimization.batching.maxNumSeqs: 16",
        "optimization.batching.maxNumSeqs: 32",
    )
    # The cache has room for 32 no more, and what is told is what is so.
    (tight,) = show(world, *[window(world, cache=0.55)] * 2)
    assert tight["change"] == "optimization.batching.maxNumSeqs: 11"


def test_what_brings_another_gain_by_now_says_so() -> None:
    fields = {**EIGHT["optimization"], "targets": {"itl": "500ms"}}
    world = settled(**{**EIGHT, "optimization": fields})
    (first,) = show(world, *[window(world, prompt=2400)] * 2)
    (second,) = show(world, *[window(world, prompt=64)] * 2)
    assert first["change"] == second["change"] == "optimization.batching.maxNumSeqs: 16"
    assert first["gain"].startswith("+54 % tokens/s, 79ms to 103ms per token")
    assert second["gain"].startswith("+94 % tokens/s, 58ms to 60ms per token")
    world.strains = (window(world, prompt=2400),) * 2
    plan = world.look()
    assert plan.status["plan"]["proposals"] == [first]
    assert not [each for each in plan.events if each.reason == "PlacesFull"]  # the change is known


def test_another_plan_begins_without_any() -> None:
    world = settled()
    assert show(world, *[window(world)] * 2)
    world.change(worlds.spec(**{**L4, "optimization": {"batching": {"maxNumSeqs": 16}}}))
    world.settle()
    assert "proposals" not in world.status["plan"]


def test_an_event_tells_what_is_new_once() -> None:
    world = settled()
    world.strains = (window(world),) * 2
    plan = world.look()
    (event,) = [each for each in plan.events if each.reason == "PlacesFull"]
    assert event.type == "Normal"
    assert event.message.startswith("optimization.batching.maxNumSeqs: 16 would give +72 %")
    assert "Stoker does not do it" in event.message
    assert not [action for action in plan.actions if isinstance(action, Apply)]
    assert not [each for each in world.look().events if each.reason == "PlacesFull"]


def test_a_status_that_makes_no_sense_is_no_proposal() -> None:
    world = settled()
    anything: list[Any] = ["x", [1], [{"reason": "PlacesFull"}], [{"reason": 1, "change": []}], {}]
    for nonsense in anything:
        world.status = {**world.status, "plan": {**world.status["plan"], "proposals": nonsense}}
        world.settle()
        assert "proposals" not in world.status["plan"]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["full", "calm", "between", "cache"]), min_size=4, max_size=16))
def test_a_proposal_never_flaps(kinds: list[str]) -> None:
    world = WORLD
    shape = {
        "full": window(world),
        "calm": window(world, share=0.0),
        "between": window(world, share=0.15),
        "cache": window(world, running=6, cache=0.97),
    }
    start = world.status
    try:
        changes, before = [], told(world)
        for number in range(len(kinds)):
            world.strains = tuple(shape[kind] for kind in kinds[: number + 1])[-4:]
            world.look()
            if told(world) != before:
                changes.append(number)
                before = told(world)
        # To come it takes two windows in a row of one kind, and to go four of the other.
        coming = kinds.count("full") // 2 + kinds.count("cache") // 2
        assert len(changes) <= 2 * max(coming, 0)
        alternates = all(one != two for one, two in itertools.pairwise(kinds))
        if alternates:
            assert not changes
    finally:
        world.status = start
        world.strains = ()


WORLD = settled()


def test_two_of_the_longest_take_less_than_500_bytes() -> None:
    text = "x" * proposals._TEXT
    entry = {"reason": "PlacesFull", "change": text, "why": "", "gain": ""}
    more = json.dumps({"proposals": [entry, entry]}, separators=(",", ":"))
    assert len(more) - len("{}") + len(",") <= 500
