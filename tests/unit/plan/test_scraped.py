"""Letting a Prometheus in restarts nothing: policies follow at once, pods when they are new."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stoker.model.plan import Apply
from stoker.render.readers import ANNOTATIONS
from tests.unit.plan import worlds
from tests.unit.plan.worlds import PLATFORM, World

SCRAPED = replace(
    PLATFORM,
    scrapers={"kubernetes.io/metadata.name": "monitoring"},
    scraper_pods={"app.kubernetes.io/name": "prometheus"},
    scrape_annotations=True,
)


def applied(world: World) -> list[dict[str, Any]]:
    return [dict(each.manifest) for each in world.look().actions if isinstance(each, Apply)]


def noted(world: World) -> set[str]:
    return {
        name
        for each in world.objects.values()
        if each.kind == "Deployment"
        for name in each.body["spec"]["template"]["metadata"].get("annotations") or {}
        if name.startswith(ANNOTATIONS)
    }


def test_policies_change_and_running_pods_do_not() -> None:
    world = World(worlds.spec(replicas=2))
    world.settle()
    before = set(world.pods)
    world.platform = SCRAPED
    made = applied(world)
    assert {each["kind"] for each in made} == {"NetworkPolicy"}
    peer = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
    }
    assert all(
        any(peer in rule.get("from", ()) for rule in each["spec"]["ingress"]) for each in made
    )
    world.settle()
    assert set(world.pods) == before
    assert not noted(world)


def test_the_next_revision_carries_them() -> None:
    world = World(worlds.spec(replicas=1))
    world.settle()
    world.platform = SCRAPED
    world.change(worlds.spec(replicas=1, context={"maxModelLen": 64}))
    world.settle()
    assert noted(world) == {f"{ANNOTATIONS}{name}" for name in ("scrape", "port", "path")}
