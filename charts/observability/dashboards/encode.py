"""From values to Grafana's JSON (the dashboard format that Grafana 10 and newer read), by its SDK.

The same values give the same bytes: panels are numbered in reading order, keys are sorted.
"""

from collections.abc import Iterable
from itertools import count
from typing import Final

from grafana_foundation_sdk.builders import dashboard as sdk
from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from charts.observability.dashboards import kit, pictures
from charts.observability.dashboards.values import Annotation, Board, Link, Row, Variable
from charts.observability.rulefile import RUNBOOKS

_ALL: Final = models.VariableOption(selected=True, text=["All"], value=["$__all"])
_HEIGHT_OF_HEADING: Final = 1
_WIDTH: Final = 24


def encode(board: Board, others: Iterable[Board]) -> str:
    """The JSON of a dashboard, with links to the others."""
    made = (
        sdk.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags(list(board.tags))
        .readonly()
        .timezone("browser")
        .time(board.time_from, "now")
        .refresh("1m")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(_datasource())
    )
    for variable in board.variables:
        made.with_variable(_variable(variable))
    for annotation in board.annotations:
        made.annotation(_annotation(annotation))
    for other in others:
        if other.uid != board.uid:
            made.link(
                _link(Link(other.title, f"/d/{other.uid}")).include_vars(True).keep_time(True)
            )
    made.link(_link(Link("Runbooks", RUNBOOKS)).target_blank(True))
    _place(made, board.rows)
    return JSONEncoder(sort_keys=True, indent=1).encode(made.build()) + "\n"


def _place(made: sdk.Dashboard, rows: tuple[Row, ...]) -> None:
    """Put panels side by side, and the next one below where a row of the screen is full."""
    numbers = count(1)
    top = 0
    for row in rows:
        heading = sdk.Row(row.title).id(next(numbers)).collapsed(row.collapsed)
        heading.grid_pos(models.GridPos(h=_HEIGHT_OF_HEADING, w=_WIDTH, x=0, y=top))
        top += _HEIGHT_OF_HEADING
        left = height = 0
        panels = []
        for panel in row.panels:
            if left + panel.width > _WIDTH:
                left, top, height = 0, top + height, 0
            place = models.GridPos(h=panel.height, w=panel.width, x=left, y=top)
            panels.append(pictures.draw(panel).id(next(numbers)).grid_pos(place))
            left, height = left + panel.width, max(height, panel.height)
        top += height
        if row.collapsed:
            for each in panels:
                heading.with_panel(each)
        made.with_row(heading)
        if not row.collapsed:
            for each in panels:
                made.with_panel(each)


def _datasource() -> sdk.DatasourceVariable:
    return (
        sdk.DatasourceVariable("datasource")
        .label("Data source")
        .description("The Prometheus that scrapes Stoker and loads its recording rules.")
        .type("prometheus")
    )


def _variable(variable: Variable) -> sdk.QueryVariable:
    made = (
        sdk.QueryVariable(variable.name)
        .label(variable.label)
        .description(variable.description)
        .datasource(pictures.SOURCE)
        .query(f"label_values({variable.series}, {variable.values_of})")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(variable.many)
        .include_all(variable.many)
    )
    return made.all_value(".*").current(_ALL) if variable.many else made


def _annotation(annotation: Annotation) -> sdk.AnnotationQuery:
    expr = kit.promql(annotation.expr)
    asked = prometheus.Dataquery().expr(expr).ref_id("Anno").range()
    return (
        sdk.AnnotationQuery()
        .name(annotation.name)
        .datasource(pictures.SOURCE)
        .enable(annotation.shown)
        .icon_color(annotation.colour)
        .expr(expr)
        .step("60s")
        .title_format(annotation.title)
        .text_format(annotation.text)
        .target(asked)
    )


def _link(link: Link) -> sdk.DashboardLink:
    return sdk.DashboardLink(link.title).type(models.DashboardLinkType.LINK).url(link.url)
