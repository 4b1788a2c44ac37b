"""`stoker why`: what it says of each situation, from a status alone."""

from __future__ import annotations

import copy
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner, Result

from stoker.api.crd import render_crd
from stoker.autoscale.need import DRAIN_S
from stoker.cli import app
from stoker.commands import answers, why
from stoker.commands.exits import Exit
from stoker.commands.explanation import Explanation, explain
from stoker.commands.statuses import duration
from stoker.model.observed import Key
from stoker.model.scale import Limit, Term

if TYPE_CHECKING:
    from pathlib import Path

KEY = Key("chat", "llama")
NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z
SCALING = {"minReplicas": 0, "maxReplicas": 4, "target": {"queueDepth": 4}}
SCALES = {
    "observedGeneration": 2,
    "desiredReplicas": 3,
    "readyReplicas": 2,
    "replicas": 3,
    "load": {"held": 7, "waiting": 2, "running": 20, "time": "2025-12-31T23:59:20Z"},
    "scaling": {
        "reason": "LoadGrew",
        "message": "7 held, 2 waiting, 20 running need 3 replicas at 4 waiting per replica",
        "need": 3,
        "places": 16,
        "requestSeconds": 2.31,
        "terms": {"places": 2, "arrivals": 2.4, "backlog": 2.96, "progress": 1, "forecast": 2.5},
        "fewerNotBefore": "2026-01-01T00:09:20Z",
    },
    "lastScale": {
        "from": 1,
        "to": 3,
        "reason": "LoadGrew",
        "message": "7 held, 2 waiting, 20 running need 3 replicas at 4 waiting per replica",
        "time": "2025-12-31T23:59:20Z",
    },
    "earlierScales": [
        {
            "from": 0,
            "to": 1,
            "reason": "RequestArrived",
            "message": "a request came at zero replicas: 1 held, 0 waiting, 0 running",
            "time": "2025-12-31T23:40:00Z",
        }
    ],
    "startup": {
        "accelerator": "nvidia-l4",
        "nodeSeconds": 120.4,
        "imageSeconds": 30,
        "loadSeconds": 50,
        "starts": 1,
        "newest": 1,
    },
}


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


ACTIVE = condition("ScalingActive", "True", "FollowsQueue")


def body(spec: dict[str, Any], status: dict[str, Any] | None = None, **meta: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "kind": "InferenceService",
        "metadata": {"name": "llama", "namespace": "chat", "generation": 2, **meta},
        "spec": {"model": {"uri": "pvc://models/llama"}, **spec},
    }
    return found if status is None else found | {"status": status}


