"""The LeaderWorkerSet controller: one version everywhere, and made only when it is asked for."""

from __future__ import annotations

from e2e.cluster import images
from e2e.cluster.catalogue import CLUSTER_PROGRAMS, PROGRAMS
from e2e.cluster.groups import values


def test_the_version_is_the_modules_also_where_it_is_pulled() -> None:
    version = PROGRAMS["lws"].version
    assert version == "0.8.0"
    assert images.PUBLIC["lws"].endswith(f":v{version}")


def test_nobody_waits_for_it_who_did_not_ask() -> None:
    assert "lws" in images.RECIPES
    assert "lws" not in images.USUAL
    assert "lws" not in images.USUAL_ELSEWHERE
    assert "lws" not in CLUSTER_PROGRAMS
    assert set(images.USUAL_ELSEWHERE) < set(images.USUAL)


def test_an_image_is_split_at_its_tag_and_not_at_a_port() -> None:
    image = values("192.168.231.1:5000/stoker/lws:0af3")["image"]["manager"]
    assert image["repository"] == "192.168.231.1:5000/stoker/lws"
    assert image["tag"] == "0af3"
