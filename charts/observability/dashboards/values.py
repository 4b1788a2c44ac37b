"""What a dashboard is, as values: `encode` makes JSON of them, `panels` lists what they ask.

Nothing here knows Grafana's format. A panel says what it shows in words that a newcomer can act on,
and in which situation (`Scenario`) it has anything to show, so that a test can put each question
to a real Prometheus in that situation.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Scenario(StrEnum):
    """The situation in which a query returns data; elsewhere it may be empty."""

    BASE = "base"  # any service with traffic on vLLM
    CLUSTERS = "clusters"  # the label `cluster` on all series
    TARGETS = "targets"  # a service with optimization.targets
    LOAD = "load"  # more requests than replicas can take, so that it is scaled
    PREFIXES = "prefixes"  # prefix caching on, repeated prompts
    SPECULATION = "speculation"  # speculative decoding on
    HARDWARE = "hardware"  # an accelerator type whose peaks the catalogue knows
    GPU = "gpu"  # DCGM's or AMD's exporter, here from a recorded exposition
    COLD_START = "cold_start"  # replicas that have started while the operator looked
    PENDING = "pending"  # a replica that no node can take
    CACHE = "cache"  # a ModelCache with a model in it
    CORRUPT = "corrupt"  # a ModelCache in which a verification found a bad file
    DOWNLOAD = "download"  # a ModelCache that is being filled
    NODE_CACHE = "node_cache"  # a ModelCache that is kept per node
    COST = "cost"  # an accelerator type with a price, and traffic
    SPOT = "spot"  # the same, with a replica on a node that is marked as spot
    PUBLIC_PRICE = "public_price"  # the same, with the price of a public API set
    FAULT = "fault"  # an engine that crashed or hung, requests that failed
    BUDGET = "budget"  # a service whose budget keeps it from growing


class Kind(StrEnum):
    """How a panel draws its answer."""

    LINES = "timeseries"
    BARS = "bars"  # a time series of bars, for counts
    STACK = "stack"  # areas on top of each other, for shares of a whole
    STAT = "stat"
    TABLE = "table"


@dataclass(frozen=True, slots=True)
class Target:
    """One query of a panel.

    `expr` is PromQL with Grafana's variables; `@service` and the like stand for selectors (`kit`).
    """

    expr: str
    # What a series is called, with labels as {{label}}; in a table, the name of the column.
    legend: str = ""
    # One colour for all series of it; empty: one for each by its name.
    colour: str = ""
    dashed: bool = False
    # The unit of a table's column, where it is not the panel's.
    unit: str = ""
    # Steps of a table's column, where they are not the panel's.
    steps: tuple[tuple[float | None, str], ...] = ()
    # Where it differs from its panel's.
    scenario: Scenario | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """Where to go on: a path of Grafana with variables, or an address."""

    title: str
    url: str
    # A table's column that is clicked.
    column: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One question and its picture."""

    title: str
    # What it shows, then "Bad:" and what a bad picture looks like and means.
    description: str
    unit: str
    scenario: Scenario
    targets: tuple[Target, ...]
    kind: Kind = Kind.LINES
    # Pages of docs/runbooks, without their ending.
    runbooks: tuple[str, ...] = ()
    # Colours from a value on, the first without one. Lines of a time series where drawn.
    steps: tuple[tuple[float | None, str], ...] = ()
    width: int = 12  # of 24
    height: int = 8
    decimals: int | None = None
    minimum: float | None = 0
    maximum: float | None = None
    # Values with a name, such as 0 and 1.
    words: tuple[tuple[str, str], ...] = ()
    # Colours of series by their name: (regular expression, colour).
    colours: tuple[tuple[str, str], ...] = ()
    # Where a click on a value or a row leads.
    links: tuple[Link, ...] = ()
    # A table's labels, in order: (label, name of the column).
    columns: tuple[tuple[str, str], ...] = ()
    # A table of what there is: its value is always 1 and not shown.
    labels_only: bool = False
    # A table's column to sort by, the largest first.
    sort: str = ""
    # What stands there while there is no data.
    nothing: str = "no data"


@dataclass(frozen=True, slots=True)
class Row:
    """Panels below one heading."""

    title: str
    panels: tuple[Panel, ...]
    collapsed: bool = False


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top: the values of a label of the series that match a selector."""

    name: str
    label: str  # what the reader sees
    series: str
    description: str
    scenario: Scenario = Scenario.BASE
    # A label of the series that has another name than the variable.
    source: str = ""
    # Several at once, and all of them, also those without the label.
    many: bool = True

    @property
    def values_of(self) -> str:
        """The label that is listed."""
        return self.source or self.name


@dataclass(frozen=True, slots=True)
class Annotation:
    """Moments that are marked in every panel."""

    name: str
    expr: str
    title: str
    text: str
    colour: str
    scenario: Scenario
    shown: bool = True


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard. Its uid never changes: links and bookmarks hold it."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...]
    annotations: tuple[Annotation, ...] = ()
    time_from: str = "now-6h"
    tags: tuple[str, ...] = field(default=("stoker",))

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All of them, in reading order."""
        return tuple(panel for row in self.rows for panel in row.panels)


# Colours that people with any kind of colour vision tell apart (Okabe and Ito, 2008).
GOOD: Final = "#56B4E9"  # sky blue
WARN: Final = "#E69F00"  # orange
BAD: Final = "#D55E00"  # vermillion
GREEN: Final = "#009E73"  # bluish green
BLUE: Final = "#0072B2"
PURPLE: Final = "#CC79A7"  # reddish purple
YELLOW: Final = "#F0E442"
GREY: Final = "#8C8C8C"
PALETTE: Final = (GOOD, WARN, GREEN, BLUE, PURPLE, BAD, YELLOW, GREY)
# HTTP statuses, so that the same is the same everywhere.
STATUSES: Final = (("2..", GOOD), ("3..", GREY), ("429", WARN), ("4..", YELLOW), ("5..|none", BAD))


def rising(warn: float, bad: float) -> tuple[tuple[float | None, str], ...]:
    """Steps of a value that is bad when it is high."""
    return ((None, GOOD), (warn, WARN), (bad, BAD))


def falling(bad: float, warn: float) -> tuple[tuple[float | None, str], ...]:
    """Steps of a value that is bad when it is low."""
    return ((None, BAD), (bad, WARN), (warn, GOOD))