def scaling(*conditions: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A service that scales, with changes below its status; None takes a field away."""
    status = copy.deepcopy(SCALES) | {"conditions": list(conditions) or [ACTIVE]}
    for name, value in changes.items():
        at = status["scaling"] if name in {"limit", "fewerNotBefore", "need"} else status
        assert isinstance(at, dict)
        if value is None:
            at.pop(name)
        else:
            at[name] = value
    return body({"scaling": copy.deepcopy(SCALING)}, status)


def of(found: dict[str, Any]) -> Explanation:
    return explain(found, KEY, NOW)


def shown(found: dict[str, Any], width: int = 120) -> str:
    out = io.StringIO()
    why.show(Console(file=out, width=width, color_system=None), of(found))
    return out.getvalue()


def run(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(app, ["why", *arguments], input=given, env={"COLUMNS": "100"})


def next_words(found: dict[str, Any]) -> dict[str, str]:
    return {each.what: f"{each.at or ''} {each.words}".strip() for each in of(found).next}


GOLDEN = """\
chat/llama: 3 replicas are wanted, 2 answer.
From the signal to the replicas
signal: 7 held, 2 waiting, 20 running at 2025-12-31T23:59:20Z (40s ago); the last sample that was \
worth writing
one replica: computes 16 requests at once; a request takes 2.3s of it
places: 2: 29 in progress, over 16 computed and 4 waiting per replica
arrivals: 2.4: what comes, by the time that a request takes of a replica, with room for chance
backlog: 2.96: the same, and the queue worked off within {drain}
progress: 1: any request needs one
forecast: 2.5: the most that is expected while a replica starts; no part of the need
need: 3: the most of these, rounded up
verdict: LoadGrew: 7 held, 2 waiting, 20 running need 3 replicas at 4 waiting per replica
replicas: 3 wanted, 3 there, 2 ready
a start takes: 3m20s: node 2m, image 30s, load 50s (1 start measured on nvidia-l4)
Bounds and targets
minReplicas: 0
maxReplicas: 4
target.queueDepth: 4
The last changes of the number
when: : why
2025-12-31T23:59:20Z: 1 to 3: LoadGrew: 7 held, 2 waiting, 20 running need 3 replicas at 4 \
waiting per replica
2025-12-31T23:40:00Z: 0 to 1: RequestArrived: a request came at zero replicas: 1 held, 0 waiting, \
0 running
What may change next
more: with any look, every 2s, that finds more needed
fewer: 2026-01-01T00:09:20Z: not before then, in 9m20s; later where requests come, and earlier \
only where the bounds change
"""


def plain(text: str) -> str:
    """Without the lines of the tables."""
    lines = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.replace("┃", "│").split("│")]
        if line.startswith(("┌", "└", "┏", "┡")):
            continue
        lines.append(": ".join(cells[1:-1]) if len(cells) > 2 else line.rstrip())
    return "\n".join(lines) + "\n"


def test_the_whole_chain_in_words() -> None:
    drain = duration(DRAIN_S)
    assert plain(shown(scaling(), width=200)) == GOLDEN.replace("{drain}", drain)


@pytest.mark.parametrize("width", [20, 60, 80, 300])
def test_any_width(width: int) -> None:
    text = shown(scaling(), width)
    assert "LoadGrew" in "".join(text.split()) or width == 20
    assert "RequestArrived" in text.replace("\n", "") or width < 60


@pytest.mark.parametrize("limit", Limit)
def test_every_limit_has_words(limit: Limit) -> None:
    found = of(scaling(limit=limit.value))
    assert found.limit_words
    assert found.limit_words in " ".join(plain(shown(scaling(limit=limit.value), 300)).split())


def test_every_term_has_words() -> None:
    told = scaling()
    told["status"]["scaling"]["terms"] = {term.value: 1 for term in Term}
    assert all(each.words for each in of(told).terms)
    assert len(of(told).terms) == len(Term)


def test_what_a_newer_operator_says_is_shown_as_it_is() -> None:
    told = scaling(limit="OfTheMoon")
    told["status"]["scaling"]["terms"] = {"tides": 2.5}
    assert [(each.name, each.replicas) for each in of(told).terms] == [("tides", 2.5)]
    assert "OfTheMoon" in shown(told)


def test_what_may_be_written_is_told_with_its_gain() -> None:
    plan = {
        "proposals": [
            {
                "reason": "PlacesFull",
                "change": "optimization.batching.maxNumSeqs: 16",
                "why": "you set 8; all 8 places taken",
                "gain": "+72 % tokens/s",
            },
            {"reason": "CacheFull", "change": "[red]x"},  # of another version
            "nonsense",
        ]
    }
    found = scaling(plan=plan)
    said = shown(found)
    assert "What you may write, at the cost of a restart" in said
    assert "optimization.batching.maxNumSeqs: 16" in said
    assert "+72 % tokens/s: you set 8; all 8 places taken" in said
    assert "[red]x" in said
    data = answers.as_data_of(of(found))
    assert data["proposals"][0] == plan["proposals"][0]
    assert "What you may write" not in shown(scaling(plan={"proposals": "x"}))


def test_where_the_bounds_decide() -> None:
    ceiling = scaling(limit="Ceiling", desiredReplicas=4)
    assert next_words(ceiling)["more"] == "never: maxReplicas is 4"
    assert "raise spec.scaling.maxReplicas" in shown(ceiling, 200)
    assert "the verdict names" in next_words(scaling(limit="Ceiling"))["more"]
    floor = scaling(limit="Floor", desiredReplicas=2)
    assert "the verdict names" in next_words(floor)["fewer"]
    floor["spec"]["scaling"]["minReplicas"] = 2
    assert next_words(floor)["fewer"] == "never: minReplicas is 2"


def test_a_schedule_and_a_budget_are_told_with_the_bounds() -> None:
    told = scaling()
    told["spec"]["scaling"] |= {
        "schedule": [{"cron": "0 8 * * 1-5", "duration": "10h", "minReplicas": 2}],
        "budget": {"maxPerHour": "12.50"},
    }
    rules = of(told).rules
    assert rules["budget.maxPerHour"] == "12.50"
    assert "0 8 * * 1-5" in rules["schedule"]
    # Thursday; its replicas are asked for one start, 3m20s, before eight.
    assert next_words(told)["bounds"].startswith("2026-01-01T07:56:39Z ")
    told["spec"]["scaling"]["schedule"][0]["timeZone"] = "Of/The_Moon"
    assert "bounds" not in next_words(told)


def test_what_nobody_wrote_is_told_too() -> None:
    told = scaling()
    told["spec"]["scaling"] = {"maxReplicas": 4}
    assert of(told).rules == {"minReplicas": 1, "maxReplicas": 4, "target.queueDepth": 4}


def test_a_type_without_nodes_is_asked_for_again() -> None:
    retry = {"accelerator": "nvidia-l4", "retryAt": "2026-01-01T00:10:00Z"}
    words = next_words(scaling(capacity=[retry, {"accelerator": 3}]))
    assert words["retry"].startswith("2026-01-01T00:10:00Z nvidia-l4")


def test_at_zero() -> None:
    told = scaling(desiredReplicas=0, readyReplicas=0, replicas=0)
    assert "the first request is held and wakes it" in shown(told)
    words = next_words(told)
    assert "first request" in words["more"]
    assert words["fewer"] == "never: there is none"
    assert of(told).healthy


def test_the_last_replica_goes_to_zero() -> None:
    assert next_words(scaling(desiredReplicas=1))["zero"].startswith("2026-01-01T00:09:20Z")
    past = scaling(desiredReplicas=1, fewerNotBefore="2025-12-31T23:00:00Z")
    assert "any look" in next_words(past)["zero"]


def test_missing_metrics_come_first_and_say_what_to_do() -> None:
    missing = condition("ScalingActive", "False", "MetricsMissing", "pod engine-1 is silent.")
    told = scaling(missing)
    (finding,) = of(told).findings
    assert finding.problem
    assert "kubectl logs" in finding.remedy
    lines = shown(told).splitlines()
    assert lines[1].startswith("MetricsMissing: pod engine-1 is silent. ")
    assert "until the numbers are back" in next_words(told)["any"]
    assert "wakes it" in next_words(scaling(missing, desiredReplicas=0))["any"]
    # While nothing answers yet, nothing can tell.
    starting = scaling(
        condition("Ready", "False", "WaitingForPods", "It is starting."), missing, readyReplicas=0
    )
    assert of(starting).healthy
    assert [each.reason for each in of(starting).findings] == ["WaitingForPods", "MetricsMissing"]


def test_what_stands_in_the_way_is_told_once_and_the_cause_first() -> None:
    crash = "The engine ended: out of memory."
    told = scaling(
        condition("Ready", "False", "OutOfMemory", crash),
        condition("Progressing", "False", "RolloutBlocked", f"No answer (OutOfMemory): {crash}"),
        condition("Schedulable", "False", "Unschedulable", "No node has nvidia.com/gpu."),
        condition("ScaledByOthers", "True", "ScaledByOthers", "by kubectl"),
        condition("Planned", "True", "Planned", "It runs."),
    )
    assert [each.reason for each in of(told).findings] == [
        "OutOfMemory",
        "Unschedulable",
        "ScaledByOthers",
    ]
    assert not of(told).healthy


def test_a_model_that_is_being_fetched_is_no_problem_and_one_that_cannot_be_is() -> None:
    said = "ModelCache llama: Fetching: The model is being fetched. 42% of 15.9 GiB so far."
    (finding, *_) = of(scaling(condition("ModelReady", "False", "Fetching", said))).findings
    assert not finding.problem
    assert finding.message == said
    assert "kubectl get mc -w" in finding.remedy
    full = "ModelCache llama: NotEnoughDisk: needs 15.9 GiB, 3.2 GiB free."
    (finding, *_) = of(scaling(condition("ModelReady", "False", "NotEnoughDisk", full))).findings
    assert finding.problem
    assert finding.message == full


def test_a_fixed_number_names_its_owner() -> None:
    fixed = condition("ScalingActive", "False", "FixedReplicas", "spec.replicas is 2")
    status = {"observedGeneration": 2, "desiredReplicas": 2, "readyReplicas": 1, "replicas": 2}
    fields = [
        {"manager": "kubectl", "fieldsV1": {"f:spec": {"f:model": {}}}},
        {
            "manager": "helm",
            "time": "2025-12-31T23:00:00Z",
            "fieldsV1": {"f:spec": {"f:replicas": {}}},
        },
    ]
    told = body({"replicas": 2}, status | {"conditions": [fixed]}, managedFields=fields)
    found = of(told)
    assert found.mode == "Fixed"
    assert found.healthy
    assert found.owner is not None
    assert "last written by helm at 2025-12-31T23:00:00Z" in found.owner
    unnamed = of(body({"replicas": 2}, status, managedFields=fields[:1]))
    assert "as with kubectl scale" in (unnamed.owner or "")
    assert "written" not in (of(body({"replicas": 2}, status)).owner or "")
    text = shown(told, 200)
    assert "2 replicas are wanted, 1 answers" in text
    assert "spec.replicas is 2" in text
    assert "signal" not in text.replace("From the signal", "")
    alone = of(body({}, status))
    assert alone.owner is not None
    assert "one replica" in alone.owner


def test_a_spec_that_nobody_has_looked_at() -> None:
    fields = [
        {"manager": "stoker", "subresource": "status", "time": "2025-12-31T23:59:59Z"},
        {"manager": "kubectl", "time": "2025-12-31T23:50:00Z"},
    ]
    behind = scaling(observedGeneration=1)
    behind["metadata"]["managedFields"] = fields
    (finding,) = of(behind).findings
    assert finding.problem
    assert "10m ago" in finding.message
    assert "kubectl get pods -A" in finding.remedy
    fields[1]["time"] = "2025-12-31T23:59:50Z"
    assert of(behind).healthy  # it takes seconds
    # When somebody scaled it by hand, nobody knows.
    fields[1]["time"] = "2025-12-31T23:50:00Z"
    scaled = body({"replicas": 2}, {"observedGeneration": 1}, managedFields=fields)
    assert [(each.reason, each.problem) for each in of(scaled).findings] == [("NotYetSeen", False)]
    new = body({"scaling": SCALING}, creationTimestamp="2025-12-31T00:00:00Z")
    (finding,) = of(new).findings
    assert "no operator has looked at it yet" in finding.message
    assert "1d ago" in finding.message
    assert finding.problem
    assert "nothing is decided yet" in shown(new)


def test_an_operator_that_fell_silent() -> None:
    past = "2025-12-31T23:30:00Z"
    told = scaling(limit="AddedStays", fewerNotBefore=past)
    (finding,) = of(told).findings
    assert (finding.reason, finding.problem) == ("OperatorSilent", True)
    # Without a limit nothing had to be written.
    assert of(scaling(fewerNotBefore=past)).healthy
    assert of(scaling(limit="Stabilization", fewerNotBefore=past)).healthy


def test_clocks_that_differ() -> None:
    told = scaling(load=SCALES["load"] | {"time": "2026-01-01T02:00:00Z"})  # type: ignore[operator]
    (finding,) = of(told).findings
    assert finding.reason == "ClocksDiffer"
    assert not finding.problem
    assert "ago" not in shown(told).split("signal ")[1].split("one replica")[0]


def test_a_service_that_is_being_deleted() -> None:
    told = scaling()
    told["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert [each.reason for each in of(told).findings] == ["BeingDeleted"]


def test_from_a_file_and_from_the_standard_input(tmp_path: Path) -> None:
    path = tmp_path / "status.yaml"
    text = yaml.safe_dump(scaling())
    path.write_text(text)
    by_file, by_input = run("-f", str(path)), run("-f", "-", given=text)
    assert by_file.exit_code == by_input.exit_code == Exit.DONE
    broken = scaling(condition("Ready", "False", "OutOfMemory", "The engine ended."))
    assert run("-f", "-", given=yaml.safe_dump(broken)).exit_code == Exit.UNHEALTHY
    far = scaling(fewerNotBefore="2999-01-01T00:00:00Z")
    both = yaml.safe_dump({"kind": "List", "items": [far, {"kind": "Pod"}]})
    as_json = run("llama", "-f", "-", "-o", "json", given=both)
    data = json.loads(as_json.stdout)
    assert data["service"] == "chat/llama"
    assert data["decisions"][0]["after"] == 3
    assert data["next"][1]["at"] == "2999-01-01T00:00:00Z"
    as_yaml = run("-f", "-", "-o", "yaml", given=json.dumps(scaling()))
    assert yaml.safe_load(as_yaml.stdout)["limit"] is None


@pytest.mark.parametrize(
    ("arguments", "given_text", "said"),
    [
        ([], None, "pass the name of a service"),
        (["a/b"], None, "is no name"),
        (["llama", "-n", "A"], None, "is no name"),
        (["-f", "/does/not/exist"], None, "cannot be read"),
        (["-f", "-"], "a: [", "is not YAML"),
        (["-f", "-"], "", "has 0 objects of kind InferenceService"),
        (["-f", "-"], "kind: Pod", "has 0 objects of kind InferenceService"),
        (["other", "-f", "-"], "{kind: InferenceService, metadata: {name: a}}", "named other"),
        (["-f", "-", "-n", "chat"], "", "do not go with -f"),
    ],
)
def test_bad_input(arguments: list[str], given_text: str | None, said: str) -> None:
    result = run(*arguments, given=given_text)
    assert result.exit_code == Exit.BAD_INPUT, result.output
    assert said in result.stderr


def values_of(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Whatever the API server lets through; formats as it reads them, leap seconds too."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return st.one_of(st.integers(-10, 10), st.text(max_size=5))
    match schema.get("type"):
        case "object" if "properties" in schema:
            required = set(schema.get("required", ()))
            parts = {name: values_of(each) for name, each in schema["properties"].items()}
            return st.fixed_dictionaries(
                {name: part for name, part in parts.items() if name in required},
                optional={name: part for name, part in parts.items() if name not in required},
            )
        case "object":
            return st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2)
        case "array":
            return st.lists(values_of(schema["items"]), max_size=3)
        case "integer":
            return st.integers(-(2**63), 2**63 - 1)
        case "number":
            return st.floats(allow_nan=False, allow_infinity=False) | st.integers()
        case "boolean":
            return st.booleans()
        case _ if schema.get("format") == "date-time":
            return st.datetimes().map(lambda time: f"{time.isoformat()}Z") | st.sampled_from(
                ["2016-12-31T23:59:60Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"]
            )
    return st.text(max_size=40) | st.sampled_from(
        ["Ready", "ScalingActive", "MetricsMissing", "AddedStays", "[bold]", "[/]", "\x1b[31m"]
    )


SCHEMA = render_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
# The plan and the model are not read here, and would take most of the time.
STATUS = {
    **SCHEMA["status"],
    "properties": {
        name: each
        for name, each in SCHEMA["status"]["properties"].items()
        if name not in {"plan", "model"}
    },
}


@settings(max_examples=150)
@given(
    values_of(STATUS),
    st.none() | values_of(SCHEMA["spec"]["properties"]["scaling"]),
    st.floats(0, 4e9),
)
def test_it_never_fails_on_a_status_that_the_schema_admits(
    status: dict[str, Any], rules: dict[str, Any] | None, now: float
) -> None:
    found = explain(body({} if rules is None else {"scaling": rules}, status), KEY, now)
    out = io.StringIO()
    why.show(Console(file=out, width=100, color_system=None), found)
    assert out.getvalue().startswith("chat/llama: ")
    assert "\x1b" not in out.getvalue()  # words of pods steer no terminal
    json.dumps(answers.as_data_of(found), allow_nan=False)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.datetimes(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*STATUS["properties"], "time", "f:spec"]), inner)
    ),
    max_leaves=12,
)


@given(
    anything, anything, st.dictionaries(st.sampled_from(["managedFields", "generation"]), anything)
)
def test_nor_on_any_file(spec: Any, status: Any, metadata: dict[str, Any]) -> None:
    told = {"kind": "InferenceService", "metadata": metadata, "spec": spec, "status": status}
    found = explain(told, KEY, NOW)
    why.show(Console(file=io.StringIO(), width=80, color_system=None), found)
    json.dumps(answers.as_data_of(found))
