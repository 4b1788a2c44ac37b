"""What is read of pods whose worker found a bad file, and whom that wakes."""

from typing import Any

from stoker import naming
from stoker.cluster.corrupt import corrupt_at, corrupt_nodes
from stoker.cluster.kinds import CACHE, POD, SERVICE
from stoker.cluster.store import Feed, Store
from stoker.model.observed import Key
from stoker_worker.contract import Termination

BAD = Termination("ModelCorrupt", "a.safetensors has sha256 a instead of b").to_json()
AT = 1_767_225_600.0  # 2026


def pod(message: str = BAD, *, node: str = "n1", second: int = 0, last: bool = True) -> Any:
    ended = {
        "terminated": {
            "exitCode": 1,
            "message": message,
            "finishedAt": f"2026-01-01T00:00:{second:02}Z",
        }
    }
    state = {"lastState": ended} if last else {"state": ended}
    return {
        "metadata": {
            "name": f"p-{node}-{second}",
            "namespace": "chat",
            "uid": f"u-{node}-{second}",
            "resourceVersion": "1",
            "labels": {naming.LABEL_SERVICE: "llama"},
        },
        "spec": {"nodeName": node},
        "status": {"containerStatuses": [{"name": "engine", **state}]},
    }


def test_only_the_workers_own_word_counts() -> None:
    assert corrupt_at(pod()) == AT
    assert corrupt_at(pod(last=False, second=5)) == AT + 5
    assert corrupt_at(pod(Termination("EngineCrashed", "boom").to_json())) is None
    assert corrupt_at(pod("ModelCorrupt")) is None
    assert corrupt_at({"metadata": {}, "status": {}}) is None


def test_the_newest_of_each_node() -> None:
    pods = [pod(second=1), pod(second=9), pod(node="n2", second=3), pod("", node="n3")]
    assert corrupt_nodes(pods) == {"n1": AT + 9, "n2": AT + 3}


def test_it_wakes_the_cache_that_can_repair_it() -> None:
    woken: list[Key] = []
    store = Store()
    feed = Feed(store, lambda _: None, woken.append)
    named = {"namespace": "chat", "uid": "u", "resourceVersion": "1"}
    feed.load(
        CACHE.name, {"metadata": {"name": "c", **named}, "spec": {"model": {"uri": "hf://a/b"}}}
    )
    service = {
        "metadata": {"name": "llama", **named},
        "spec": {"model": {"cacheRef": {"name": "c"}}},
    }
    feed.load(SERVICE.name, service)
    feed.event(POD.name, pod(""), deleted=False)
    assert woken == []
    feed.event(POD.name, pod(second=2), deleted=False)
    assert woken == [Key("chat", "c")]
