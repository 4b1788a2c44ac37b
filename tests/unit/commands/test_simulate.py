"""`stoker simulate` as a user runs it: a trace in, results and an exit status out."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from stoker.cli import app
from stoker_worker.modelfacts import to_json
from tests.support.families import FAMILIES

COEFFICIENTS = {
    "stepMs": 8,
    "sequenceUs": 50,
    "contextTokenNs": 25,
    "promptTokenUs": 40,
    "kvTokens": 100_000,
    "maxNumSeqs": 64,
}


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.csv"
    rows = "".join(f"{number / 2},{100 + number},{20 + number % 30}\n" for number in range(200))
    path.write_text("arrival_s,input_tokens,output_tokens\n" + rows)
    return path


@pytest.fixture
def replica(tmp_path: Path) -> Path:
    path = tmp_path / "replica.yaml"
    path.write_text(yaml.safe_dump(COEFFICIENTS))
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["simulate", *map(str, arguments)], env={"COLUMNS": "200"})


def data(*arguments: object) -> list[dict[str, Any]]:
    result = run(*arguments, "-o", "json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert isinstance(found, list)
    return found


def test_policies_are_compared_in_a_table(trace: Path, replica: Path) -> None:
    result = run(trace, "--coefficients", replica, "--policy", "stoker", "--policy", "static:2")
    assert result.exit_code == 0, result.output
    assert "200 requests in 0.19 h" in result.stdout
    assert "static:2" in result.stdout
    assert "100.0%" in result.stdout


def test_results_are_data_with_reasons(trace: Path, replica: Path) -> None:
    (found,) = data(trace, "--coefficients", replica, "--max", 3, "--start", "node=50")
    assert (found["policy"], found["arrivals"]) == ("stoker", 200)
    assert found["ttft"]["p50"] > 0
    assert found["acceleratorS"] > 0
    assert all(change["reason"] for change in found["changes"])


def test_nothing_to_tell_is_null(trace: Path, replica: Path) -> None:
    (found,) = data(trace, "--coefficients", replica, "--min", 0, "--policy", "static:0")
    assert found["ttft"]["p50"] is None
    assert found["shed"] == 200


def test_times_multiplies_and_gzip_is_read(trace: Path, replica: Path, tmp_path: Path) -> None:
    packed = tmp_path / "trace.csv.gz"
    packed.write_bytes(gzip.compress(trace.read_bytes()))
    (found,) = data(packed, "--coefficients", replica, "--times", 3)
    assert found["arrivals"] == 600


def test_the_seed_decides(trace: Path, replica: Path) -> None:
    options = (trace, "--coefficients", replica, "--times", 2, "--start", "node=100~0.5")
    assert data(*options, "--seed", 4) == data(*options, "--seed", 4)
    assert data(*options, "--seed", 4) != data(*options, "--seed", 5)


def written(folder: Path, **fields: object) -> Path:
    """A service of a model, as a file."""
    body = {
        "apiVersion": "stoker.dev/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": "llama"},
        "spec": {"model": {"uri": "pvc://models/llama"}, **fields},
    }
    service = folder / "service.yaml"
    service.write_text(yaml.safe_dump(body))
    return service


def test_a_service_is_planned_and_its_scaling_heard(trace: Path, tmp_path: Path) -> None:
    service = written(tmp_path, scaling={"minReplicas": 2, "maxReplicas": 2})
    facts = tmp_path / "facts.json"
    facts.write_text(to_json(FAMILIES["llama-3.1-8b"].facts))
    (found,) = data(trace, "--service", service, "--facts", facts, "--gpu", "nvidia-l4")
    assert found["replicasPeak"] == 2
    assert found["attained"] > 0.9
    # An L4 reads 16 GB of weights at 300 GB/s: no token is faster than 50 ms.
    assert found["itl"]["p50"] > 0.045


def test_a_schedule_has_its_replicas_ready_in_time(trace: Path, tmp_path: Path) -> None:
    window = {"cron": "0 8 * * *", "duration": "1h", "minReplicas": 3, "timeZone": "Asia/Shanghai"}
    scaling = {"maxReplicas": 3, "schedule": [window]}
    service = written(tmp_path, scaling=scaling)
    facts = tmp_path / "facts.json"
    facts.write_text(to_json(FAMILIES["llama-3.1-8b"].facts))
    given = (trace, "--service", service, "--facts", facts, "--gpu", "nvidia-l4")
    (early,) = data(*given, "--begin", "2026-03-02T06:00+08:00")
    (inside,) = data(*given, "--begin", "2026-03-02T00:30")
    assert inside["replicasPeak"] == 3
    assert early["replicasMean"] < inside["replicasMean"]
    assert "needs a time of day: pass --begin" in run(*given).stderr
    assert "--begin soon: is no time" in run(*given, "--begin", "soon").stderr


@pytest.mark.parametrize(
    ("scaling", "words"),
    [
        (
            {"budget": {"maxPerHour": "0.05"}},
            "spec.scaling.budget: one replica on nvidia-l4 costs $",
        ),
        (
            {"budget": {"maxPerHour": "2"}, "minReplicas": 3},
            "spec.scaling.minReplicas: 3 replicas cost $",
        ),
        (
            {"schedule": [{"cron": "0 99 * * *", "duration": "1h", "minReplicas": 2}]},
            "spec.scaling.schedule[0].cron: '0 99 * * *' cannot be read",
        ),
    ],
)
def test_what_the_operator_would_refuse_is_refused(
    trace: Path, tmp_path: Path, scaling: dict[str, Any], words: str
) -> None:
    service = written(tmp_path, scaling={"maxReplicas": 3, **scaling})
    facts = tmp_path / "facts.json"
    facts.write_text(to_json(FAMILIES["llama-3.1-8b"].facts))
    result = run(trace, "--service", service, "--facts", facts, "--gpu", "nvidia-l4")
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_budget_bounds_every_policy(trace: Path, tmp_path: Path) -> None:
    facts = tmp_path / "facts.json"
    facts.write_text(to_json(FAMILIES["llama-3.1-8b"].facts))
    given = ("--facts", facts, "--gpu", "nvidia-l4", "--times", 20, "--policy")
    scaling = {"minReplicas": 1, "maxReplicas": 9}
    service = written(tmp_path, scaling=scaling)
    (free,) = data(trace, "--service", service, *given, "stoker")
    assert free["replicasPeak"] > 3
    service = written(tmp_path, scaling={**scaling, "budget": {"maxPerHour": "4.00"}})
    # An L4 is 1.20 an hour.
    for policy in ("stoker", "knative:1"):
        (found,) = data(trace, "--service", service, *given, policy)
        assert max(change["after"] for change in found["changes"]) == 3, policy
    (fixed,) = data(trace, "--service", service, *given, "static:7")
    assert (fixed["replicasMean"], fixed["replicasPeak"]) == (3, 3)


def test_what_a_target_cannot_do_is_said_below_the_table(trace: Path, tmp_path: Path) -> None:
    target = {"itl": {"p90": "5ms"}, "ttft": {"p50": "30s"}}
    service = written(tmp_path, scaling={"maxReplicas": 3, "target": target})
    facts = tmp_path / "facts.json"
    facts.write_text(to_json(FAMILIES["llama-3.1-8b"].facts))
    given = (trace, "--service", service, "--facts", facts, "--gpu", "nvidia-l4")
    words = "No number of replicas keeps itl p90 within 5ms: by the plan a lone request takes "
    assert f"stoker, after 0s: {words}" in run(*given).stdout
    (found,) = data(*given)
    assert found["notices"][0]["time"] == 0
    assert found["notices"][0]["words"].startswith(words)


def test_what_has_no_plan_is_told(trace: Path, tmp_path: Path) -> None:
    service = written(tmp_path, accelerator={"types": ["nvidia-l4"], "perReplica": 1})
    facts = tmp_path / "facts.json"
    facts.write_text(to_json(FAMILIES["llama-3.1-70b"].facts))
    result = run(trace, "--service", service, "--facts", facts)
    assert result.exit_code == 2
    assert "nothing to simulate, as there is no plan: " in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "pass either --service with an InferenceService or --coefficients"),
        (["--policy", "magic"], "magic: no such policy; write one of stoker, stoker-queue, static"),
        (["--min", "3", "--max", "2"], "--min 3 is above --max 2"),
        (["--start", "nodes=3"], "--start nodes=3: write name=number, with a name of node, image"),
        (["--start", "node"], "--start node: write name=number"),
        (["--start", "node=-3"], "--start node=-3: must be a number of at least 0"),
        (["--start", "node=3~x"], "--start node=3~x: must be a number of at least 0 and at most 3"),
        (["--start", "notGranted=2"], "must be a number of at least 0 and at most 1"),
        (["--times", "0"], "a trace cannot be multiplied by 0; write a number above 0"),
    ],
)
def test_bad_options_are_refused_in_words(
    trace: Path, replica: Path, arguments: list[str], words: str
) -> None:
    given = ["--coefficients", replica] if arguments else []
    result = run(trace, *given, *arguments)
    assert result.exit_code == 2
    assert words in result.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stepms": 3}, "stepms: unknown; known: stepMs"),
        ({"kvTokens": None}, "kvTokens: missing"),
        ({"kvTokens": 0}, "kvTokens: must be a number of at least 1"),
        ({"stepMs": 0}, "stepMs: must be above 0"),
        ({"stepMs": "fast"}, "stepMs: must be a number of at least 0"),
        ({"promptTokenUs": True}, "promptTokenUs: must be a number of at least 0"),
    ],
)
def test_coefficients_that_are_none_are_refused(
    trace: Path, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    path = tmp_path / "replica.yaml"
    given = {**COEFFICIENTS, **change}
    path.write_text(
        yaml.safe_dump({name: value for name, value in given.items() if value is not None})
    )
    result = run(trace, "--coefficients", path)
    assert result.exit_code == 2
    assert f"{path}: {words}" in result.stderr


def test_files_that_cannot_be_read(trace: Path, replica: Path, tmp_path: Path) -> None:
    absent, broken, binary = (tmp_path / name for name in ("absent", "broken.gz", "binary"))
    broken.write_bytes(gzip.compress(trace.read_bytes())[:60])
    binary.write_bytes(b"\xff\xfe\x00")
    for path, words in (
        (absent, "cannot be read (No such file"),
        (broken, "cannot be read (not a whole gzip file)"),
        (binary, "is not text"),
    ):
        result = run(path, "--coefficients", replica)
        assert result.exit_code == 2
        assert f"{path}: {words}" in result.stderr
    for path, words in ((absent, "cannot be read"), (binary, "is not YAML"), (trace, "must be")):
        result = run(trace, "--coefficients", path)
        assert result.exit_code == 2
        assert f"{path}: {words}" in result.stderr
