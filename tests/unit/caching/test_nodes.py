"""Stories of a cache that is kept per node, by values alone."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from stoker import naming
from stoker_worker.cachecontract import FetchReason, FetchResult
from tests.unit.caching.worlds import CACHES, FOLDER, GIB, URI, World, fetched, pod_spec

PER_NODE = {"storage": {"perNode": {"storageClassName": "local"}}}


def per_node(nodes: tuple[str, ...], parallel: int = 2) -> World:
    world = World({**PER_NODE, "preload": {"parallel": parallel}})
    world.nodes = nodes
    world.resolve()
    world.turn()
    return world


def jobs_on(world: World, task: str = "fetch") -> list[str]:
    return sorted(
        each.body["metadata"]["annotations"][naming.ANNOTATION_NODE]
        for each in world.objects.values()
        if each.kind == "Job"
        and each.body["metadata"]["annotations"][naming.ANNOTATION_TASK] == task
    )


def test_each_node_gets_a_job_of_its_own_and_only_so_many_at_once() -> None:
    world = per_node(("n1", "n2", "n3"))
    assert world.claim is not None
    assert world.claim.access_modes == ("ReadWriteMany",)
    assert world.claim.storage_class == "local"
    assert jobs_on(world) == ["n1", "n2"]
    terms = pod_spec(world.job("fetch", "n1"))["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]["nodeSelectorTerms"]
    assert terms == [
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}
    ]
    assert world.status["nodes"]["shown"] == "0/3"
    world.bind()
    world.fetch("n1")
    # One node has it: services may start there.
    assert world.status["folder"] == FOLDER
    assert world.status["nodes"]["shown"] == "1/3"
    assert world.status["phase"] != "Ready"
    world.turn()
    assert jobs_on(world) == ["n2", "n3"]
    world.fetch("n2")
    world.turn()
    world.fetch("n3")
    world.settle()
    assert world.status["phase"] == "Ready"
    assert world.status["nodes"]["shown"] == "3/3"
    assert world.jobs() == []
    assert world.condition("Ready")[1] == "Cached"


def test_a_node_where_a_pod_waits_is_first() -> None:
    world = World({**PER_NODE, "preload": {"parallel": 1}})
    world.nodes = ("n1", "n2", "n3")
    world.waiting_on = frozenset({"n3"})
    world.resolve()
    assert jobs_on(world) == ["n3"]


def test_a_node_that_goes_takes_its_entry_and_its_job_along_and_a_new_one_gets_both() -> None:
    world = per_node(("n1", "n2"))
    world.bind()
    world.fetch("n1")
    world.nodes = ("n1", "n4")
    world.turn()
    assert jobs_on(world) == ["n4"]
    assert [each["name"] for each in world.status["nodes"]["list"]] == ["n1", "n4"]
    world.fetch("n4")
    world.settle()
    assert world.status["phase"] == "Ready"
    world.nodes = ("n1",)
    world.settle()
    assert world.status["nodes"]["shown"] == "1/1"


def test_a_node_that_fails_keeps_nobody_else_from_being_filled() -> None:
    world = per_node(("n1", "n2", "n3"), parallel=1)
    world.bind()
    world.fail("fetch", FetchReason.NOT_ENOUGH_DISK, "needs 15 GiB, 1 GiB free", node="n1")
    world.turn()
    world.turn()
    assert jobs_on(world) == ["n2"]
    world.fetch("n2")
    world.turn()
    world.fetch("n3")
    world.settle()
    assert world.status["phase"] == "Degraded"
    assert world.condition("Ready")[:2] == ("True", "NotEnoughDisk")
    assert "Node n1: needs 15 GiB" in world.condition("Ready")[2]
    assert world.status["nodes"]["shown"] == "2/3"
    world.at += 301
    world.turn()
    world.fail("fetch", FetchReason.NOT_ENOUGH_DISK, "needs 15 GiB, 1 GiB free", node="n1")
    world.settle()
    entry = world.status["nodes"]["list"][0]
    assert (entry["name"], entry["attempts"]) == ("n1", 2)
    world.at += 601
    world.turn()
    world.fetch("n1")
    world.settle()
    assert world.status["phase"] == "Ready"


def test_a_pod_that_no_node_takes_does_not_count_as_one_that_runs() -> None:
    world = per_node(("n1", "n2"), parallel=1)
    world.start("fetch", "n1", phase="Pending", ready=False, scheduled=False,
                unschedulable="0/2 nodes are available: 1 Insufficient memory.")  # fmt: skip
    world.turn()
    assert jobs_on(world) == ["n1", "n2"]


def test_progress_is_that_of_all_nodes_together() -> None:
    world = per_node(("n1", "n2"))
    for node in ("n1", "n2"):
        pod = world.start("fetch", node)
        world.page(pod, bytes=15 * GIB, done=3 * GIB, speed=GIB, remaining_s=12)
    world.turn()
    assert world.status["progress"]["shown"] == "20%"
    assert world.status["progress"]["speed"] == "2.0 GiB/s"
    assert world.status["progress"]["remaining"] == "12s"


def test_what_services_use_changes_when_every_node_has_the_new_one() -> None:
    world = per_node(("n1", "n2"))
    world.bind()
    for node in ("n1", "n2"):
        world.fetch(node)
    world.settle()
    world.annotations[naming.ANNOTATION_RESOLVE] = "1"
    world.turn()
    world.end("resolve", FetchResult("resolve", "f" * 40, 16 * GIB, 4))
    world.turn()
    world.turn()
    new = naming.model_folder(URI, "f" * 40)
    world.end("fetch", fetched(revision="f" * 40, digest="e" * 64), "n1")
    world.turn()
    assert world.status["folder"] == FOLDER
    assert world.condition("Ready")[0] == "True"
    world.end("fetch", fetched(revision="f" * 40, digest="e" * 64), "n2")
    world.settle()
    assert world.status["folder"] == new
    assert world.status["phase"] == "Ready"


def test_a_bad_file_on_one_node_is_repaired_there() -> None:
    world = per_node(("n1", "n2"))
    world.bind()
    for name in ("n1", "n2"):
        world.fetch(name)
    world.settle()
    world.at += 5
    world.corrupt = {"n2": world.now.unix}
    world.turn()
    assert jobs_on(world, "verify") == ["n2"]


def test_every_node_is_verified_on_schedule_and_when_its_owner_asks() -> None:
    world = World({**PER_NODE, "verify": {"every": "24h"}})
    world.nodes = ("n1", "n2")
    world.resolve()
    world.bind()
    for node in ("n1", "n2"):
        world.turn()
        world.fetch(node)
    plan = world.settle()
    assert plan.wake_at == world.at + 60  # to see what nodes there are
    world.annotations[naming.ANNOTATION_VERIFY] = "now"
    world.turn()
    assert jobs_on(world, "verify") == ["n1", "n2"]
    world.at += 10
    for node in ("n1", "n2"):
        world.end("verify", fetched("verify", repaired=("both", f"of-{node}")), node)
        world.turn()
    world.settle()
    assert world.jobs() == []
    assert world.status["repaired"] == ["both", "of-n1", "of-n2"]
    world.at += 86401
    world.turn()
    assert jobs_on(world, "verify") == ["n1", "n2"]
    world.end("verify", fetched("verify"), "n1")
    world.settle()
    assert not world.status.get("repaired")


@pytest.mark.parametrize(("nodes", "reason"), [(None, "NodesNotRead"), ((), "NoNodeSelected")])
def test_without_nodes_it_says_what_is_missing(nodes: tuple[str, ...] | None, reason: str) -> None:
    world = World(PER_NODE)
    world.nodes = nodes
    world.resolve()
    assert world.condition("Ready")[1] == reason


def test_the_status_of_many_nodes_stays_small() -> None:
    names = tuple(f"{'n' * 60}{number:03}" for number in range(60))
    world = World({**PER_NODE, "preload": {"parallel": 64}})
    world.nodes = names
    world.resolve()
    world.bind()
    for _ in range(4):
        world.turn()
        for node in jobs_on(world):
            world.fail("fetch", FetchReason.NOT_ENOUGH_DISK, "x" * 4000, node=node)
    world.turn()
    assert len(world.status["nodes"]["list"]) > 30
    assert len(json.dumps(world.status)) < 12 * 1024  # facts have 4 KiB at most


def test_only_nodes_with_the_labels_of_preload_and_of_the_services_pods() -> None:
    world = World({**PER_NODE, "preload": {"nodes": {"matchLabels": {"pool": "a"}}, "parallel": 9}})
    gpu = {"nvidia.com/gpu.product": "NVIDIA-L4"}
    world.labels = {"n1": {"pool": "a", **gpu}, "n2": {"pool": "b", **gpu}, "n3": {"pool": "a"}}
    world.nodes = ("n1", "n2", "n3")
    world.users["s"] = {"model": {"uri": "pvc://x"}, "accelerator": {"types": ["nvidia-l4"]}}
    world.resolve()
    assert jobs_on(world) == ["n1"]


def test_a_node_that_rests_is_not_filled_and_not_forgotten() -> None:
    world = per_node(("n1", "n2"))
    world.bind()
    world.fetch("n1")
    world.resting = frozenset({"n1", "n2"})
    world.settle()
    assert world.status["nodes"]["shown"] == "1/1"
    assert jobs_on(world) == []
    world.resting = frozenset()
    world.turn()
    assert jobs_on(world) == ["n2"]


def test_nodes_are_labelled_where_the_administrator_lets_us() -> None:
    for allowed in (False, True):
        world = World(PER_NODE, replace(CACHES, label_nodes=allowed))
        world.nodes = ("n1", "n2")
        key = naming.model_label(FOLDER)
        world.labels = {"n2": {key: "true"}}  # it was filled once, and is not any more
        world.resolve()
        world.bind()
        world.turn()
        world.end("fetch", fetched(), "n1")
        plan = world.turn()
        said = [(each.node, each.key, each.wanted) for each in plan.labels]
        assert said == ([("n1", key, True), ("n2", key, False)] if allowed else [])
        world.labels = {"n1": {key: "true"}}
        assert world.turn().labels == ()
