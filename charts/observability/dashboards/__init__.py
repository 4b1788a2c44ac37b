"""The Grafana dashboards, and how their files are called."""

from collections.abc import Mapping
from typing import Final

from charts.observability.dashboards import (
    caches,
    coldstarts,
    cost,
    encode,
    fleet,
    operator,
    service,
)
from charts.observability.dashboards.values import Board

BOARDS: Final[tuple[Board, ...]] = (
    fleet.BOARD,
    service.BOARD,
    coldstarts.BOARD,
    caches.BOARD,
    cost.BOARD,
    operator.BOARD,
)


def files() -> Mapping[str, str]:
    """Path below the chart to content."""
    return {f"dashboards/{board.uid}.json": encode.encode(board, BOARDS) for board in BOARDS}
