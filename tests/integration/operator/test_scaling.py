"""From a frontend's statistics to an engine pod, through the real control plane."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from stoker.naming import Component
from tests.integration.operator.pods import Engine, Frontend, make_ready
from tests.integration.operator.support import condition, operator_writes, service, wait_for

if TYPE_CHECKING:
    from tests.integration.operator.support import OperatorProcess
    from tests.support.controlplane import ControlPlane

pytestmark = pytest.mark.usefixtures("operator")


def engine_pods(plane: ControlPlane, namespace: str) -> int:
    selector = "stoker.dev/component=engine"
    return len(plane.get("pods", "-n", namespace, "-l", selector)["items"])


def test_the_first_held_request_wakes_a_service_at_zero(
    plane: ControlPlane, operator: OperatorProcess, namespace: str
) -> None:
    scaling = {"minReplicas": 0, "maxReplicas": 2, "scaleToZeroAfter": "10s"}
    with Frontend() as frontend, Engine() as engine:
        # Silence is not zero, and not a reason to wake either.
        frontend.body = "<html>upstream connect error</html>"
        plane.apply(service("tiny", namespace, scaling=scaling))
        make_ready(plane, namespace, "tiny", Component.FRONTEND, frontend)

        def scaling_reason() -> str:
            return str((condition(plane, (namespace, "tiny"), "ScalingActive") or {})["reason"])

        wait_for("MetricsMissing", lambda: scaling_reason() == "MetricsMissing")
        frontend.body = ""
        wait_for("FollowsQueue", lambda: scaling_reason() != "MetricsMissing")
        # Whoever asked for a replica gets to use it: a start is no idleness, however long it takes.
        time.sleep(12)
        assert engine_pods(plane, namespace) == 1
        make_ready(plane, namespace, "tiny", Component.ENGINE, engine)
        wait_for("it goes to zero", lambda: engine_pods(plane, namespace) == 0, 45)
        time.sleep(2)
        settled = operator_writes(plane, namespace)
        time.sleep(3)
        assert operator_writes(plane, namespace) == settled
        assert engine_pods(plane, namespace) == 0

        frontend.request()
        held = time.monotonic()
        wait_for("an engine pod", lambda: engine_pods(plane, namespace) == 1, 10)
        assert time.monotonic() - held < 5  # the benchmark has the real number
        frontend.body = None
        time.sleep(4)
        assert engine_pods(plane, namespace) == 1
        assert (operator.metric("stoker_load_sample_age_seconds") or 0) < 5
