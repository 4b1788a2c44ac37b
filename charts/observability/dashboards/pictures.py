"""How each kind of panel is drawn: Grafana's types and options, all in one place.

Only types that every viewer of such dashboards knows are used: time series, single numbers, tables.
"""

from collections.abc import Mapping
from typing import Final, TypeVar

from grafana_foundation_sdk.builders import common as parts
from grafana_foundation_sdk.builders import dashboard as sdk
from grafana_foundation_sdk.builders import prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from charts.observability.dashboards import kit
from charts.observability.dashboards.values import GOOD, Kind, Link, Panel, Target

SOURCE: Final = shapes.DataSourceRef(type_val="prometheus", uid=kit.DATASOURCE)
# The operator is scraped every 30 s unless told otherwise: no point in asking for less, and
# `$__rate_interval` becomes four of these.
_STEP: Final = "30s"
# A bar counts what happened since the one before, which takes several scrapes.
_BAR: Final = "2m"
# Columns of a table, in pixels: of a letter at Grafana's size, and around the text.
_LETTER: Final = 8
_AROUND: Final = 24
# Letters that a value of this unit takes, `0.0271 req/s` with its unit.
_VALUES: Final[Mapping[str, int]] = {"reqps": 12, "s": 9, "currencyUSD": 9, "bytes": 8}
_VALUE: Final = 6
# Lines that one look still tells apart; more of them are listed with their values.
_FEW: Final = 4
_HIDDEN: Final = ("Time", "__name__", "job", "instance", "endpoint", "prometheus")
_SMALL_SHARE: Final = 0.05
_P = TypeVar("_P", timeseries.Panel, stat.Panel, table.Panel)
_Drawn = timeseries.Panel | stat.Panel | table.Panel


def draw(panel: Panel) -> _Drawn:
    """The panel as the SDK's builder, without its place."""
    match panel.kind:
        case Kind.STAT:
            return _stat(panel)
        case Kind.TABLE:
            return _table(panel)
        case Kind.LINES | Kind.BARS | Kind.STACK:
            return _series(panel)


def _common(made: _P, panel: Panel) -> _P:
    made.title(panel.title).description(panel.description).unit(panel.unit).datasource(SOURCE)
    made.no_value(panel.nothing)
    if panel.steps:
        made.thresholds(_thresholds(panel.steps))
    if panel.decimals is not None:
        made.decimals(panel.decimals)
    if panel.maximum is not None:
        made.max(panel.maximum)
    if panel.words:
        found: list[models.ValueMapping] = [
            models.ValueMap({value: models.ValueMappingResult(text=text)})
            for value, text in panel.words
        ]
        made.mappings(found)
    made.links([_link(kit.runbook(page)).target_blank(True) for page in panel.runbooks])
    return made


def _series(panel: Panel) -> timeseries.Panel:
    made = _common(timeseries.Panel(), panel)
    listed = any("{{" in each.legend for each in panel.targets) or len(panel.targets) > _FEW
    legend = parts.VizLegendOptions().show_legend(True).placement(shapes.LegendPlacement.BOTTOM)
    legend.display_mode(
        shapes.LegendDisplayMode.TABLE if listed else shapes.LegendDisplayMode.LIST
    ).calcs(["lastNotNull", "max"] if listed else ["lastNotNull"])
    tooltip = parts.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI)
    made.legend(legend).tooltip(tooltip.sort(shapes.SortOrder.DESCENDING))
    made.color_scheme(
        sdk.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC_BY_NAME)
    ).show_points(shapes.VisibilityMode.AUTO).line_width(2)
    if panel.minimum is not None:
        made.axis_soft_min(panel.minimum)
    if panel.unit == "percentunit" and panel.maximum is None:
        # An axis of nothing but zeros would go up to 100, which is 10,000 percent.
        made.axis_soft_max(_SMALL_SHARE)
    if panel.kind is Kind.BARS:
        made.draw_style(shapes.GraphDrawStyle.BARS).fill_opacity(70)
    if panel.kind is Kind.STACK:
        made.fill_opacity(50).line_width(1)
    if panel.kind is not Kind.LINES:
        made.stacking(parts.StackingConfig().mode(shapes.StackingMode.NORMAL))
    if len(panel.steps) > 1:
        drawn = parts.GraphThresholdsStyleConfig().mode(shapes.GraphThresholdsStyleMode.DASHED)
        made.thresholds_style(drawn)
    made.data_links([_link(each) for each in panel.links])
    # The last one that fits wins in Grafana, here the first.
    for name, colour in reversed(panel.colours):
        made.override_by_regexp(f"/^({name})$/", [_colour(colour)])
    for number, target in enumerate(panel.targets):
        asked = _asked(number, target).range()
        made.with_target(asked.interval(_BAR) if panel.kind is Kind.BARS else asked)
        shown = _looks(target)
        if shown:
            made.override_by_query(kit.letter(number), shown)
    return made


