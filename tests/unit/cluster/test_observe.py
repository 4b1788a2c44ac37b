"""What is read of a pod, and when a condition began to hold."""

from __future__ import annotations

from typing import Any

import pytest

from stoker import naming
from stoker.cluster.claims import Claim, claim_of
from stoker.cluster.observe import (
    agreed_facts,
    facts_in,
    mounts,
    observed_object,
    observed_pod,
    parse_spec,
)
from stoker.cluster.status import with_times
from stoker.model.moment import Moment
from stoker.model.observed import ScaledBy
from stoker.naming import Component

NOW = Moment(monotonic=50.0, unix=1_700_000_000.0)


def pod(status: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "p",
            "uid": "u",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {naming.LABEL_COMPONENT: "engine", naming.LABEL_REVISION: "r1"},
            **metadata,
        },
        "spec": {},
        "status": status,
    }


def container(state: dict[str, Any], last: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"name": "engine", "restartCount": 2, "state": state, "lastState": last or {}}


def test_a_new_pod_without_a_status_is_read_as_it_is() -> None:
    seen = observed_pod(pod({}))
    assert (seen.component, seen.revision) == (Component.ENGINE, "r1")
    assert not seen.ready
    assert seen.ip is None
    assert seen.unschedulable is None
    assert seen.created == 1_767_225_600


def test_the_replica_set_is_the_one_that_controls() -> None:
    mine = {"kind": "ReplicaSet", "name": "tiny-engine-r1-5d8c", "controller": True}
    assert observed_pod(pod({}, ownerReferences=[mine])).replica_set == "tiny-engine-r1-5d8c"
    for other in ({**mine, "controller": False}, {**mine, "kind": "StatefulSet"}):
        assert observed_pod(pod({}, ownerReferences=[other])).replica_set is None
    assert observed_pod(pod({})).replica_set is None


@pytest.mark.parametrize(("text", "cost"), [("3", 3), ("-7", -7), ("", 0), ("low", 0), (None, 0)])
def test_a_deletion_cost_that_is_no_number_is_none(text: str | None, cost: int) -> None:
    annotations = {} if text is None else {naming.ANNOTATION_DELETION_COST: text}
    assert observed_pod(pod({}, annotations=annotations)).deletion_cost == cost


def test_who_scaled_last_is_the_latest_of_the_marks_that_are_kept() -> None:
    marks = [
        {"manager": "kubectl", "time": "2026-01-01T00:00:05Z", "subresource": "scale"},
        {"manager": "keda", "time": "2026-01-01T00:00:09Z", "subresource": "scale"},
        {"manager": "argo", "time": "2026-01-01T00:00:07Z"},
    ]
    metadata = {"name": "d", "uid": "u", "resourceVersion": "1"}
    seen = observed_object("Deployment", {"metadata": {**metadata, "managedFields": marks}})
    assert seen.scaled_by == ScaledBy("keda", "2026-01-01T00:00:09Z")
    assert observed_object("Deployment", {"metadata": metadata}).scaled_by is None


def test_the_schedulers_no_is_kept_in_its_words() -> None:
    said = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes: Insufficient gpu"}
    seen = observed_pod(pod({"conditions": [said]}))
    assert seen.unschedulable == "0/3 nodes: Insufficient gpu"
    assert not seen.scheduled
    assert not seen.gated


def test_a_pod_that_is_kept_from_the_scheduler_is_told_apart() -> None:
    held = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
    assert observed_pod(pod({"conditions": [held]})).gated


def test_a_container_that_is_being_made_has_not_failed() -> None:
    for reason in ("ContainerCreating", "PodInitializing"):
        waiting = {"waiting": {"reason": reason}}
        assert observed_pod(pod({"containerStatuses": [container(waiting)]})).failures == ()


def test_a_crash_loop_carries_what_the_last_run_left() -> None:
    ended = {
        "exitCode": 1,
        "reason": "Error",
        "finishedAt": "2026-01-01T00:01:00Z",
        "message": '{"reason": "ModelNotFound"}',
    }
    status = container({"waiting": {"reason": "CrashLoopBackOff"}}, {"terminated": ended})
    (failure,) = observed_pod(pod({"containerStatuses": [status]})).failures
    assert failure.reason == "CrashLoopBackOff"
    assert failure.exit_code == 1
    assert failure.termination == '{"reason": "ModelNotFound"}'
    assert failure.finished == 1_767_225_660


def test_a_kill_for_memory_is_seen_in_the_restarted_container() -> None:
    ended = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    status = container({"running": {}}, ended)
    (failure,) = observed_pod(pod({"containerStatuses": [status]})).failures
    assert failure.reason == "OOMKilled"


def test_a_pod_that_waits_for_the_model_of_its_node_says_so() -> None:
    entry = {"name": "await-model", "state": {"running": {}}}
    assert observed_pod(pod({"initContainerStatuses": [entry]})).awaits_model
    entry["state"] = {"terminated": {"exitCode": 0}}
    assert not observed_pod(pod({"initContainerStatuses": [entry]})).awaits_model


