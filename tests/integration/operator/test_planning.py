"""From a model's facts to an engine's flags, through the real control plane."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from stoker.naming import Component
from tests.integration.operator.pods import Engine, Frontend, make_ready
from tests.integration.operator.support import (
    OperatorProcess,
    condition,
    operator_writes,
    service,
    wait_for,
)
from tests.support.tiny import TINY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.operator.readers import Readers
    from tests.support.controlplane import ControlPlane

pytestmark = pytest.mark.usefixtures("operator")

L4: dict[str, Any] = {
    "accelerator": {"types": ["nvidia-l4"], "perReplica": 1},
    "context": {"maxModelLen": 4096},
}


def engines(plane: ControlPlane, namespace: str, name: str = "tiny") -> list[dict[str, Any]]:
    selector = f"stoker.dev/component=engine,stoker.dev/service={name}"
    return list(plane.get("deployments", "-n", namespace, "-l", selector)["items"])


def flags(deployment: dict[str, Any]) -> dict[str, str]:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    env = {each["name"]: each.get("value", "") for each in container["env"]}
    found: dict[str, str] = json.loads(env["STOKER_WORKER_CONFIG"])["args"]
    return found


def status(plane: ControlPlane, namespace: str, name: str = "tiny") -> dict[str, Any]:
    found: dict[str, Any] = plane.get("infer", name, "-n", namespace).get("status", {})
    return found


def reason(plane: ControlPlane, namespace: str, kind: str = "Planned") -> tuple[str, str]:
    entry = condition(plane, (namespace, "tiny"), kind) or {"status": "", "reason": ""}
    return entry["status"], entry["reason"]


def test_facts_then_a_plan_then_an_engine(
    plane: ControlPlane, operator: OperatorProcess, readers: Readers, namespace: str
) -> None:
    began = time.monotonic()
    plane.apply(service("tiny", namespace, **L4))
    (engine,) = wait_for("the engine's Deployment", lambda: engines(plane, namespace))
    assert time.monotonic() - began < 15
    assert readers.seen.count(f"{namespace}/tiny") == 1
    # The status is written after what it speaks of.
    wait_for("its plan", lambda: reason(plane, namespace) == ("True", "Planned"))
    found = status(plane, namespace)
    assert found["model"]["digest"] == "sha256:tiny"
    plan = found["plan"]
    assert (plan["accelerator"], plan["perReplica"]) == ("nvidia-l4", 1)
    assert flags(engine)["max-num-seqs"] == str(plan["maxNumSeqs"])
    assert flags(engine)["max-model-len"] == "4096"
    wide = plane.kubectl("get", "infer", "tiny", "-n", namespace, "-o", "wide")
    assert "vllm on 1 x nvidia-l4" in wide
    # The Job and its pod are gone with their use, so that nothing pins the volume.
    wait_for(
        "no Job is left",
        lambda: (
            not plane.get("jobs,pods", "-n", namespace, "-l", "stoker.dev/component=facts")["items"]
        ),
    )
    assert operator.metric("stoker_reconcile_bugs_total") == 0


def test_a_second_service_of_the_model_needs_no_job(
    plane: ControlPlane, readers: Readers, namespace: str
) -> None:
    plane.apply(service("tiny", namespace, **L4))
    wait_for("the first is planned", lambda: status(plane, namespace).get("model", {}).get("facts"))
    plane.apply(service("second", namespace, **L4))
    wait_for("the second's Deployment", lambda: engines(plane, namespace, "second"))
    assert f"{namespace}/second" not in readers.seen
    model = wait_for("its status", lambda: status(plane, namespace, "second").get("model"))
    assert model["digest"] == "sha256:tiny"


def test_a_model_that_cannot_be_read_is_named_and_nothing_is_lost(
    plane: ControlPlane, namespace: str
) -> None:
    plane.apply(service("tiny", namespace, **L4))
    (old,) = wait_for("the engine's Deployment", lambda: engines(plane, namespace))
    for folder, word in (("nowhere", "ModelNotFound"), ("pickled", "PickleWeights")):
        plane.apply(service("tiny", namespace, model={"uri": f"pvc://models/{folder}"}, **L4))
        wait_for(word, lambda word=word: reason(plane, namespace) == ("False", word))  # type: ignore[misc]
    wait_for(
        "the rollout is blocked by it",
        lambda: (
            "(PickleWeights)"
            in (condition(plane, (namespace, "tiny"), "Progressing") or {}).get("message", "")
        ),
    )
    (kept,) = engines(plane, namespace)
    assert kept["metadata"]["uid"] == old["metadata"]["uid"]
    assert kept["spec"]["replicas"] == 1
    plane.apply(service("tiny", namespace, **L4))
    wait_for("planned again", lambda: reason(plane, namespace) == ("True", "Planned"))
    assert [each["metadata"]["uid"] for each in engines(plane, namespace)] == [
        old["metadata"]["uid"]
    ]


def test_what_does_not_fit_makes_no_pod(plane: ControlPlane, namespace: str) -> None:
    plane.apply(service("tiny", namespace, model={"uri": "pvc://models/huge"}, **L4))
    wait_for("DoesNotFit", lambda: reason(plane, namespace) == ("False", "DoesNotFit"))
    assert "GiB are missing" in (condition(plane, (namespace, "tiny"), "Planned") or {})["message"]
    assert engines(plane, namespace) == []
    assert reason(plane, namespace, "Stalled") == ("True", "DoesNotFit")


def test_a_job_that_policy_forbids_costs_the_plan_and_not_the_service(
    plane: ControlPlane, namespace: str
) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "no-jobs", "namespace": namespace},
        "spec": {"hard": {"count/jobs.batch": "0"}},
    }
    plane.apply(quota)
    wait_for(
        "the quota holds",
        lambda: plane.get("quota", "no-jobs", "-n", namespace)["status"].get("used"),
    )
    plane.apply(service("tiny", namespace, **L4))
    (engine,) = wait_for("the engine's Deployment", lambda: engines(plane, namespace))
    assert flags(engine) == {"max-model-len": "4096"}
    wait_for("it says so", lambda: reason(plane, namespace) == ("Unknown", "FactsNotAllowed"))


def test_a_restart_keeps_the_plan(
    plane: ControlPlane, tmp_path: Path, namespace: str, readers: Readers
) -> None:
    plane.apply(service("tiny", namespace, **L4))
    (old,) = wait_for("the engine's Deployment", lambda: engines(plane, namespace))
    before = wait_for("its plan", lambda: status(plane, namespace).get("plan"))
    # Another operator in the same place, for which accelerators cost something else.
    dearer = {"nvidia-l4": {"resource": "nvidia.com/gpu", "hardware": {"pricePerHour": 77}}}
    config = {"accelerators": {"cpu": {}, **dearer}}
    with OperatorProcess(
        plane, tmp_path, "other", config={**config, "lease": {"name": "other"}}
    ) as other:
        wait_for("it leads", other.leads)
        wait_for("nothing moves", lambda: _quiet(plane, namespace))
        (kept,) = engines(plane, namespace)
        assert kept["metadata"]["generation"] == old["metadata"]["generation"]
        after = status(plane, namespace)["plan"]
        assert after["configuration"] == before["configuration"]
        assert after["revision"] == before["revision"]
    assert readers.seen.count(f"{namespace}/tiny") == 1


def test_a_model_that_was_overwritten_is_read_again_when_its_owner_says_so(
    plane: ControlPlane, readers: Readers, namespace: str
) -> None:
    def reread(word: str) -> None:
        plane.kubectl(
            *("annotate", "infer", "tiny", "-n", namespace, "--overwrite"),
            f"stoker.dev/reread-model={word}",
        )
        wait_for(
            f"{word} is read",
            lambda: status(plane, namespace)["model"].get("reread") == word,
        )

    given = {**L4, "model": {"uri": "pvc://models/overwritten"}}
    plane.apply(service("tiny", namespace, **given))
    plane.apply(service("second", namespace, **given))
    for name in ("tiny", "second"):
        wait_for(
            f"a plan of {name}",
            partial(lambda each: status(plane, namespace, each).get("plan"), name),
        )
    before = {name: status(plane, namespace, name) for name in ("tiny", "second")}
    (old,), (second,) = engines(plane, namespace), engines(plane, namespace, "second")

    reread("equal")
    assert status(plane, namespace)["plan"] == before["tiny"]["plan"]
    assert [each["metadata"]["name"] for each in engines(plane, namespace)] == [
        old["metadata"]["name"]
    ]

    readers.folders["overwritten"] = replace(TINY, digest="sha256:overwritten")
    wait_for("nothing moves", lambda: _quiet(plane, namespace))
    assert status(plane, namespace)["model"]["digest"] == TINY.digest  # nobody said so
    reread("changed")
    found = status(plane, namespace)
    assert found["model"]["digest"] == found["plan"]["inputs"]["model"] == "sha256:overwritten"
    assert found["revision"] != before["tiny"]["revision"]
    wait_for(
        "it rolls out",
        lambda: [
            each
            for each in engines(plane, namespace)
            if each["metadata"]["labels"]["stoker.dev/revision"] == found["revision"]
        ],
    )

    # The other service goes on as it was, and a third believes neither.
    wait_for("nothing moves", lambda: _quiet(plane, namespace))
    (kept,) = engines(plane, namespace, "second")
    assert kept["metadata"]["generation"] == second["metadata"]["generation"]
    assert status(plane, namespace, "second")["plan"] == before["second"]["plan"]
    plane.apply(service("third", namespace, **given))
    wait_for("a third plan", lambda: status(plane, namespace, "third").get("plan"))
    assert readers.seen.count(f"{namespace}/third") == 1
    assert status(plane, namespace, "third")["model"]["digest"] == "sha256:overwritten"


def test_the_next_plan_is_made_with_what_the_engines_reported(
    plane: ControlPlane, operator: OperatorProcess, namespace: str
) -> None:
    plane.apply(service("tiny", namespace, **L4))
    first = wait_for("its plan", lambda: status(plane, namespace).get("plan"))
    predicted = first["kvCacheTokens"]
    with Frontend() as frontend, Engine(kv_tokens=predicted * 8 // 10) as engine:
        # Garbage among its times costs nothing but the times.
        engine.times = "vllm:time_to_first_token_seconds_sum NaN\nvllm:num_preemptions_total -1\n"
        make_ready(plane, namespace, "tiny", Component.FRONTEND, frontend)
        make_ready(plane, namespace, "tiny", Component.ENGINE, engine)
        told = wait_for(
            "what was measured", lambda: status(plane, namespace)["plan"].get("measured")
        )
        (way,) = told["ways"]
        assert way["kv"] == pytest.approx(0.8, abs=0.01)
        assert (way["accelerator"], way["parallelism"]) == ("nvidia-l4", "1x1x1")
        assert told["model"] == "sha256:tiny"
        assert "itl" not in way
        # It restarts nothing, and nothing more is written.
        wait_for("nothing moves", lambda: _quiet(plane, namespace))
        assert status(plane, namespace)["plan"]["configuration"] == first["configuration"]
        (running,) = engines(plane, namespace)
        changed = {**L4, "optimization": {"batching": {"blockSize": 32}}}
        plane.apply(service("tiny", namespace, **changed))
        wait_for("another plan", lambda: _configuration(plane, namespace) != first["configuration"])
    second = status(plane, namespace)["plan"]
    assert second["measured"] == told
    assert second["kvCacheTokens"] == pytest.approx(0.8 * predicted, rel=0.02)
    whys = {each["name"]: each["why"] for each in second["techniques"]}
    assert "measured: 0.80 of the predicted KV cache" in whys["gpuMemoryUtilization"]
    assert {each["metadata"]["name"] for each in engines(plane, namespace)} > {
        running["metadata"]["name"]
    }
    assert operator.metric("stoker_reconcile_bugs_total") == 0


def _configuration(plane: ControlPlane, namespace: str) -> str:
    return str(status(plane, namespace)["plan"]["configuration"])


def _quiet(plane: ControlPlane, namespace: str) -> bool:
    before = operator_writes(plane, namespace)
    time.sleep(3)
    return operator_writes(plane, namespace) == before
