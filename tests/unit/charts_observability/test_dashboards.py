"""Dashboards ask for what exists, in words that a newcomer understands, and lead somewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from charts.observability import alerts, panels
from charts.observability.dashboards import BOARDS, files, kit
from charts.observability.dashboards.values import Board, Kind, Panel, Scenario
from charts.observability.panels import Query
from charts.observability.rulefile import RUNBOOKS
from stoker.model import reasons
from stoker.plan import conditions
from tests.unit.charts_observability.known import known, selectors, walk

ROOT = Path(__file__).parents[3]
QUERIES = panels.every_query()
SERIES = known()
PANELS = [(board, panel) for board in BOARDS for panel in board.panels]
JSON = {board.uid: files()[f"dashboards/{board.uid}.json"] for board in BOARDS}
# What a colour-blind reader can tell apart, by the tables of Okabe and Ito.
COLOURS = {
    "#56B4E9", "#E69F00", "#009E73", "#0072B2", "#CC79A7", "#D55E00", "#F0E442", "#8C8C8C",
}  # fmt: skip
# Grafana's identifiers of units; `short` is a plain number.
UNITS = {
    "short", "percentunit", "s", "bytes", "Bps", "reqps", "ops", "currencyUSD", "dateTimeAsIso",
}  # fmt: skip
# Pixels of a letter of Grafana's text, and letters of a name that one sees at least.
LETTER, NAME = 8, 12
LINK = re.compile(r"/d/([a-z-]+)")
PAGE = re.compile(rf"{re.escape(RUNBOOKS)}/([\w-]+\.md)")


def title(item: object) -> str:
    return item.title if isinstance(item, Panel) else getattr(item, "uid", "")


def query_id(query: Query) -> str:
    return f"{query.dashboard}-{query.panel}-{query.letter or query.purpose}"


@pytest.mark.parametrize("query", QUERIES, ids=query_id)
def test_every_expression_parses_and_names_what_exists(query: Query) -> None:
    tree = promql_parser.parse(query.bound())
    found = selectors(tree)
    assert found, "asks for nothing"
    for selector in found:
        assert selector.name in SERIES, f"{selector.name} is told by nobody"
        matched = {matcher.name for matcher in selector.matchers.matchers}
        assert matched <= SERIES[selector.name], selector.name


@pytest.mark.parametrize("query", QUERIES, ids=query_id)
def test_it_groups_by_labels_that_are_there(query: Query) -> None:
    for each in walk(promql_parser.parse(query.bound())):
        if isinstance(each, promql_parser.AggregateExpr) and each.modifier is not None:
            inside = {label for s in selectors(each) for label in SERIES[s.name]}
            assert set(each.modifier.labels) <= inside
    for label in re.findall(r"\{\{(\w+)\}\}", query.legend):
        groups = re.findall(r"by \(([^)]*)\)", query.bound())
        assert any(label in group.replace(",", " ").split() for group in groups), label


@pytest.mark.parametrize("query", QUERIES, ids=query_id)
def test_all_stands_also_for_an_absent_label(query: Query) -> None:
    """No cluster label is as good as any, and every query heeds the choice."""
    chosen = [m for s in selectors(promql_parser.parse(query.bound())) for m in s.matchers.matchers]
    for matcher in chosen:
        if matcher.name == "cluster":
            assert matcher.value == panels.ALL
    if query.panel not in {"cluster", "datasource"}:
        assert "$cluster" in query.expression


def test_variables_are_filled_in_and_unknown_ones_are_refused() -> None:
    query = next(each for each in QUERIES if "$revision" in each.expression)
    bound = query.bound(namespace="chat", service="qwen", cluster="")
    assert "$" not in bound
    assert 'namespace=~"chat", service=~"qwen", revision=~".*"' in bound
    assert panels.bind("x[$__rate_interval]", {"rate_interval": "9m"}) == "x[9m]"
    with pytest.raises(panels.UnknownVariableError, match=r"has \$pod, which no dashboard"):
        panels.bind('x{pod="$pod"}', {})


@pytest.mark.parametrize("board", BOARDS, ids=title)
def test_a_dashboard_defines_the_variables_that_it_uses(board: Board) -> None:
    defined = {variable.name for variable in board.variables} | {"datasource"}
    built_in = {
        "__rate_interval",
        "__interval",
        "__range",
        "__all",
        "__url_time_range",
        "__data",
        "__field",
    }
    used = set(re.findall(r"\$\{?(\w+)", JSON[board.uid]))
    assert used - built_in == defined
    # A variable may ask only for those above it: Grafana fills them in from the left.
    above: set[str] = set()
    for variable in board.variables:
        assert set(re.findall(r"\$(\w+)", variable.series)) <= above
        assert variable.description.endswith(".")
        above.add(variable.name)


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=title)
def test_a_panel_tells_what_it_shows_and_when_it_is_bad(board: Board, panel: Panel) -> None:
    assert board.uid
    shows, bad, looks = panel.description.partition("Bad: ")
    assert len(shows) > 20 or panel.kind is Kind.STAT, "what it shows"
    assert bad, "what a bad picture looks like"
    assert len(looks) > 20
    assert panel.description.endswith(".")
    assert panel.unit in UNITS
    assert isinstance(panel.scenario, Scenario)
    assert panel.title[0].isupper()
    for target in panel.targets:
        assert target.legend
        assert target.unit in {"", *UNITS}
        chosen = (*panel.steps, *target.steps, *panel.colours)
        assert {colour for _, colour in chosen} <= COLOURS
        assert target.colour in {"", *COLOURS}
    for link in panel.links:
        assert link.column in {"", *(name for _, name in panel.columns)}
        assert bool(link.column) == (panel.kind is Kind.TABLE)
    steps = [value for value, _ in panel.steps]
    assert steps[:1] in ([], [None])
    assert steps[1:] == sorted(value for value in steps[1:] if value is not None)


@pytest.mark.parametrize("board", BOARDS, ids=title)
def test_titles_are_told_apart_and_rows_are_full(board: Board) -> None:
    titles = [panel.title for panel in board.panels]
    assert len(set(titles)) == len(titles)
    placed = [each["gridPos"] for each in json.loads(JSON[board.uid])["panels"]]
    taken = set()
    for place in placed:
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, "panels overlap"
                taken.add((x, y))
    assert {x for x, _ in taken} <= set(range(24))
    bottom = max(y for _, y in taken) + 1
    assert len(taken) == 24 * bottom, "a hole"


@pytest.mark.parametrize("uid", JSON)
def test_links_lead_to_dashboards_that_exist_and_pass_their_variables(uid: str) -> None:
    found = LINK.findall(JSON[uid])
    assert found
    assert set(found) <= set(JSON)
    variables = {board.uid: {variable.name for variable in board.variables} for board in BOARDS}
    for target, arguments in re.findall(r"/d/([a-z-]+)\?([^\"]*)", JSON[uid]):
        given = set(re.findall(r"var-(\w+)=", arguments))
        assert given <= variables[target]
        for name in re.findall(r"\$\{(\w+):queryparam\}", arguments):
            assert name in variables[uid] | {"datasource"}


def test_remedies_name_fields_that_exist() -> None:
    """`scaling.maxReplicas` in a description is a field of the spec or a value of the chart."""
    places = ("docs/api.md", "charts/stoker/values.yaml")
    known_words = set(re.findall(r"\w+", " ".join((ROOT / each).read_text() for each in places)))
    text = " ".join(panel.description for _, panel in PANELS)
    named = re.findall(r"\b(?:scaling|optimization|caches|accelerators|frontend)\.([\w.]+)", text)
    words = {word for path in named for word in path.split(".") if word}
    assert words
    assert words <= known_words


def test_links_to_runbooks_lead_to_pages() -> None:
    pages = {path.name for path in (ROOT / "docs" / "runbooks").glob("*.md")}
    for uid, text in JSON.items():
        assert set(PAGE.findall(text)) <= pages, uid
    linked = {page for _, panel in PANELS for page in panel.runbooks}
    # Every symptom has a panel that shows it, but for the slow windows of those that have one.
    missing = {alert.name for alert in alerts.alerts()} - linked
    assert all(name.endswith("ForDays") for name in missing), missing


def test_the_page_has_a_section_for_each() -> None:
    page = (ROOT / "docs" / "dashboards.md").read_text()
    assert set(re.findall(r"^uid `([\w-]+)`", page, re.MULTILINE)) == set(JSON)
    for board in BOARDS:
        assert f"## {board.title.removeprefix('Stoker / ')}\n" in page


def test_the_overview_leads_to_every_service() -> None:
    assert f"/d/{kit.SERVICE}?var-namespace=${{__data.fields.Namespace}}" in JSON[kit.FLEET]
    assert f"/d/{kit.SERVICE}?var-namespace=${{__field.labels.namespace}}" in JSON[kit.FLEET]


def nulls(value: Any, path: str = "") -> list[str]:
    if isinstance(value, dict):
        return [hit for key, inner in value.items() for hit in nulls(inner, f"{path}.{key}")]
    if isinstance(value, list):
        return [hit for inner in value for hit in nulls(inner, path)]
    return [path] if value is None else []


@pytest.mark.parametrize("board", BOARDS, ids=title)
def test_grafana_can_read_it(board: Board) -> None:
    text = JSON[board.uid]
    made = json.loads(text)
    assert made["uid"] == board.uid
    assert made["schemaVersion"] >= 36
    assert made["title"] == board.title
    assert made["editable"] is False
    assert "id" not in made
    # The lowest step of a threshold is written as null: minus infinity.
    assert {path.rpartition(".steps")[2] for path in nulls(made)} <= {".value"}
    numbers = [each["id"] for each in made["panels"]]
    assert len(set(numbers)) == len(numbers)
    assert all(each["datasource"]["uid"] == "${datasource}" for each in _asking(made))
    # A ConfigMap holds 1 MiB, and Helm keeps the whole chart in one Secret of that size.
    assert len(text.encode()) < 200_000


def _asking(made: dict[str, Any]) -> list[dict[str, Any]]:
    found = [each for each in made["panels"] if each["type"] != "row"]
    queries = [each for each in made["templating"]["list"] if each["type"] == "query"]
    return [*found, *queries, *made["annotations"]["list"]]


def test_uids_stay() -> None:
    """Bookmarks and other people's links hold them."""
    assert {board.uid for board in BOARDS} <= {
        "stoker-fleet", "stoker-service", "stoker-cold-starts", "stoker-caches", "stoker-cost",
        "stoker-operator",
    }  # fmt: skip


