"""An engine that hangs but answers /health leaves rotation within 30 s and is gone within 150 s."""

from __future__ import annotations

import os
import signal
import time

import pytest

from e2e.models import PROMPTS
from e2e.prometheus import Prometheus
from e2e.stack import Stack, container_pids, is_ready, process_name
from e2e.traffic import Traffic, describe, lost

NAMESPACE = "demo"
NAME = "tiny"
TEXTS = tuple(prompt.text for prompt in PROMPTS)


@pytest.mark.timeout(420)
def test_hung_engine_is_taken_out_then_replaced(stack: Stack, fixed: str) -> None:
    pod = next(p for p in stack.engine_pods(NAME, NAMESPACE) if is_ready(p))
    uid, restarts = pod["metadata"]["uid"], restarts_of(pod)
    with Traffic(fixed, NAME, streams=0, unary=4, prompts=TEXTS, unary_tokens=32) as traffic:
        stack.wait_for(lambda: len(traffic.records()) > 8, "requests to flow", 60)
        cores = [pid for pid in container_pids(uid) if "EngineCore" in process_name(pid)]
        assert cores, "no EngineCore process to freeze"
        for pid in cores:
            os.kill(pid, signal.SIGSTOP)
        hung = time.monotonic()

        def current() -> dict[str, object]:
            return next(
                p for p in stack.engine_pods(NAME, NAMESPACE) if p["metadata"]["uid"] == uid
            )

        stack.wait_for(lambda: not is_ready(current()), "the hung engine to leave rotation", 30)
        left = time.monotonic() - hung
        stack.wait_for(lambda: restarts_of(current()) > restarts, "its restart", 150 - left)
        stack.wait_ready_engines(NAME, NAMESPACE, 1)
        records = traffic.finish()
    assert not lost(records), describe(lost(records))


@pytest.mark.timeout(420)
def test_an_alert_tells_of_it(prometheus: Prometheus) -> None:
    prometheus.wait_fired("StokerEngineHung", namespace=NAMESPACE, service=NAME)


def restarts_of(pod: dict[str, object]) -> int:
    statuses = pod["status"].get("containerStatuses", [])  # type: ignore[attr-defined]
    return sum(status["restartCount"] for status in statuses)