def test_an_init_container_that_succeeded_has_not_failed() -> None:
    status = container({"terminated": {"exitCode": 0, "reason": "Completed"}})
    assert observed_pod(pod({"initContainerStatuses": [status]})).failures == ()


def test_what_a_container_that_ended_well_has_left() -> None:
    ended = {"terminated": {"exitCode": 0, "reason": "Completed", "message": '{"facts": {}}'}}
    status = {"phase": "Succeeded", "containerStatuses": [container(ended)]}
    seen = observed_pod(pod(status))
    assert seen.result == '{"facts": {}}'
    assert seen.failures == ()
    ended["terminated"]["exitCode"] = 1
    assert observed_pod(pod(status)).result is None


@pytest.mark.parametrize(
    ("status", "found"),
    [
        ({"model": {"source": "u/tiny", "facts": "{}"}}, "{}"),
        ({"model": {"source": "u/tiny"}}, None),
        ({"model": {"source": "other/tiny", "facts": "{}"}}, None),
        ({"model": "tiny"}, None),  # as an older operator wrote it
        ({}, None),
    ],
)
def test_facts_of_the_same_folder_of_the_same_claim(
    status: dict[str, Any], found: str | None
) -> None:
    assert facts_in(status, "u/tiny") == found


def test_facts_are_shared_only_where_those_who_have_them_agree() -> None:
    def status(digest: str, source: str = "u/tiny") -> dict[str, Any]:
        return {"model": {"source": source, "digest": digest, "facts": f"facts of {digest}"}}

    one, other = status("a"), status("b")
    assert agreed_facts([one, {}, one], "u/tiny") == "facts of a"
    assert agreed_facts([one, status("b", "u/large")], "u/tiny") == "facts of a"
    assert agreed_facts([one, other], "u/tiny") is None
    assert agreed_facts([], "u/tiny") is None


def test_a_spec_that_cannot_be_read_says_where_and_why() -> None:
    spec, problem = parse_spec({"model": {"uri": "pvc://models/tiny"}, "replicas": "many"})
    assert spec is None
    assert problem is not None
    assert problem.startswith("spec.replicas: ")


def test_a_condition_keeps_its_time_while_its_status_stays() -> None:
    wanted = {"conditions": [{"type": "Ready", "status": "True", "reason": "B", "message": "b"}]}
    before = {
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "A", "message": "a"}
            | {"lastTransitionTime": "2020-01-01T00:00:00Z", "observedGeneration": 1}
        ]
    }
    (kept,) = with_times(wanted, before, 2, NOW)["conditions"]
    assert kept["lastTransitionTime"] == "2020-01-01T00:00:00Z"
    assert (kept["reason"], kept["observedGeneration"]) == ("B", 2)
    before["conditions"][0]["status"] = "False"
    (turned,) = with_times(wanted, before, 2, NOW)["conditions"]
    assert turned["lastTransitionTime"] == "2023-11-14T22:13:20Z"


def test_what_is_none_is_absent() -> None:
    assert with_times({"plan": None, "replicas": 0}, {}, 1, NOW) == {"replicas": 0}


@pytest.mark.parametrize(
    ("spec", "status", "found"),
    [
        ({}, {}, Claim("Pending", "u")),
        (
            {"volumeName": "v", "storageClassName": "fast", "accessModes": ["ReadWriteOnce"]},
            {"phase": "Bound"},
            Claim("Bound", "u", "v", "fast", one_node=True, writable=True),
        ),
        ({"storageClassName": ""}, {"phase": "Lost"}, Claim("Lost", "u")),
        # What the volume grants counts, not what was asked for.
        (
            {"accessModes": ["ReadWriteOnce"]},
            {"phase": "Bound", "accessModes": ["ReadWriteOnce", "ReadOnlyMany"]},
            Claim("Bound", "u"),
        ),
    ],
)
def test_what_matters_of_a_claim(
    spec: dict[str, Any], status: dict[str, Any], found: Claim
) -> None:
    assert claim_of({"metadata": {"uid": "u"}, "spec": spec, "status": status}) == found


@pytest.mark.parametrize(
    ("change", "has"),
    [
        ({}, True),
        ({"status": {}}, True),  # on its way
        ({"status": {"phase": "Succeeded"}}, False),
        ({"status": {"phase": "Failed"}}, False),
        ({"spec": {"volumes": [{"persistentVolumeClaim": {"claimName": "models"}}]}}, False),
        ({"spec": {"nodeName": "n"}}, False),
        ({"spec": {"nodeName": "n", "volumes": [{"emptyDir": {}}]}}, False),
        ({"metadata": {"labels": {naming.LABEL_COMPONENT: "frontend"}}}, False),
        ({"metadata": {"labels": None}}, False),
    ],
)
def test_which_pods_have_a_volume(change: dict[str, Any], has: bool) -> None:  # noqa: FBT001
    volumes = [{"name": "model", "persistentVolumeClaim": {"claimName": "models"}}]
    body = {
        "metadata": {"labels": {naming.LABEL_COMPONENT: "engine"}},
        "spec": {"nodeName": "n", "volumes": volumes},
        "status": {"phase": "Running"},
        **change,
    }
    assert mounts(body, "models") is has
    assert not mounts(body, "others")