@pytest.mark.parametrize("window", [1280, 1920])
@pytest.mark.parametrize(
    ("board", "panel"),
    [each for each in PANELS if each[1].kind is Kind.TABLE],
    ids=title,
)
def test_a_table_cuts_nothing_off(board: Board, panel: Panel, window: int) -> None:
    """All columns fit, each as wide as what stands in it, and names have some letters."""
    (drawn,) = (
        each
        for each in open_panels(json.loads(JSON[board.uid]))
        if each["title"] == panel.title and each["type"] == "table"
    )
    wide = {
        each["matcher"]["options"]: value["value"]
        for each in drawn["fieldConfig"]["overrides"]
        for value in each["properties"]
        if value["id"] in {"custom.width", "custom.minWidth"}
    }
    names = dict(panel.columns)
    shown = [*names.values()]
    if not panel.labels_only:
        shown += [target.legend for target in panel.targets]
    assert all(wide[name] >= len(name) * LETTER for name in shown)
    for label, name in names.items():
        assert wide[name] >= len(kit.LONGEST.get(label, "")) * LETTER, name
    # Of the window: a margin of 16 pixels on both sides, 8 between panels and within one.
    room = (window - 32 + 8) / 24 * panel.width - 8 - 2 * 8
    assert sum(wide[name] for name in shown) <= room
    free = [name for label, name in names.items() if label not in kit.LONGEST]
    fixed = sum(wide[name] for name in shown if name not in free)
    assert not free or (room - fixed) / len(free) >= NAME * LETTER, panel.title


def open_panels(made: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of closed rows as well."""
    return [each for top in made["panels"] for each in (top, *top.get("panels", ()))]


def test_the_longest_words_are_known() -> None:
    """What a column has to hold, by those who write it."""
    words = {
        "alertname": [rule.name for rule in alerts.alerts()],
        "condition": text_of(conditions),
        "reason": text_of(reasons),
    }
    for label, found in words.items():
        longest = max(found, key=len)
        assert len(longest) <= len(kit.LONGEST[label]), f"kit.LONGEST: {label} can be {longest}"


def text_of(module: object) -> list[str]:
    """Its constants that are words in CamelCase."""
    return [
        value
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str) and value.isalnum() and value[:1].isupper()
    ]
