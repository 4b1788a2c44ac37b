"""Every block of commands on the pages is run as it stands, or says why not.

`docs/tools/blocks.py` has the marks, `world.py` what the commands find.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from docs.tools import blocks, site
from tests.integration.docs.world import ROOT, World, make_world
from tests.support.forked import Forked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.controlplane import ControlPlane

BLOCKS = blocks.commands(ROOT, site.pages(ROOT))
PAGES = list(dict.fromkeys(each.page for each in BLOCKS if each.reason is None))


@pytest.fixture(scope="module")
def world(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("forked")
    with Forked(folder, {"KUBECONFIG": str(plane.kubeconfig)}):
        yield make_world(plane, tmp_path_factory.mktemp("world"), folder / "stoker")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_work(page: str, world: World) -> None:
    wanted = [each for each in BLOCKS if each.page == page and each.reason is None]
    world.forget()
    world.renew()
    for block in wanted:
        if block.fresh:
            world.forget()
        done = world.run(block)
        assert done.returncode == block.status, (
            f"{block.where} ended with {done.returncode} instead of {block.status}:\n"
            f"{block.script}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        )


def test_most_blocks_are_run() -> None:
    """The marks are for what cannot be run, not for what nobody tried."""
    told = [each for each in BLOCKS if "docs/runbooks/" not in each.page]
    assert sum(each.reason is None for each in told) > len(told) / 2
