"""Which ModelCache a service uses, among those of its namespace."""

from typing import Any

import pytest

from stoker import naming
from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.cluster.used import used_cache
from stoker.model import reasons
from stoker.model.location import UsedCache
from stoker.model.observed import Key, ObservedService

URI = "hf://org/Llama-3.1-8B"
HUB: dict[str, Any] = {"uri": URI, "revision": "main"}
OWN = naming.implicit_cache(URI, "main", None)
WHOLE = {
    "phase": "Ready",
    "digest": "d",
    "claim": "c",
    "claimUid": "u",
    "folder": "x-0",
    "revision": "0" * 40,
    "facts": "{}",
    "conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": "whole"}],
}


def service(model: dict[str, Any], status: dict[str, Any] | None = None) -> ObservedService:
    return ObservedService(
        key=Key("chat", "llama"),
        uid="uid",
        generation=1,
        resource_version="1",
        spec=InferenceServiceSpec.model_validate({"model": model}),
        spec_error=None,
        annotations={},
        status=status or {},
        deleting=False,
    )


def cache(
    name: str,
    model: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    **metadata: Any,
) -> dict[str, Any]:
    return {
        "metadata": {"name": name, **metadata},
        "spec": {"model": HUB if model is None else model},
        "status": status or {},
    }


def shared(**more: Any) -> dict[str, Any]:
    return cache(OWN, labels={naming.LABEL_IMPLICIT: "true"}, **more)


def used(model: dict[str, Any], *caches: dict[str, Any], last: str | None = None) -> UsedCache:
    status = {} if last is None else {"model": {"name": "llama", "cache": last}}
    found = used_cache(service(model, status), caches)
    assert found is not None
    return found


def test_a_folder_of_a_claim_has_no_cache() -> None:
    assert used_cache(service({"uri": "pvc://models/tiny"}), [cache("a")]) is None


def test_a_cache_by_name_is_that_one() -> None:
    found = used({"cacheRef": {"name": "a"}}, cache("a", status=WHOLE), cache("b"))
    assert (found.name, found.exists, found.implicit, found.problem) == ("a", True, False, None)
    assert found.content is not None
    assert (found.content.claim, found.content.folder) == ("c", "models/x-0")
    absent = used({"cacheRef": {"name": "z"}}, cache("a"))
    assert (absent.exists, absent.implicit) == (False, False)
    assert "model.cacheRef" in absent.verdict.message


@pytest.mark.parametrize(
    ("caches", "chosen"),
    [
        ((), OWN),
        ((shared(),), OWN),
        ((cache("mine"), shared(status=WHOLE)), "mine"),
        ((cache("a"), cache("b", status=WHOLE)), "b"),
        ((cache("other", {"uri": URI}), shared()), OWN),
        ((cache("other", {"uri": "hf://org/x", "revision": "main"}),), OWN),
        ((cache("slash", {"uri": URI + "/", "revision": "main"}),), "slash"),
        ((cache("going", deletionTimestamp="2026-01-01T00:00:00Z"),), OWN),
    ],
)
def test_a_source_is_somebodys_cache_of_it_else_the_shared_one(
    caches: tuple[dict[str, Any], ...], chosen: str
) -> None:
    assert used(HUB, *caches).name == chosen


def test_a_service_keeps_the_cache_that_it_uses() -> None:
    both = (cache("mine", status=WHOLE), shared(status=WHOLE))
    assert used(HUB, *both, last=OWN).name == OWN
    assert used(HUB, *both, last="mine").name == "mine"
    assert used(HUB, *both, last="gone").name == "mine"


def test_the_shared_cache_is_made_only_where_there_is_none() -> None:
    assert used(HUB).implicit
    assert not used(HUB).exists
    assert used(HUB, shared()).exists
    going = used(HUB, shared(deletionTimestamp="2026-01-01T00:00:00Z"))
    assert going.exists
    assert going.verdict.reason == reasons.CACHE_DELETED


def test_services_with_another_secret_share_another_cache() -> None:
    wanted = {**HUB, "secretRef": {"name": "hub-token"}}
    found = used(wanted, shared(status=WHOLE))
    assert found.name == naming.implicit_cache(URI, "main", "hub-token") != OWN
    assert used(wanted, cache("mine", status=WHOLE)).name == "mine"


def test_a_strangers_object_of_the_shared_name_is_left_alone() -> None:
    found = used(HUB, cache(OWN, {"uri": "hf://org/else"}, status=WHOLE))
    assert (found.exists, found.implicit, found.content) == (True, False, None)
    assert found.verdict.reason == reasons.CACHE_MISMATCH


def test_what_is_wrong_with_a_cache_is_told_in_its_own_words() -> None:
    status = {
        **WHOLE,
        "phase": "Fetching",
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "Fetching", "message": "42% so far."}
        ],
    }
    found = used({"cacheRef": {"name": "a"}}, cache("a", status=status))
    assert found.progressing
    assert found.verdict.message == "ModelCache a: Fetching: 42% so far."
    assert found.content is not None, "what was whole before stays"
    empty = used({"cacheRef": {"name": "a"}}, cache("a"))
    assert empty.content is None
    assert empty.verdict.reason == reasons.CACHE_PENDING


def test_a_cache_per_node_says_by_which_label_nodes_are_known() -> None:
    nodes = {"ready": 1, "wanted": 2, "shown": "1/2", "of": "a", "list": []}
    found = used({"cacheRef": {"name": "a"}}, cache("a", status={**WHOLE, "nodes": nodes}))
    assert found.content is not None
    assert found.content.node_label == "model.stoker.dev/0"


def test_why_a_model_could_not_be_read_comes_with_it() -> None:
    unread = {"reason": "StructureUnknown", "message": "no such layers"}
    found = used({"cacheRef": {"name": "a"}}, cache("a", status={**WHOLE, "unread": unread}))
    assert found.content is not None
    assert found.content.unread is not None
    assert found.content.unread.reason == "StructureUnknown"


@pytest.mark.parametrize("uri", ["hf://o/" + "Very-Long.Name_" * 20, "oci://h:5000/r", "hf://a/_"])
def test_the_shared_name_is_a_name(uri: str) -> None:
    name = naming.implicit_cache(uri, None, None)
    assert len(name) <= 40
    assert name[0].isalnum()
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert name == naming.implicit_cache(uri + "/", None, None)
    assert name != naming.implicit_cache(uri, "main", None)
