"""The store keeps the newest of what two sources bring, and finds children by their service."""

from __future__ import annotations

from typing import Any

from stoker import naming
from stoker.cluster.store import Feed, Store
from stoker.model.observed import Key

KEY = Key("team", "tiny")


def body(
    name: str,
    *,
    uid: str = "u1",
    version: str = "1",
    owned: bool = True,
    label: str = naming.LABEL_SERVICE,
) -> dict[str, Any]:
    labels = {label: "tiny"} if owned else {}
    return {
        "metadata": {
            "name": name,
            "namespace": "team",
            "uid": uid,
            "resourceVersion": version,
            "labels": labels,
            "managedFields": [{"manager": "x"}],
        }
    }


def test_an_older_version_never_replaces_a_newer_one() -> None:
    store = Store()
    assert store.put("Service", body("tiny", version="10"))
    assert not store.put("Service", body("tiny", version="9"))
    kept = store.get("Service", "team", "tiny")
    assert kept is not None
    assert kept["metadata"]["resourceVersion"] == "10"


def test_of_managed_fields_strangers_marks_on_the_replicas_are_kept_alone() -> None:
    replicas: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
    theirs = {"manager": "kubectl", "subresource": "scale", "fieldsV1": replicas}
    others = [
        {"manager": naming.FIELD_MANAGER, "fieldsV1": replicas},
        {"manager": "kube-controller-manager", "fieldsV1": {"f:status": {"f:replicas": {}}}},
        {"manager": "kubectl-annotate", "fieldsV1": {"f:metadata": {"f:annotations": {}}}},
        {"manager": "old"},
    ]
    store = Store()
    for version, marks in (("1", others), ("2", [*others, theirs])):
        found = body("tiny", version=version)
        found["metadata"]["managedFields"] = marks
        store.put("Deployment", found)
        kept = store.get("Deployment", "team", "tiny")
        assert kept is not None
        assert kept["metadata"].get("managedFields", []) == [m for m in marks if m is theirs]


def test_versions_are_numbers_not_words() -> None:
    store = Store()
    store.put("Service", body("tiny", version="9"))
    assert store.put("Service", body("tiny", version="10"))


def test_a_new_object_of_an_old_name_replaces_it_and_survives_its_deletion() -> None:
    store = Store()
    store.put("Service", body("tiny", uid="old", version="50"))
    store.put("Service", body("tiny", uid="new", version="7"))
    assert not store.remove("Service", "team", "tiny", "old")
    assert store.get("Service", "team", "tiny") is not None
    assert store.remove("Service", "team", "tiny", "new")
    assert store.get("Service", "team", "tiny") is None


def test_children_are_found_by_label_until_they_lose_it_or_go() -> None:
    store = Store()
    store.put("Pod", body("one"))
    store.put("ConfigMap", body("two", uid="u2"))
    assert {kind for kind, _ in store.children(KEY)} == {"Pod", "ConfigMap"}
    store.put("Pod", body("one", version="2", owned=False))
    store.remove("ConfigMap", "team", "two", "u2")
    assert store.children(KEY) == []


def test_managed_fields_are_not_kept() -> None:
    store = Store()
    store.put("Pod", body("one"))
    ((_, kept),) = store.children(KEY)
    assert "managedFields" not in kept["metadata"]


def test_events_wake_the_service_that_they_concern() -> None:
    woken: list[Key] = []
    store = Store()
    feed = Feed(store, woken.append)
    feed.load("Pod", body("one"))
    assert woken == []
    feed.event("Pod", body("one", version="2"), deleted=False)
    feed.event("Pod", body("stray", uid="u3", owned=False), deleted=False)
    feed.event("InferenceService", body("other", uid="u4", owned=False), deleted=False)
    feed.event("Pod", body("one", version="3"), deleted=True)
    assert woken == [KEY, Key("team", "other"), KEY]
    assert store.children(KEY) == []
    assert list(store.services()) == [Key("team", "other")]


def cache(name: str, uri: str = "hf://org/tiny", **status: Any) -> dict[str, Any]:
    made = body(name, uid=f"cache-{name}", owned=False)
    return {**made, "spec": {"model": {"uri": uri}}, "status": status}


def user(name: str, **model: Any) -> dict[str, Any]:
    made = body(name, uid=f"service-{name}", owned=False)
    return {**made, "spec": {"model": model}}


def test_a_service_and_a_cache_of_one_name_have_children_of_their_own() -> None:
    woken: list[Key] = []
    caches: list[Key] = []
    store = Store()
    feed = Feed(store, woken.append, caches.append)
    feed.event("Job", body("facts"), deleted=False)
    feed.event("Job", body("fetch", uid="u2", label=naming.LABEL_CACHE), deleted=False)
    assert (woken, caches) == ([KEY], [KEY])
    assert [name["metadata"]["name"] for _, name in store.children(KEY)] == ["facts"]
    (fetch,) = store.children(KEY, "ModelCache")
    assert fetch[1]["metadata"]["name"] == "fetch"
    feed.event("Job", body("fetch", uid="u2", label=naming.LABEL_CACHE), deleted=True)
    assert store.children(KEY, "ModelCache") == []


def test_a_cache_wakes_the_services_that_use_it_unless_it_only_progressed() -> None:
    woken: list[Key] = []
    store = Store()
    models: dict[str, dict[str, Any]] = {
        "by-name": {"cacheRef": {"name": "tiny"}},
        "by-source": {"uri": "hf://org/tiny/"},
        "other": {"uri": "pvc://models"},
    }
    for name, model in models.items():
        store.put("InferenceService", user(name, **model))
    feed = Feed(store, woken.append)
    feed.event("ModelCache", cache("tiny", phase="Fetching"), deleted=False)
    users = [Key("team", "by-name"), Key("team", "by-source")]
    assert sorted(woken, key=str) == users == store.users(KEY)
    woken.clear()
    feed.event(
        "ModelCache", cache("tiny", phase="Fetching", progress={"percent": 3}), deleted=False
    )
    assert woken == []
    feed.event("ModelCache", cache("tiny", phase="Ready"), deleted=False)
    assert sorted(woken, key=str) == users
    woken.clear()
    feed.event("ModelCache", cache("tiny", phase="Ready"), deleted=True)
    assert sorted(woken, key=str) == users


def test_a_service_wakes_the_cache_that_it_names_when_its_spec_changes() -> None:
    caches: list[Key] = []
    store = Store()
    store.put("ModelCache", cache("tiny"))
    store.put("ModelCache", cache("elsewhere", uri="s3://bucket/x"))
    feed = Feed(store, lambda _: None, caches.append)
    made = user("a", cacheRef={"name": "tiny"})
    made["metadata"]["generation"] = 1
    feed.event("InferenceService", made, deleted=False)
    assert caches == [KEY]
    feed.event("InferenceService", {**made, "status": {"replicas": 1}}, deleted=False)
    assert caches == [KEY]
    feed.event("InferenceService", made, deleted=True)
    assert caches == [KEY, KEY]