def _stat(panel: Panel) -> stat.Panel:
    made = _common(stat.Panel(), panel)
    made.reduce_options(parts.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    made.graph_mode(shapes.BigValueGraphMode.AREA).color_mode(shapes.BigValueColorMode.VALUE)
    made.color_scheme(sdk.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    if not panel.steps:
        made.thresholds(_thresholds(((None, GOOD),)))
    made.data_links([_link(each) for each in panel.links])
    for number, target in enumerate(panel.targets):
        made.with_target(_asked(number, target).range())
    return made


def _table(panel: Panel) -> table.Panel:
    made = _common(table.Panel(), panel)
    made.cell_height(shapes.TableCellHeight.SM)
    names = dict(panel.columns)
    for label, name in names.items():
        # Names share what numbers leave, but none gets less than its longest word needs.
        made.override_by_name(name, [_least(name, kit.LONGEST.get(label, ""))])
    order = {label: place for place, label in enumerate(names)}
    for number, target in enumerate(panel.targets):
        asked = _asked(number, target).instant().format(PromQueryFormat.TABLE)
        made.with_target(asked)
        value = f"Value #{kit.letter(number)}"
        names[value] = target.legend
        order[value] = len(order)
        made.override_by_name(target.legend, _column(panel, target))
    if len(panel.targets) == 1:
        names["Value"], order["Value"] = panel.targets[0].legend, len(order)
    hidden = [*_HIDDEN, *(name for name in names if panel.labels_only and "Value" in name)]
    made.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    made.with_transformation(
        models.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": dict.fromkeys(hidden, True),
                "indexByName": order,
                "renameByName": names,
            },
        )
    )
    for each in panel.links:
        link = [{"title": each.title, "url": each.url}]
        made.override_by_name(each.column, [models.DynamicConfigValue("links", link)])
    if panel.sort:
        made.sort_by([parts.TableSortByFieldState().display_name(panel.sort).desc(True)])
    return made


def _asked(number: int, target: Target) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .expr(kit.promql(target.expr))
        .legend_format(target.legend)
        .ref_id(kit.letter(number))
        .datasource(SOURCE)
        .interval(_STEP)
    )


def _looks(target: Target) -> list[models.DynamicConfigValue]:
    found = []
    if target.colour:
        found.append(_colour(target.colour))
    if target.dashed:
        line = {"fill": "dash", "dash": [8, 8]}
        found.append(models.DynamicConfigValue("custom.lineStyle", line))
        # A bound is a line of its own, also where the rest is stacked.
        found.append(models.DynamicConfigValue("custom.stacking", {"mode": "none"}))
        found.append(models.DynamicConfigValue("custom.fillOpacity", 0))
    return found


def _colour(colour: str) -> models.DynamicConfigValue:
    return models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})


def _column(panel: Panel, target: Target) -> list[models.DynamicConfigValue]:
    unit = target.unit or panel.unit
    letters = max(len(target.legend), _VALUES.get(unit, _VALUE))
    found = [
        models.DynamicConfigValue("unit", unit),
        models.DynamicConfigValue("custom.width", _pixels(letters)),
    ]
    if target.steps:
        steps = {
            "mode": "absolute",
            "steps": [{"value": value, "color": colour} for value, colour in target.steps],
        }
        found.append(models.DynamicConfigValue("thresholds", steps))
        found.append(models.DynamicConfigValue("color", {"mode": "thresholds"}))
        found.append(models.DynamicConfigValue("custom.cellOptions", {"type": "color-text"}))
    return found


def _least(*words: str) -> models.DynamicConfigValue:
    return models.DynamicConfigValue("custom.minWidth", _pixels(max(map(len, words))))


def _pixels(letters: int) -> int:
    return _LETTER * letters + _AROUND


def _thresholds(steps: tuple[tuple[float | None, str], ...]) -> sdk.ThresholdsConfig:
    return (
        sdk.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=colour) for value, colour in steps])
    )


def _link(link: Link) -> sdk.DashboardLink:
    return sdk.DashboardLink(link.title).type(models.DashboardLinkType.LINK).url(link.url)
