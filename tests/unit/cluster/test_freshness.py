"""How old the news of a watch are."""

from __future__ import annotations

from stoker.cluster.freshness import Freshness
from stoker.cluster.kinds import CACHE, POD, SERVICE
from stoker.cluster.store import Feed, Store


class Now:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.time = 100.0

    def monotonic(self) -> float:
        return self.time

    def unix(self) -> float:
        return self.time


def test_what_was_never_heard_of_has_no_age_and_the_rest_grows_old() -> None:
    now = Now()
    freshness = Freshness(now, (SERVICE, POD, CACHE))
    freshness.heard("Pod")
    now.time = 130.0
    freshness.heard("InferenceService")
    freshness.heard("Secret")  # nobody watches these
    assert freshness.ages() == {"pods": 30.0, "inferenceservices": 0.0}
    freshness.heard("Pod")
    assert freshness.ages()["pods"] == 0.0


def test_an_event_is_news_whether_or_not_it_changes_anything() -> None:
    heard: list[str] = []
    feed = Feed(Store(), lambda _: None, lambda _: None, heard.append)
    metadata = {"namespace": "chat", "name": "p", "uid": "u", "resourceVersion": "1"}
    feed.load("Pod", {"metadata": metadata})
    feed.event("Pod", {"metadata": metadata}, deleted=False)
    feed.event("Pod", {"metadata": metadata}, deleted=True)
    assert heard == ["Pod"] * 3
