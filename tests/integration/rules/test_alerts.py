"""Each alert fires for its symptom, and is silent without it: near misses, restarts, no data."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from charts.observability import names
from charts.observability.alerts import GROUPS, alerts
from tests.support.promtool import Case

if TYPE_CHECKING:
    from collections.abc import Mapping

    from charts.observability.metric import Metric
    from tests.support.promtool import Promtool

WHO = 'namespace="team",service="chat"'
CACHE = 'cache="qwen",namespace="team"'
JOB = 'job="stoker",namespace="stoker-system"'
LEADER = f'{JOB},instance="10.0.0.1:8080",pod="stoker-1"'
STANDBY = f'{JOB},instance="10.0.0.2:8080",pod="stoker-2"'
ALIVE = {f'stoker_build_info{{{LEADER},version="1"}}': "1x200"}


@dataclass(frozen=True)
class Scenario:
    """Series, and what the alert says at a moment: the labels with which it fires, if it does."""

    alert: str
    name: str
    series: Mapping[str, str]
    fires: str = ""  # labels; empty: it is silent
    at: str = "20m"
    alive: Mapping[str, str] = field(default_factory=lambda: ALIVE)


def burning(
    shares: dict[str, Metric], whole: Metric, slo: str, objective: float
) -> dict[str, dict[str, str]]:
    """Shares of all windows, by what they are: multiples of the budget."""
    budget = 1 - objective

    def told(**windows: float) -> dict[str, str]:
        found = {
            f"{shares[name[1:]]}{{{WHO}}}": f"{min(1, rate * budget)}x200"
            for name, rate in windows.items()
        }
        goal = f'{names.OBJECTIVE}{{{WHO},slo="{slo}"}}'
        return found | {goal: f"{objective}x200", f"{whole}{{{WHO}}}": "1x200"}

    return {
        "hour": told(_1h=15, _5m=15, _6h=3, _30m=15, _3d=0.5),
        "six hours": told(_1h=7, _5m=7, _6h=7, _30m=7, _3d=0.9),
        "three days": told(_1h=2, _5m=2, _6h=2, _30m=2, _3d=1.2),
        "over": told(_1h=15, _5m=0, _6h=7, _30m=0, _3d=1.2),
        "over for long": told(_1h=0, _5m=0, _6h=0.5, _30m=0, _3d=1.2),
        "blip": told(_1h=5, _5m=60, _6h=1, _30m=10, _3d=0.1),
        "fine": told(_1h=0.5, _5m=0.5, _6h=0.5, _30m=0.5, _3d=0.5),
    }


def few(series: dict[str, str], whole: Metric) -> dict[str, str]:
    """Eight requests in an hour, and so in six."""
    return series | {f"{whole}{{{WHO}}}": f"{8 / 21600}x200"}


def budgets(
    fast: str, slow: str, shares: dict[str, Metric], whole: Metric, slo: str, goal: float
) -> list[Scenario]:
    told = burning(shares, whole, slo, goal)
    severity = "critical" if slow else "warning"
    fires = f'{WHO},severity="{severity}"'
    found = [
        Scenario(fast, "the budget of an hour", told["hour"], fires),
        Scenario(fast, "the budget of six hours", told["six hours"], fires),
        Scenario(fast, "a budget that lasts", told["three days"]),
        Scenario(fast, "it has ended", told["over"]),
        Scenario(fast, "a blip", told["blip"]),
        Scenario(fast, "too few requests to tell", few(told["six hours"], whole)),
        Scenario(fast, "not for long yet", told["hour"], at="1m"),
        Scenario(
            fast,
            "nobody says what is good",
            {name: values for name, values in told["hour"].items() if "objective" not in name},
        ),
    ]
    if slow:
        fires = f'{WHO},severity="warning"'
        found += [
            Scenario(slow, "for days", told["three days"], fires, at="90m"),
            Scenario(slow, "it has ended", told["over for long"], at="90m"),
            Scenario(slow, "not for long yet", told["three days"], at="30m"),
            Scenario(slow, "all is well", told["fine"], at="90m"),
        ]
    return found


BUDGETS = [
    *budgets(
        "StokerErrorBudgetBurn", "StokerErrorBudgetBurnForDays", names.ERRORS, names.ANSWERS,
        "errors", 0.995,
    ),
    *budgets(
        "StokerSlowFirstToken", "StokerSlowFirstTokenForDays", names.TTFT_SLO_ERRORS,
        names.TTFT_JUDGED, "ttft", 0.95,
    ),
    *budgets("StokerSlowTokens", "", names.ITL_SLO_ERRORS, names.ITL_JUDGED, "itl", 0.95),
    # 14.4 times the budget of a p50 target is more than all requests.
    Scenario(
        "StokerSlowFirstToken",
        "nearly all miss a median",
        burning(names.TTFT_SLO_ERRORS, names.TTFT_JUDGED, "ttft", 0.5)["hour"],
        f'{WHO},severity="critical"',
    ),
]  # fmt: skip


def replicas(desired: int, ready: int, most: int = 4) -> dict[str, str]:
    """As two targets tell of it."""
    return {
        f'stoker_service_replicas{{{WHO},state="{state}",job="{job}"}}': f"{value}x200"
        for state, value in (("desired", desired), ("ready", ready))
        for job in ("a", "b")
    } | {f'stoker_service_replicas_limit{{{WHO},bound="max"}}': f"{most}x200"}


def queue(values: str) -> dict[str, str]:
    return {f"{names.QUEUE}{{{WHO}}}": values}


def hold(outcome: str, values: str, pod: str = "f-1") -> dict[str, str]:
    return {f'{names.HOLD_TIME.count}{{{WHO},pod="{pod}",outcome="{outcome}"}}': values}


def replaced(reason: str, values: str, instance: str = LEADER) -> dict[str, str]:
    where = instance.replace('namespace="stoker-system"', 'namespace="team"')
    return {f'stoker_engine_replacements_total{{{where},service="chat",reason="{reason}"}}': values}


def condition(type_: str, reason: str, values: str = "1x200") -> dict[str, str]:
    labels = f'{WHO},condition="{type_}",reason="{reason}"'
    return {f"stoker_service_condition{{{labels}}}": values}


def waits(pending: str, deadline: str = "600x200") -> dict[str, str]:
    return {
        f"stoker_service_pending_seconds{{{WHO}}}": pending,
        f"stoker_service_startup_deadline_seconds{{{WHO}}}": deadline,
    }


CRITICAL = f'{WHO},severity="critical"'
WARNING = f'{WHO},severity="warning"'
INFO = f'{WHO},severity="info"'
SERVICES = [
    Scenario("StokerQueueGrowsAtMax", "it grows", queue("5+1x200") | replicas(4, 4), WARNING),
    Scenario("StokerQueueGrowsAtMax", "it stays", queue("9x200") | replicas(4, 4), WARNING),
    Scenario("StokerQueueGrowsAtMax", "more may come", queue("5+1x200") | replicas(3, 3)),
    Scenario("StokerQueueGrowsAtMax", "it shrinks", queue("99-1x200") | replicas(4, 4)),
    Scenario("StokerQueueGrowsAtMax", "it is short", queue("2x200") | replicas(4, 4)),
    Scenario("StokerQueueGrowsAtMax", "a short rush", queue("0x13 90x7") | replicas(4, 4)),
    Scenario("StokerQueueGrowsAtMax", "the operator is silent", queue("5+1x200")),
    Scenario("StokerQueueGrowsAtMax", "no queue is known", replicas(4, 4)),
    Scenario(
        "StokerHeldRequestsTimeOut", "the first one ever", hold("EvictedTTL", "_x18 1x9"), WARNING
    ),
    Scenario(
        "StokerHeldRequestsTimeOut", "some more", hold("EvictedTTL", "0x12 0+1x9"), WARNING
    ),
    Scenario("StokerHeldRequestsTimeOut", "long ago", hold("EvictedTTL", "0+1x3 3x50"), at="40m"),
    Scenario("StokerHeldRequestsTimeOut", "others left", hold("EvictedContextCancelled", "0+1x50")),
    Scenario("StokerHeldRequestsTimeOut", "they were served", hold("Dispatched", "0+9x50")),
    Scenario(
        "StokerHeldRequestsTimeOut", "a picker began anew", hold("EvictedTTL", "7x12 0x20")
    ),
    Scenario("StokerHeldRequestsTimeOut", "the pod has gone", hold("EvictedTTL", "7x30 stale"),
        at="40m"),
    Scenario("StokerNoReplicaReady", "they wait", queue("3x200") | replicas(1, 0), CRITICAL),
    Scenario("StokerNoReplicaReady", "a start", queue("3x200") | replicas(1, 0), at="10m"),
    Scenario("StokerNoReplicaReady", "nobody asks", queue("0x200") | replicas(0, 0)),
    Scenario("StokerNoReplicaReady", "one answers", queue("3x200") | replicas(1, 1)),
    Scenario("StokerNoReplicaReady", "the operator is silent", queue("3x200")),
    Scenario("StokerReplicaUnschedulable", "too long", waits("0+60x200"), WARNING),
    Scenario("StokerReplicaUnschedulable", "it was withdrawn",
        condition("Schedulable", "NoNodeCame"), WARNING),
    Scenario("StokerReplicaUnschedulable", "as long as ever", waits("0+20x200")),
    Scenario("StokerReplicaUnschedulable", "something else",
        condition("Schedulable", "Unschedulable")),
    Scenario("StokerReplicaUnschedulable", "a deadline that nobody knows",
        {f"stoker_service_pending_seconds{{{WHO}}}": "9000x200"}),
    Scenario("StokerEngineCrashLoop", "three", replaced("crashed", "0x5 1x3 2x3 3x50"), CRITICAL),
    Scenario("StokerEngineCrashLoop", "of several kinds",
        replaced("crashed", "_x10 2x50") | replaced("out_of_memory", "_x10 1x50"), CRITICAL),
    Scenario("StokerEngineCrashLoop", "two", replaced("crashed", "0x5 1x3 2x50")),
    Scenario("StokerEngineCrashLoop", "hung ones are another matter",
        replaced("hung", "0+1x50")),
    Scenario("StokerEngineCrashLoop", "long ago", replaced("crashed", "0+1x3 3x200"), at="60m"),
    Scenario("StokerEngineCrashLoop", "another process leads, and counts anew",
        replaced("crashed", "2x40 stale") | replaced("crashed", "_x40 0x100", STANDBY), at="60m"),
    Scenario("StokerEngineCrashLoop", "the operator began anew",
        replaced("crashed", "5x40 0x100"), at="60m"),
    Scenario("StokerEngineHung", "the first one ever", replaced("hung", "_x10 1x50"), WARNING),
    Scenario("StokerEngineHung", "another one", replaced("hung", "3x10 4x50"), WARNING),
    Scenario("StokerEngineHung", "it crashed", replaced("crashed", "0+1x50")),
    Scenario("StokerEngineHung", "long ago", replaced("hung", "3x200"), at="60m"),
    Scenario("StokerEngineHung", "the operator began anew", replaced("hung", "3x40 0x99"),
        at="60m"),
    Scenario("StokerMetricMissing", "one lacks", condition("ScalingActive", "MetricMissing"),
        WARNING),
    Scenario("StokerMetricMissing", "for a moment",
        condition("ScalingActive", "MetricMissing", "_x17 1 stale")),
    Scenario("StokerMetricMissing", "one does not answer",
        condition("ScalingActive", "MetricsMissing")),
    Scenario("StokerScalingBlind", "for minutes",
        {f"stoker_scaling_blind_seconds{{{WHO}}}": "0+60x200"}, CRITICAL),
    Scenario("StokerScalingBlind", "a pod went",
        {f"stoker_scaling_blind_seconds{{{WHO}}}": "40x200"}),
    Scenario("StokerScalingBlind", "it sees again",
        {f"stoker_scaling_blind_seconds{{{WHO}}}": "0+60x5 stale"}),
    *(
        Scenario("StokerPlanResidualLarge", name,
            {f'stoker_plan_residual_ratio{{{WHO},quantity="{quantity}"}}': f"{value}x200"},
            f'{WHO},quantity="{quantity}",severity="info"' if fires else "", at="45m")
        for name, quantity, value, fires in (
            ("slower", "ttft", 1.8, True), ("smaller", "kv_tokens", 0.5, True),
            ("about as planned", "itl", 1.2, False), ("a little smaller", "kv_tokens", 0.8, False),
        )
    ),
    Scenario("StokerPlanResidualLarge", "for a moment",
        {f'stoker_plan_residual_ratio{{{WHO},quantity="ttft"}}': "1x20 3x3 1x99"}, at="45m"),
    Scenario("StokerBudgetReached", "for long", {f"stoker_budget_reached{{{WHO}}}": "1x200"},
        WARNING),
    Scenario("StokerBudgetReached", "for a moment",
        {f"stoker_budget_reached{{{WHO}}}": "0x15 1x3 0x99"}),
    Scenario("StokerBudgetReached", "there is room", {f"stoker_budget_reached{{{WHO}}}": "0x200"}),
    *(
        scenario
        for alert, series in (
            ("StokerEngineNotScraped", f'{names.REQUESTS_RUNNING}{{{WHO},pod="p",revision="r"}}'),
            ("StokerFrontendNotScraped", f"{names.HELD_REQUESTS}{{{WHO}}}"),
        )
        for scenario in (
            Scenario(alert, "nothing arrives", replicas(2, 2), INFO),
            Scenario(alert, "it arrives", replicas(2, 2) | {series: "0x200"}),
            Scenario(alert, "there is nobody to scrape", replicas(0, 0)),
            Scenario(alert, "it is new", replicas(2, 2), at="10m"),
        )
    ),
]  # fmt: skip


def verified(result: str, values: str) -> dict[str, str]:
    return {f'stoker_cache_verifications_total{{{CACHE},result="{result}",job="a"}}': values}


def cache_condition(type_: str, reason: str) -> dict[str, str]:
    labels = f'{CACHE},condition="{type_}",reason="{reason}"'
    return {f"stoker_cache_condition{{{labels}}}": "1x200"}


def phase(name: str, values: str = "1x200") -> dict[str, str]:
    return {f'stoker_cache_phase{{{CACHE},phase="{name}"}}': values}


BAD_CACHE = f'{CACHE},severity="critical"'
POOR_CACHE = f'{CACHE},severity="warning"'
CACHES = [
    Scenario("StokerCacheCorrupt", "the first time", verified("bad", "_x10 1x50"), BAD_CACHE),
    Scenario("StokerCacheCorrupt", "again", verified("bad", "1x10 2x50"), BAD_CACHE),
    Scenario("StokerCacheCorrupt", "it still is", cache_condition("Verified", "ModelCorrupt"),
        BAD_CACHE),
    Scenario("StokerCacheCorrupt", "all is good", verified("good", "0+1x50")),
    Scenario("StokerCacheCorrupt", "long ago", verified("bad", "1x200"), at="90m"),
    Scenario("StokerCacheCorrupt", "the operator began anew", verified("bad", "2x65 0x99"),
        at="90m"),
    Scenario("StokerCacheFull", "no room", cache_condition("Ready", "NotEnoughDisk"), POOR_CACHE),
    Scenario("StokerCacheFull", "something else", cache_condition("Ready", "ClaimLost")),
    Scenario("StokerCacheFull", "just now", cache_condition("Ready", "NotEnoughDisk"), at="3m"),
    Scenario("StokerCacheFailed", "for long", phase("Failed"), POOR_CACHE),
    Scenario("StokerCacheFailed", "it is being repaired", phase("Failed", "1x9 stale")),
    Scenario("StokerCacheFailed", "it fetches", phase("Fetching")),
]  # fmt: skip


def waited(edge: str) -> dict[str, str]:
    """A hundred turns a minute, nine in ten at once, the others up to an edge."""
    edges = ["1.0", "5.0", "15.0", "60.0", "+Inf"]
    return {
        f'stoker_queue_wait_seconds_bucket{{{LEADER},kind="service",le="{each}"}}': (
            "0+100x200" if edges.index(each) >= edges.index(edge) else "0+90x200"
        )
        for each in edges
    }


OPERATOR = [
    Scenario("StokerOperatorDown", "nothing at all", {}, 'severity="critical"', alive={}),
    Scenario("StokerOperatorDown", "it went", {},  'severity="critical"', at="30m",
        alive={f"stoker_build_info{{{LEADER}}}": "1x10 stale"}),
    Scenario("StokerOperatorDown", "it began anew", {},
        alive={f"stoker_build_info{{{LEADER}}}": "1x10 stale stale stale 1x99"}),
    Scenario("StokerOperatorDown", "it is there", {}),
    Scenario("StokerOperatorWithoutLeader", "two standbys",
        {f"stoker_leader{{{LEADER}}}": "0x200", f"stoker_leader{{{STANDBY}}}": "0x200"},
        f'{JOB},severity="critical"'),
    Scenario("StokerOperatorWithoutLeader", "one of two leads",
        {f"stoker_leader{{{LEADER}}}": "1x200", f"stoker_leader{{{STANDBY}}}": "0x200"}),
    Scenario("StokerOperatorWithoutLeader", "it changes hands",
        {f"stoker_leader{{{LEADER}}}": "1x18 0x99", f"stoker_leader{{{STANDBY}}}": "0x19 1x99"}),
    Scenario("StokerWatchStale", "nothing is heard",
        {f"stoker_leader{{{LEADER}}}": "1x200",
         f'stoker_watch_age_seconds{{{LEADER},resource="pods"}}': "0+60x200"},
        f'{JOB},resource="pods",severity="critical"'),
    Scenario("StokerWatchStale", "it is confirmed each minute",
        {f"stoker_leader{{{LEADER}}}": "1x200",
         f'stoker_watch_age_seconds{{{LEADER},resource="pods"}}': "60x200"}),
    Scenario("StokerWatchStale", "a standby need not watch",
        {f"stoker_leader{{{STANDBY}}}": "0x200",
         f'stoker_watch_age_seconds{{{STANDBY},resource="pods"}}': "0+60x200"}),
    Scenario("StokerReconcileBugs", "one", {f"stoker_reconcile_bugs_total{{{LEADER}}}": "0x12 1x9"},
        f'{JOB},severity="warning"'),
    Scenario("StokerReconcileBugs", "none", {f"stoker_reconcile_bugs_total{{{LEADER}}}": "0x200"}),
    Scenario("StokerReconcileBugs", "long ago",
        {f"stoker_reconcile_bugs_total{{{LEADER}}}": "4x200"}, at="30m"),
    Scenario("StokerReconcileBugs", "the operator began anew",
        {f"stoker_reconcile_bugs_total{{{LEADER}}}": "4x25 0x99"}, at="30m"),
    Scenario("StokerOperatorFallsBehind", "a minute", waited("60.0"),
        f'{JOB},kind="service",severity="warning"'),
    Scenario("StokerOperatorFallsBehind", "seconds", waited("5.0")),
    Scenario("StokerOperatorFallsBehind", "nothing to do",
        dict.fromkeys(waited("60.0"), "7x200")),
]  # fmt: skip
SCENARIOS = [*BUDGETS, *SERVICES, *CACHES, *OPERATOR]
LABELS = "namespace, service, cache, job, resource, kind, quantity, severity"


def as_case(scenario: Scenario) -> Case:
    fired = f'ALERTS{{alertname="{scenario.alert}",alertstate="firing"}}'
    return Case(
        f"{scenario.alert}: {scenario.name}",
        {**scenario.alive, **scenario.series},
        f"max by ({LABELS}) ({fired})",
        {f"{{{scenario.fires}}}": 1} if scenario.fires else {},
        at=scenario.at,
    )


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_alerts(promtool: Promtool, group: object) -> None:
    [own] = [each for each in GROUPS if each is group]
    mine = {rule.manifest()["alert"] for rule in own.rules}
    promtool.prove([own], [as_case(each) for each in SCENARIOS if each.alert in mine])


def test_without_any_series_only_the_absent_operator_is_told(promtool: Promtool) -> None:
    everything = 'count by (alertname) (ALERTS{alertstate="firing"})'
    promtool.prove(GROUPS, [
        Case("nothing", {}, everything, {'{alertname="StokerOperatorDown"}': 1}, at="30m"),
        Case("an idle cluster", ALIVE | {f"stoker_leader{{{LEADER}}}": "1x200"}, everything, {},
            at="30m"),
    ])  # fmt: skip


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)
def test_each_alert_fires_and_is_silent(alert: object) -> None:
    [own] = [each for each in alerts() if each is alert]
    known = [each for each in SCENARIOS if each.alert == own.name]
    assert [each for each in known if each.fires], "no scenario in which it fires"
    assert [each for each in known if not each.fires], "no scenario in which it is silent"
    # A label that is named in the words has to be there when they are said.
    told = f"{own.summary} {own.description}"
    for label in re.findall(r"\$labels\.(\w+)", told):
        assert all(f'{label}="' in each.fires for each in known if each.fires), label
    assert all(f'severity="{own.severity}"' in each.fires for each in known if each.fires)


def test_no_scenario_is_about_nothing() -> None:
    assert {each.alert for each in SCENARIOS} == {alert.name for alert in alerts()}
    assert len({(each.alert, each.name) for each in SCENARIOS}) == len(SCENARIOS)
