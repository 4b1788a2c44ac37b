"""Rules read what somebody tells: the operator's series, and those that other rules record."""

import re

import promql_parser
import pytest
from promql_parser import VectorSelector

from charts.observability import costs, names, recording, services
from charts.observability.alerts import GROUPS
from charts.observability.rulefile import Alert, Group, Rule
from stoker.telemetry.families import FAMILIES

ALL: tuple[Group, ...] = (*recording.groups(), *services.groups(), *costs.groups(), *GROUPS)
RULES = [rule for group in ALL for rule in group.rules]
# Series of others: their exporters' documentation and sources say so.
FOREIGN = re.compile(
    r"(vllm:|sglang[:_]|trtllm_|lmdeploy:|tgi_|DCGM_FI_|(amd_)?gpu_|envoy_cluster_"
    r"|inference_extension_|container_|process_|kube_pod_labels$|up$)"
)


def selected(expression: str) -> set[str]:
    """The names of all series that an expression reads."""
    found: set[str] = set()

    def visit(node: object) -> None:
        if isinstance(node, VectorSelector):
            name = node.name or next(
                each.value for each in node.matchers.matchers if each.name == "__name__"
            )
            found.update(name.split("|"))
        for part in ("expr", "lhs", "rhs", "param", "vector_selector"):
            below = getattr(node, part, None)
            if below is not None:
                visit(below)
        for below in getattr(node, "args", None) or ():
            visit(below)

    visit(promql_parser.parse(expression))
    return found


def title(rule: Rule | Alert) -> str:
    return rule.record if isinstance(rule, Rule) else rule.name


@pytest.mark.parametrize("rule", RULES, ids=title)
def test_what_a_rule_reads_is_told(rule: Rule | Alert) -> None:
    recorded = {each.record for each in RULES if isinstance(each, Rule)}
    for series in selected(rule.expression):
        known = series in recorded or series in names.OPERATOR or FOREIGN.match(series)
        assert known, series


def test_the_operator_tells_what_rules_read() -> None:
    told = set()
    for family in FAMILIES:
        endings = ("_bucket", "_sum", "_count") if family.type == "histogram" else ("",)
        told |= {f"{family.shown}{ending}" for ending in endings}
    assert told >= names.OPERATOR
    read = set().union(*(selected(rule.expression) for rule in RULES))
    assert read >= names.OPERATOR, "nobody reads it any more"


def test_what_is_recorded_is_the_vocabulary() -> None:
    recorded = {rule.record for rule in RULES if isinstance(rule, Rule)}
    assert recorded == {series for metric in names.VOCABULARY for series in metric.series}


def test_no_name_is_recorded_twice_for_the_same_labels() -> None:
    told = [(rule.record, tuple(rule.labels.items())) for rule in RULES if isinstance(rule, Rule)]
    assert len(set(told)) == len(told)
