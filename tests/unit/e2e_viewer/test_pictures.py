"""The docs' pictures are of dashboards and rows that there are, and small enough for a page."""

from __future__ import annotations

import json
import struct

import pytest

from charts.observability.dashboards import BOARDS
from e2e.cluster.settings import REPOSITORY
from e2e.viewer.__main__ import DASHBOARDS, IMAGES, WIDTH
from e2e.viewer.pictures import PICTURES, Picture

PAGE = (REPOSITORY / "docs" / "dashboards.md").read_text()
KILOBYTES = 200


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_a_picture_is_of_rows_that_there_are(picture: Picture) -> None:
    shipped = json.loads((DASHBOARDS / f"{picture.dashboard}.json").read_text())
    titles = {panel["title"] for panel in shipped["panels"] if panel["type"] == "row"}
    assert set(picture.chosen["rows"].split("|")) <= titles


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_it_is_there_and_the_page_shows_it(picture: Picture) -> None:
    content = (IMAGES / f"{picture.name}.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert struct.unpack(">I", content[16:20]) == (WIDTH,)
    assert len(content) < KILOBYTES * 1024
    assert f"images/{picture.name}.png" in PAGE


def test_every_dashboard_has_one_and_no_picture_is_left_over() -> None:
    assert {picture.dashboard for picture in PICTURES} == {board.uid for board in BOARDS}
    there = {path.stem for path in IMAGES.glob("dashboard-*.png")}
    assert there == {picture.name for picture in PICTURES}
