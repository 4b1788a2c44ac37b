"""Stories of a cache on one volume, through several passes, by values alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stoker import naming
from stoker.model.plan import Delete
from stoker_worker import modelfacts
from stoker_worker.cachecontract import FetchReason, FetchResult
from tests.unit.caching.worlds import CACHES, FOLDER, GIB, REVISION, URI, World, fetched, pod_spec
from tests.unit.plan.worlds import FACTS

MIB = 2**20


def names(events: list[Any]) -> list[str]:
    return [event.reason for event in events]


def test_from_nothing_to_a_model_that_services_can_use() -> None:
    world = World()
    world.turn()
    assert world.status["phase"] == "Resolving"
    assert world.claim is None  # how large it has to be is not known
    assert world.condition("Ready")[:2] == ("False", "Resolving")
    world.end("resolve", FetchResult("resolve", REVISION, 15 * GIB, 4))
    world.turn()
    assert world.claim is not None
    assert world.claim.requested == 19 * GIB  # a tenth more, and 2 GiB for kernels
    assert world.status["phase"] == "Pending"
    assert world.status["size"] == "15.0 GiB"
    world.turn()
    assert not world.has_job("resolve")  # read, written down, removed
    pod = world.start("fetch")
    world.bind()
    world.page(pod, bytes=15 * GIB, done=3 * GIB, speed=112 * MIB, remaining_s=109.7)
    world.turn()
    assert world.status["phase"] == "Fetching"
    assert world.status["progress"] == {
        "percent": 20, "shown": "20%", "downloaded": 3 * GIB, "speed": "112.0 MiB/s",
        "remaining": "1m50s",
    }  # fmt: skip
    world.end("fetch", fetched())
    world.settle()
    assert world.jobs() == []  # no finished pod holds the volume
    assert world.status["phase"] == "Ready"
    assert world.condition("Ready")[:2] == ("True", "Cached")
    assert world.condition("Verified")[0] == "True"
    told = {name: world.status[name] for name in ("claim", "claimUid", "folder", "digest")}
    assert told == {
        "claim": "llama-cache", "claimUid": world.claim.uid, "folder": FOLDER, "digest": "d" * 64,
    }  # fmt: skip
    assert modelfacts.from_json(world.status["facts"]) == FACTS
    assert "progress" not in world.status
    assert names(world.events) == ["Resolved", "Fetching", "Fetched"]


def test_a_settled_cache_writes_nothing_and_sleeps() -> None:
    world = World()
    world.ready()
    plan = world.turn()
    assert plan.actions == ()
    assert plan.wake_at is None


def test_a_job_is_removed_only_after_its_word_is_in_the_status() -> None:
    world = World()
    world.resolve()
    assert world.has_job("resolve")
    assert world.status["resolved"]["revision"] == REVISION
    plan = world.turn()
    assert [a.name for a in plan.actions if isinstance(a, Delete)]
    assert not world.has_job("resolve")


def test_an_operator_that_dies_between_the_word_and_the_status_loses_nothing() -> None:
    world = World()
    world.resolve()
    world.bind()
    world.turn()
    world.end("fetch", fetched())
    before = world.status
    world.turn()
    world.status = before  # it was never written
    world.settle()
    assert world.status["phase"] == "Ready"
    assert world.jobs() == []


def test_jobs_run_as_nobody_and_are_told_all_but_the_secret() -> None:
    world = World({"model": {"uri": URI, "secretRef": {"name": "hub-token"}}})
    world.resolve()
    config = world.config("fetch")
    assert (config.task, config.uri, config.revision) == ("fetch", URI, REVISION)
    assert (config.folder, config.name, config.live) == (FOLDER, "chat/llama", [FOLDER])
    spec = pod_spec(world.job("fetch"))
    assert spec["automountServiceAccountToken"] is False
    (container,) = spec["containers"]
    assert "hub-token" not in str(container["env"]) + str(container["command"])
    secret = next(volume for volume in spec["volumes"] if "secret" in volume)
    assert secret["secret"]["secretName"] == "hub-token"
    assert {"name": "HTTPS_PROXY", "value": "http://proxy.test:3128"} in container["env"]


def test_resolving_needs_no_volume() -> None:
    world = World()
    world.turn()
    volumes = pod_spec(world.job("resolve"))["volumes"]
    assert not [volume for volume in volumes if "persistentVolumeClaim" in volume]


def test_a_source_that_is_a_claim_is_mounted_read_only() -> None:
    world = World({"model": {"uri": "pvc://models/llama"}})
    world.turn()
    spec = pod_spec(world.job("resolve"))
    source = next(volume for volume in spec["volumes"] if volume["name"] == "source")
    assert source["persistentVolumeClaim"] == {"claimName": "models", "readOnly": True}


@pytest.mark.parametrize(
    ("reason", "code", "pause"),
    [
        (FetchReason.NOT_ENOUGH_DISK, 1, 300.0),
        (FetchReason.UNAUTHORIZED, 1, 300.0),
        (FetchReason.SOURCE_UNREACHABLE, 2, 30.0),
        (FetchReason.RATE_LIMITED, 2, 30.0),
    ],
)
def test_what_a_job_says_is_told_and_tried_again(reason: str, code: int, pause: float) -> None:
    world = World()
    world.resolve()
    world.bind()
    world.fail("fetch", reason, "needs 15.9 GiB, 3.2 GiB free on llama-cache", code)
    plan = world.turn()
    assert world.status["phase"] == "Failed"
    assert world.condition("Ready")[:2] == ("False", reason)
    assert "needs 15.9 GiB" in world.condition("Ready")[2]
    assert plan.wake_at == world.at + pause
    world.settle()
    assert world.jobs() == []
    assert names(world.events).count(reason) == 1
    world.at += pause - 1
    world.turn()
    assert world.jobs() == []
    world.at += 1
    world.turn()
    assert world.has_job("fetch")
    world.fail("fetch", reason, "again", code)
    world.turn()
    assert world.status["attempt"]["attempts"] == 2
    plan = world.settle()
    assert plan.wake_at == world.at + 2 * pause
    # Nobody is told the same thing twice.
    assert names(world.events).count(reason) == 1


def test_a_failure_is_forgotten_when_the_source_is_corrected() -> None:
    world = World({"model": {"uri": "hf://org/lama"}})
    world.turn()
    world.fail("resolve", FetchReason.SOURCE_NOT_FOUND, "there is no org/lama")
    world.settle()
    assert world.condition("Resolved")[:2] == ("False", "SourceNotFound")
    world.spec["model"] = {"uri": URI}
    world.generation += 1
    world.turn()
    assert world.status["phase"] == "Resolving"
    assert world.has_job("resolve")


def test_a_job_that_waits_for_its_source_says_until_when() -> None:
    world = World()
    world.resolve()
    world.bind()
    pod = world.start("fetch")
    world.page(
        pod, state="waiting", reason="RateLimited", message="the hub asks for patience",
        until=1_700_000_123.0, bytes=100, done=10,
    )  # fmt: skip
    world.turn()
    status, reason, message = world.condition("Ready")
    assert (status, reason) == ("False", "RateLimited")
    assert message == "until 22:15:23 UTC: the hub asks for patience"
    assert world.status["phase"] == "Fetching"


def test_a_pod_that_nobody_takes_says_what_the_scheduler_says() -> None:
    world = World()
    world.resolve()
    world.start("fetch", phase="Pending", ready=False, scheduled=False, node=None,
                unschedulable="0/3 nodes are available: 3 Insufficient cpu.")  # fmt: skip
    world.turn()
    assert world.status["phase"] == "Pending"
    assert world.condition("Ready")[1] == "Unschedulable"
    assert "Insufficient cpu" in world.condition("Ready")[2]


def test_another_revision_is_fetched_beside_the_one_that_is_used() -> None:
    world = World()
    world.ready()
    assert world.claim is not None
    world.annotations[naming.ANNOTATION_RESOLVE] = "1"
    world.turn()
    assert world.status["phase"] == "Resolving"
    world.end("resolve", FetchResult("resolve", "f" * 40, 16 * GIB, 4))
    world.turn()
    new = naming.model_folder(URI, "f" * 40)
    assert world.claim.requested == 37 * GIB  # both, while the new one comes
    config = world.config("fetch")
    assert config.folder == new
    assert config.live == sorted([FOLDER, new])
    pod = world.start("fetch")
    world.page(pod, bytes=16 * GIB, done=4 * GIB)
    world.turn()
    assert world.status["folder"] == FOLDER  # a service that had a cached model keeps starting
    assert world.condition("Ready")[:2] == ("True", "Updating")
    world.fail("fetch", FetchReason.SOURCE_UNREACHABLE, "no route to the hub", 2)
    world.turn()
    assert world.status["phase"] == "Degraded"
    assert world.condition("Ready")[:2] == ("True", "SourceUnreachable")
    assert world.status["folder"] == FOLDER
    world.settle()
    world.at += 60
    world.turn()
    world.end("fetch", fetched(revision="f" * 40, digest="e" * 64))
    world.settle()
    assert world.status["folder"] == new
    assert world.status["digest"] == "e" * 64
    # The claim never shrinks.
    assert world.claim.requested == 37 * GIB


def test_a_branch_that_moves_changes_nothing_by_itself() -> None:
    world = World({"model": {"uri": URI, "revision": "main"}})
    world.ready()
    world.spec["verify"] = {"every": "24h"}
    world.generation += 1
    world.settle()
    assert not world.has_job("resolve")
    assert world.status["observedGeneration"] == 2


def test_verification_has_a_schedule() -> None:
    world = World({"verify": {"every": "24h"}})
    world.ready()
    plan = world.turn()
    assert plan.wake_at == pytest.approx(world.at + 86400, abs=2)
    first = world.status["lastVerified"]
    world.at += 86401
    world.turn()
    assert world.status["phase"] == "Pending" or world.status["phase"] == "Verifying"
    config = world.config("verify")
    assert config.full
    assert config.revision == REVISION
    assert world.condition("Ready")[0] == "True"
    world.end("verify", fetched("verify", repaired=("model-00003.safetensors",)))
    world.settle()
    assert world.status["phase"] == "Ready"
    assert world.status["lastVerified"] > first
    assert names(world.events)[-2:] == ["Repaired", "Verified"]
    assert world.jobs() == []


def test_a_verification_that_finds_bad_files_and_cannot_repair_them_degrades() -> None:
    world = World({"verify": {"every": "24h"}})
    world.ready()
    world.at += 90000
    world.turn()
    world.fail("verify", FetchReason.DIGEST_MISMATCH, "model-00003.safetensors", 2)
    world.settle()
    assert world.status["phase"] == "Degraded"
    assert world.condition("Verified")[:2] == ("False", "DigestMismatch")
    assert world.status["folder"] == FOLDER
    world.at += 60
    world.turn()
    world.end("verify", fetched("verify", repaired=("model-00003.safetensors",)))
    world.settle()
    assert world.status["phase"] == "Ready"
    assert world.condition("Verified")[0] == "True"


def test_a_bad_file_that_an_engine_found_is_repaired_at_once() -> None:
    world = World()
    world.ready()
    assert not world.has_job("verify")
    world.at += 5
    world.corrupt = {"node-1": world.now.unix}
    world.turn()
    assert world.config("verify").full
    world.at += 60
    world.end("verify", fetched("verify", repaired=("model-00003.safetensors",)))
    world.settle()
    assert world.status["phase"] == "Ready"
    assert not world.has_job("verify"), "what was found before it is repaired"
    world.corrupt = {"node-1": world.now.unix + 1}
    world.turn()
    assert world.has_job("verify"), "and found again"


def test_the_owner_may_ask_for_a_verification_once() -> None:
    world = World()
    world.ready()
    world.annotations[naming.ANNOTATION_VERIFY] = "now"
    world.turn()
    world.end("verify", fetched("verify"))
    world.settle()
    assert world.status["verified"] == "now"
    assert not world.has_job("verify")


def test_the_files_that_were_bad_are_named_until_the_next_verification() -> None:
    world = World()
    world.ready()
    for word, bad in (("one", ["a" * 300, "b"]), ("two", ["c"]), ("three", [])):
        world.annotations[naming.ANNOTATION_VERIFY] = word
        world.turn()
        world.end("verify", fetched("verify", repaired=tuple(bad)))
        world.settle()
        assert [each[:1] for each in world.status.get("repaired", [])] == [e[:1] for e in bad]
    world.annotations[naming.ANNOTATION_VERIFY] = "four"
    world.turn()
    world.end("verify", fetched("verify", repaired=tuple(f"{n}" * 300 for n in range(20))))
    world.settle()
    assert len(world.status["repaired"]) == 8
    assert max(map(len, world.status["repaired"])) == 100


def test_a_claim_that_was_made_anew_is_filled_anew() -> None:
    world = World({"storage": {"existingClaim": {"name": "shared"}}})
    world.existing("shared")
    world.ready()
    assert world.claim is not None
    world.claim = replace(world.claim, uid="another")
    world.turn()
    assert world.has_job("fetch")
    assert "folder" not in world.status
    assert world.condition("Ready")[0] == "False"


def test_a_claim_that_is_not_there_is_named_and_waited_for() -> None:
    world = World({"storage": {"existingClaim": {"name": "shared"}}})
    world.resolve()
    plan = world.turn()
    assert world.status["phase"] == "Pending"
    assert world.condition("Ready")[1] == "ClaimNotFound"
    assert plan.wake_at is not None
    world.existing("shared")
    world.turn()
    assert world.has_job("fetch")


def test_a_strangers_claim_under_our_name_is_not_touched() -> None:
    world = World()
    world.existing("llama-cache", requested=GIB)
    world.resolve()
    assert world.condition("Ready")[1] == "NameTaken"
    assert not world.has_job("fetch")


def test_a_size_that_cannot_hold_the_model_is_refused_before_anything_is_made() -> None:
    world = World({"storage": {"pvc": {"size": "10Gi"}}})
    world.resolve()
    assert world.claim is None
    assert world.condition("Ready")[1] == "NotEnoughDisk"
    assert "needs 15.0 GiB, storage.pvc.size is 10.0 GiB" in world.condition("Ready")[2]
    world.spec["storage"] = {"pvc": {"size": "20Gi"}}
    world.generation += 1
    world.turn()
    assert world.claim is not None
    assert world.claim.requested == 20 * GIB


def test_a_claim_that_cannot_grow_says_so_when_it_is_too_small() -> None:
    world = World()
    world.expandable = False
    world.ready()
    world.annotations[naming.ANNOTATION_RESOLVE] = "1"
    world.turn()
    world.end("resolve", FetchResult("resolve", "f" * 40, 16 * GIB, 4))
    world.turn()
    world.fail("fetch", FetchReason.NOT_ENOUGH_DISK, "needs 16.0 GiB, 2.0 GiB free")
    world.settle()
    message = world.condition("Ready")[2]
    assert "its class does not let claims grow" in message
    assert world.status["folder"] == FOLDER


def test_retain_takes_the_owner_from_the_claim_and_gives_it_back() -> None:
    world = World()
    world.ready()
    assert world.claim is not None
    assert world.claim.owner_uid is not None
    world.spec["retain"] = True
    world.generation += 1
    world.turn()
    assert world.claim.owner_uid is None
    # The volume is told too.
    assert world.config("fetch").keep
    world.end("fetch", fetched())
    world.settle()
    world.spec["retain"] = False
    world.turn()
    assert world.claim.owner_uid is not None


def test_a_retained_claim_is_taken_up_again() -> None:
    world = World()
    world.existing(
        "llama-cache",
        labels=naming.cache_labels("llama"),
        requested=19 * GIB,
        access_modes=("ReadWriteOnce",),
    )
    world.resolve()
    assert world.has_job("fetch")
    assert world.claim is not None
    assert world.claim.owner_uid is not None


def test_a_larger_model_than_the_budget_is_refused() -> None:
    world = World({"budget": {"maxSize": "10Gi", "bandwidth": "100Mi"}})
    world.turn()
    config = world.config("resolve")
    assert (config.max_bytes, config.bandwidth) == (10 * GIB, 100 * MIB)
    world.resolve()
    assert world.condition("Ready")[1] == "SourceTooLarge"
    assert world.claim is None


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"model": {"uri": "s3://bucket/x"}}, "SourceNotOffered"),
        ({"template": {"tolerations": [{"key": "gpu", "operator": "Exists"}]}},
         "TolerationNotAllowed"),
        ({"template": {"priorityClassName": "high"}}, "PriorityClassNotAllowed"),
        ({"budget": {"bandwidth": "0"}}, "ValueOutOfRange"),
    ],
)  # fmt: skip
def test_what_the_administrator_does_not_allow(spec: dict[str, Any], reason: str) -> None:
    world = World(spec, replace(CACHES, schemes=frozenset({"hf"})))
    plan = world.turn()
    assert plan.actions == ()
    assert world.status["phase"] == "Failed"
    assert world.condition("Ready")[1] == reason


def test_jobs_run_where_the_first_service_runs() -> None:
    world = World({"template": {"nodeSelector": {"pool": "storage"}}})
    world.turn()
    assert pod_spec(world.job("resolve"))["nodeSelector"] == {"pool": "storage"}
    world = World({"template": {"nodeSelector": {"pool": "storage"}}})
    model = {"uri": "pvc://other"}
    world.users = {
        "a-refused": {"model": model, "template": {"priorityClassName": "high"}},
        "b": {"model": model, "accelerator": {"types": ["nvidia-l4"]}},
        "c": {"model": model, "accelerator": {"types": ["cpu"]}},
    }
    world.turn()
    spec = pod_spec(world.job("resolve"))
    assert spec["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-L4"}
    assert spec["tolerations"][0]["key"] == "nvidia.com/gpu"


def test_a_volume_that_a_node_has_is_visited_there() -> None:
    world = World()
    world.ready()
    world.held_on = ("n7",)
    world.annotations[naming.ANNOTATION_VERIFY] = "now"
    world.turn()
    required = pod_spec(world.job("verify"))["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    fields = required["nodeSelectorTerms"][0]["matchFields"]
    assert fields == [{"key": "metadata.name", "operator": "In", "values": ["n7"]}]


def test_a_neighbour_that_comes_starts_no_job_anew() -> None:
    world = World({"storage": {"existingClaim": {"name": "shared"}}})
    world.existing("shared")
    world.resolve()
    name = world.job("fetch").name
    world.others = ("other-model-0123",)
    world.turn()
    assert world.job("fetch").name == name
    # And the next job knows of it.
    world.objects.pop(("Job", name))
    world.turn()
    assert world.config("fetch").live == sorted([FOLDER, "other-model-0123"])


def test_progress_is_told_at_each_quarter() -> None:
    world = World()
    world.resolve()
    world.bind()
    pod = world.start("fetch")
    for done in (0, 10, 24, 26, 49, 80, 99):
        world.page(pod, bytes=100, done=done)
        world.turn()
    world.end("fetch", fetched())
    world.settle()
    told = [event.message[:4] for event in world.events if event.reason.startswith("Fetch")]
    assert told == ["0%", "25%", "75%", "100%"]


def test_facts_that_cannot_be_read_do_not_make_the_model_bad() -> None:
    world = World()
    world.ready(facts=None, unread=("ModelInvalid", "config.json has no architecture"))
    assert world.status["unread"] == {
        "reason": "ModelInvalid", "message": "config.json has no architecture",
    }  # fmt: skip
    assert "facts" not in world.status


def test_a_cache_that_is_being_deleted_writes_nothing() -> None:
    from stoker.caching.cache import plan_cache  # noqa: PLC0415
    from tests.unit.plan.worlds import PLATFORM  # noqa: PLC0415

    world = World()
    world.ready()
    observed = world.observed()
    leaving = replace(observed, cache=replace(observed.cache, deleting=True))
    assert plan_cache(leaving, CACHES, PLATFORM, world.now).actions == ()


def test_the_status_stays_small() -> None:
    import json  # noqa: PLC0415

    world = World({"verify": {"every": "24h"}})
    world.ready()
    world.at += 90000
    world.turn()
    world.fail("verify", FetchReason.DIGEST_MISMATCH, "x" * 5000, 2)
    world.settle()
    assert len(json.dumps(world.status)) < 16 * 1024
