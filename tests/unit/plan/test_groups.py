"""Over how many pods a replica is spread: as few as possible, evenly, or not at all."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.catalog.gpus import Gpu
from stoker.model import reasons
from stoker.model.replica import Replica
from stoker.plan import groups
from tests.unit.plan import worlds
from tests.unit.render.test_group import shaped


def gpu(name: str, most_per_node: int) -> Gpu:
    return Gpu(name, "nvidia", 2**34, 3e11, {"float16": 1e14}, most_per_node=most_per_node)


GPUS = {"nvidia-l4": gpu("nvidia-l4", 8), "nvidia-a100": gpu("nvidia-a100", 4)}
WITH_GROUPS = replace(worlds.PLATFORM, groups=True)


def of(count: int, names: tuple[str, ...] = ("nvidia-l4",)) -> Replica:
    made = shaped("gpu", 1, tensor=count)
    return replace(made, accelerators=replace(made.accelerators, names=names))


@pytest.mark.parametrize(
    ("count", "nodes"), [(1, 1), (8, 1), (16, 2), (12, 2), (24, 3), (9, 3), (10, 2), (11, 11)]
)
def test_a_replica_takes_the_fewest_nodes_that_share_it_out_evenly(count: int, nodes: int) -> None:
    assert groups.spread(of(count), None, GPUS).nodes == nodes


def test_a_choice_of_types_fits_the_smallest_node() -> None:
    made = of(8, ("nvidia-l4", "nvidia-a100"))
    assert groups.spread(made, None, GPUS).nodes == 2


def test_a_type_of_unknown_hardware_is_taken_to_fit() -> None:
    assert groups.spread(of(64), None, {}).nodes == 1


def test_what_the_spec_asks_for_is_taken() -> None:
    assert groups.spread(of(4), 2, GPUS).nodes == 2
    assert groups.spread(of(16), 1, GPUS).nodes == 1


@given(st.integers(1, 256), st.integers(1, 16))
def test_every_pod_has_the_same_number_and_none_has_too_many(count: int, most: int) -> None:
    nodes = groups.spread(of(count), None, {"nvidia-l4": gpu("nvidia-l4", most)}).nodes
    assert count % nodes == 0
    assert count // nodes <= most


def test_one_pod_is_never_refused() -> None:
    assert groups.refuse(of(8), worlds.PLATFORM) is None


def test_several_need_the_administrators_consent() -> None:
    verdict = groups.refuse(groups.spread(of(16), None, GPUS), worlds.PLATFORM)
    assert verdict is not None
    assert verdict.reason == reasons.GROUPS_NOT_OFFERED
    assert "leaderWorkerSet.enabled" in verdict.message
    assert groups.refuse(groups.spread(of(16), None, GPUS), WITH_GROUPS) is None


def test_what_cannot_be_shared_out_is_refused_with_the_way_out() -> None:
    verdict = groups.refuse(groups.spread(of(4), 3, GPUS), WITH_GROUPS)
    assert verdict is not None
    assert verdict.reason == reasons.GROUP_UNEVEN
    assert "divides by 3" in verdict.message
