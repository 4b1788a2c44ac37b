"""What engines at work lack is told in the status, through the real control plane, and not done."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from stoker.naming import Component
from tests.integration.operator.pods import Engine, Frontend, make_ready
from tests.integration.operator.support import (
    OperatorProcess,
    condition,
    least_rights,
    operator_writes,
    service,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.controlplane import ControlPlane

pytestmark = pytest.mark.timeout(300)  # six windows pass

SPEC: dict[str, Any] = {
    "accelerator": {"types": ["nvidia-l4"], "perReplica": 1},
    "context": {"maxModelLen": 4096},
    "optimization": {"batching": {"maxNumSeqs": 2}},
    "scaling": {"minReplicas": 1, "maxReplicas": 1},
}
# What the operator writes because of a look at a service at work: its status, what is learned.
LOOKS = ("/status", "/events", "-learned")


class Working(Engine):
    """An engine that ends fifty requests from one look to the next."""

    def __init__(self) -> None:
        super().__init__()
        self._looks = itertools.count(1)

    def answer(self) -> str:
        ended = 50 * next(self._looks)
        counted = {
            "time_to_first_token_seconds_count": ended,
            "time_to_first_token_seconds_sum": 0.1 * ended,
            "inter_token_latency_seconds_count": 255 * ended,
            "inter_token_latency_seconds_sum": 255 * ended * 0.01,
            "request_generation_tokens_count": ended,
            "request_generation_tokens_sum": 256 * ended,
            "request_queue_time_seconds_sum": 1.0 * ended,
            "request_prompt_tokens_sum": 1024 * ended,
        }
        self.times = "".join(f'vllm:{n}{{engine="0"}} {value}\n' for n, value in counted.items())
        # A load that differs from look to look is looked at in every pass.
        self.waiting = 3 + ended // 50 % 2 if self.running == 2 else 0
        return super().answer()


@pytest.fixture
def operator(plane: ControlPlane, tmp_path: Path) -> Iterator[OperatorProcess]:
    config = {"proposals": {"windowSeconds": 5}, "lease": {"name": "proposals"}}
    with OperatorProcess(plane, tmp_path, config=config, kubeconfig=least_rights(plane)) as process:
        wait_for("the operator leads", process.leads)
        yield process


def test_full_places_are_told_and_nothing_is_changed_for_them(
    plane: ControlPlane, operator: OperatorProcess, namespace: str
) -> None:
    def plan() -> dict[str, Any]:
        found = plane.get("infer", "tiny", "-n", namespace).get("status", {})
        return dict(found.get("plan") or {})

    def engine() -> dict[str, Any]:
        selector = "stoker.dev/component=engine,stoker.dev/service=tiny"
        (found,) = plane.get("deployments", "-n", namespace, "-l", selector)["items"]
        return dict(found)

    plane.apply(service("tiny", namespace, **SPEC))
    before = wait_for("its plan", plan)
    assert before["maxNumSeqs"] == 2
    with Frontend() as frontend, Working() as page:
        page.running, page.cache = 2, 0.01
        make_ready(plane, namespace, "tiny", Component.FRONTEND, frontend)
        make_ready(plane, namespace, "tiny", Component.ENGINE, page)
        wait_for(
            "it serves",
            lambda: (
                (condition(plane, (namespace, "tiny"), "Progressing") or {}).get("reason")
                == "Settled"
            ),
        )
        runs = engine()
        written = len(operator_writes(plane, namespace))
        (told,) = wait_for("a proposal", lambda: plan().get("proposals"))
        assert told["reason"] == "PlacesFull"
        field, value = told["change"].split(": ")
        assert field == "optimization.batching.maxNumSeqs"
        assert int(value) > 2
        assert told["why"].startswith("you set 2; all 2 places taken, requests wait 100 %")
        assert "tokens/s" in told["gain"]
        events = wait_for("an Event", lambda: _events(plane, namespace, "PlacesFull"))
        assert told["change"] in events[0]["message"]
        assert engine()["spec"] == runs["spec"]
        assert plan()["configuration"] == before["configuration"]
        others = operator_writes(plane, namespace)[written:]
        assert [uri for _, uri in others if not uri.split("?")[0].endswith(LOOKS)] == []

        page.cache, page.running = 0.005, 1  # requests are as long as before
        wait_for("it goes", lambda: "proposals" not in plan())
        assert [each["message"] for each in _events(plane, namespace, "PlacesFull")][1:] == []

        # The user takes it by writing the field; that is a plan of its own.
        page.cache, page.running = 0.01, 2
        wait_for("it is there again", lambda: plan().get("proposals"))
        taken = {**SPEC, "optimization": {"batching": {"maxNumSeqs": int(value)}}}
        plane.apply(service("tiny", namespace, **taken))
        wait_for("another plan", lambda: plan().get("maxNumSeqs") == int(value))
        assert "proposals" not in plan()
    assert operator.metric("stoker_reconcile_bugs_total") == 0


def _events(plane: ControlPlane, namespace: str, reason: str) -> list[dict[str, Any]]:
    found = plane.get("events", "-n", namespace)["items"]
    return [each for each in found if each["reason"] == reason]
