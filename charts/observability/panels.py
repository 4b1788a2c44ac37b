"""Every question that the dashboards ask, as data: for the test that puts each to a Prometheus.

    for query in every_query():
        if query.scenario in scenarios_that_run:
            ask(query.bound(namespace="chat", service="qwen"))

`bound` puts values in the place of Grafana's variables. A variable that is not given stands for
"All", which is also what matches series without the label.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from charts.observability.dashboards import BOARDS, kit
from charts.observability.dashboards.values import Board, Kind, Panel, Scenario, Variable

Purpose = Literal["panel", "variable", "annotation"]

ALL: Final = ".*"
_VARIABLE: Final = re.compile(r"\$\{?(\w+)\}?")
# What Grafana itself fills in, as it would with a scrape each 30 s and a picture of an hour.
# Bars alone ask for the interval.
_BUILT_IN: Final = {"__rate_interval": "2m", "__interval": "2m", "__range": "1h"}


class UnknownVariableError(ValueError):
    """An expression has a variable that Grafana would not know."""


@dataclass(frozen=True, slots=True)
class Query:
    """One query.

    A panel's and an annotation's is PromQL for /api/v1/query or query_range. A variable's is a
    selector for `match[]` of /api/v1/label/LABEL/values.
    """

    dashboard: str  # its uid
    panel: str  # title of the panel; name of the variable or annotation
    purpose: Purpose
    # With Grafana's variables in it.
    expression: str
    # The situation in which it returns data.
    scenario: Scenario
    # Grafana's letter of a panel's query.
    letter: str = ""
    # Only its newest value is shown; else a range is drawn. Marks only exist in a range.
    instant: bool = False
    # A variable's: the label whose values are listed.
    label: str = ""
    # How a series is named, with labels as {{label}}.
    legend: str = ""
    unit: str = ""

    def bound(self, **variables: str) -> str:
        """The expression with values for the variables; UnknownVariableError where one is unknown.

        Values are regular expressions; `rate_interval`, `interval` and `range` are durations.
        """
        return bind(self.expression, variables)


def bind(expression: str, variables: dict[str, str]) -> str:
    """An expression with values in the place of its variables."""

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name in _BUILT_IN:
            return variables.get(name.removeprefix("__"), _BUILT_IN[name])
        if name not in CHOICES:
            raise UnknownVariableError(f"{expression!r} has ${name}, which no dashboard defines")
        return variables.get(name, ALL)

    return _VARIABLE.sub(value, expression)


def every_query() -> tuple[Query, ...]:
    """All of them: of variables, annotations and panels, dashboard by dashboard."""
    return tuple(query for board in BOARDS for query in _of(board))


def _of(board: Board) -> Iterator[Query]:
    for variable in board.variables:
        yield Query(
            board.uid, variable.name, "variable", variable.series, variable.scenario,
            label=variable.values_of,
        )  # fmt: skip
    for annotation in board.annotations:
        yield Query(
            board.uid, annotation.name, "annotation", kit.promql(annotation.expr),
            annotation.scenario, legend=annotation.title,
        )  # fmt: skip
    for panel in board.panels:
        yield from _asked(board, panel)


def _asked(board: Board, panel: Panel) -> Iterator[Query]:
    for number, target in enumerate(panel.targets):
        yield Query(
            board.uid, panel.title, "panel", kit.promql(target.expr),
            target.scenario or panel.scenario, kit.letter(number), panel.kind is Kind.TABLE,
            legend=target.legend, unit=target.unit or panel.unit,
        )  # fmt: skip


def _choices() -> frozenset[str]:
    found: list[Variable] = [variable for board in BOARDS for variable in board.variables]
    return frozenset(variable.name for variable in found)


CHOICES: Final = _choices()
