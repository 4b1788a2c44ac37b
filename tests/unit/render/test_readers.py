"""Who may read metrics: nobody but the operator, unless the administrator names namespaces."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stoker.render import readers, support
from stoker.render.engine import render_engine
from stoker.render.frontend import render_frontend
from stoker.render.frontend_network import render_network_policy
from stoker.render.group import render_group
from stoker_worker.contract import ENGINE_PORT, WORKER_PORT
from tests.unit.render.test_engine import OWNER, replica
from tests.unit.render.test_frontend import ONE, PLATFORM
from tests.unit.render.test_group import shaped

LABELS = {"kubernetes.io/metadata.name": "monitoring"}
OPERATOR = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "stoker-system"}}}
MONITORING = {"namespaceSelector": {"matchLabels": LABELS}}


def peers(policy: dict[str, Any], port: int) -> list[dict[str, Any]]:
    rules = policy["spec"]["ingress"]
    found = [rule for rule in rules if port in [each["port"] for each in rule["ports"]]]
    return [peer for rule in found for peer in rule["from"]]


def engines(labels: dict[str, str]) -> dict[str, Any]:
    made = support.render_support(OWNER, "stoker-system", labels)
    return next(
        each
        for each in made
        if each["kind"] == "NetworkPolicy" and each["spec"]["ingress"]  # the other lets nobody in
    )


@pytest.mark.parametrize("port", [ENGINE_PORT, WORKER_PORT])
def test_engines(port: int) -> None:
    assert OPERATOR in peers(engines({}), port)
    assert MONITORING not in peers(engines({}), port)
    assert OPERATOR in peers(engines(LABELS), port)
    assert MONITORING in peers(engines(LABELS), port)


@pytest.mark.parametrize("port", [ONE.ports.ops, ONE.ports.track(ONE.tracks[0].track).metrics])
def test_frontends(port: int) -> None:
    named = replace(ONE, platform=replace(PLATFORM, scrapers=LABELS))
    assert peers(render_network_policy(ONE), port) == [OPERATOR]
    assert peers(render_network_policy(named), port) == [OPERATOR, MONITORING]


def test_no_labels_are_nobody_and_not_everybody() -> None:
    assert readers.scrapers({}, {"app": "prometheus"}) == []


def test_pods_can_be_narrowed_down() -> None:
    narrow = {**MONITORING, "podSelector": {"matchLabels": {"app": "prometheus"}}}
    assert readers.scrapers(LABELS, {"app": "prometheus"}) == [narrow]
    platform = replace(PLATFORM, scrapers=LABELS, scraper_pods={"app": "prometheus"})
    policy = render_network_policy(replace(ONE, platform=platform))
    assert peers(policy, ONE.ports.ops) == [OPERATOR, narrow]


def test_annotations_are_on_the_pods_that_answer_and_nowhere_else() -> None:
    wanted = readers.annotations(ENGINE_PORT, "/metrics")
    scraped = replace(replica("cpu"), scrape_annotations=True)
    pod = render_engine(OWNER, "r", scraped, 1)["spec"]["template"]
    assert wanted.items() <= pod["metadata"]["annotations"].items()
    spanning = replace(shaped("cpu", tensor=2), scrape_annotations=True)
    parts = render_group(OWNER, "r", spanning, 1)["spec"]["leaderWorkerTemplate"]
    assert wanted.items() <= parts["leaderTemplate"]["metadata"]["annotations"].items()
    follower = parts["workerTemplate"]["metadata"]["annotations"]
    assert not [name for name in follower if name.startswith("prometheus.io/")]
    platform = replace(PLATFORM, scrape_annotations=True)
    frontend = render_frontend(replace(ONE, platform=platform))[-1]["spec"]["template"]
    assert frontend["metadata"]["annotations"] == readers.annotations(ONE.ports.ops, "/metrics")
    assert "annotations" not in render_frontend(ONE)[-1]["spec"]["template"]["metadata"]
