"""KEDA's calls, made with KEDA's own messages by a program built from its Go module."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from e2e.cluster import programs
from e2e.cluster.host import run
from stoker.naming import Component
from tests.integration.external.conftest import documented, telling
from tests.integration.operator.pods import Engine, Frontend, make_ready
from tests.integration.operator.support import service, wait_for

if TYPE_CHECKING:
    from tests.integration.external.conftest import Telling
    from tests.support.controlplane import ControlPlane

SOURCES = Path(__file__).parent / "keda"
BUILD_SECONDS = 900


class Keda:
    """The program, beside one operator."""

    def __init__(self, program: Path, address: str, *options: str) -> None:
        self._program = program
        self._options = options
        self.address = address

    def command(self, call: str, namespace: str, metadata: dict[str, str]) -> list[str]:
        return [
            *(str(self._program), *self._options, self.address, call, namespace),
            json.dumps(metadata),
        ]

    def ask(self, call: str, namespace: str, metadata: dict[str, str]) -> dict[str, Any]:
        """One answer, or code and message of an error."""
        answer: dict[str, Any] = json.loads(run(*self.command(call, namespace, metadata)).stdout)
        return answer


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built anew each time: Go's own cache makes that a second."""
    target = tmp_path_factory.mktemp("keda") / "keda"
    run(
        *(programs.ensure_go(), "build", "-o", target, "."),
        cwd=SOURCES,
        env=programs.go_environment(),
        timeout=BUILD_SECONDS,
    )
    return target


@pytest.fixture
def keda(program: Path, operator: Telling) -> Keda:
    return Keda(program, operator.keda)


@pytest.fixture
def trigger() -> dict[str, str]:
    """The metadata that users are shown."""
    [trigger] = documented("ScaledObject")["spec"]["triggers"]
    assert trigger["type"] == "external-push"
    metadata: dict[str, str] = trigger["metadata"]
    return metadata


class Stream:
    """What StreamIsActive has said so far."""

    def __init__(self, command: list[str], log: Path) -> None:
        self._log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(command, stdout=file)  # noqa: S603

    def said(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.mark.timeout(BUILD_SECONDS + 120)
def test_a_service_at_zero_is_pushed_and_counted(
    plane: ControlPlane, keda: Keda, namespace: str, trigger: dict[str, str], tmp_path: Path
) -> None:
    with Frontend() as frontend, Engine() as engine:
        plane.apply(service("chat", namespace, replicas=0))
        # The frontend does not answer yet, so nobody knows anything, and nobody says zero.
        unknown = wait_for(
            "the service is known",
            lambda: (
                answer
                if (answer := keda.ask("GetMetrics", namespace, trigger))["code"] != "NotFound"
                else None
            ),
        )
        assert unknown["code"] == "Unavailable"
        assert "no frontend pod is ready" in unknown["message"]
        make_ready(plane, namespace, "chat", Component.FRONTEND, frontend)
        inactive = {"result": False}
        wait_for("a zero", lambda: keda.ask("IsActive", namespace, trigger) == inactive)
        stream = Stream(keda.command("StreamIsActive", namespace, trigger), tmp_path / "stream")
        try:
            wait_for("the present", lambda: stream.said() == [inactive])
            frontend.request()
            wait_for("a push", lambda: stream.said() == [inactive, {"result": True}])
            # KEDA would set one replica now.
            plane.kubectl("scale", "infer", "chat", "-n", namespace, "--replicas=1")
            make_ready(plane, namespace, "chat", Component.ENGINE, engine)
            frontend.active, engine.running = 0, 20

            def value(metric: str) -> object:
                answer = keda.ask("GetMetrics", namespace, {**trigger, "metric": metric})
                return [each["metricValueFloat"] for each in answer.get("metricValues", ())]

            wait_for("what is computed", lambda: value("inProgress") == [20])
            assert value("queueDepth") == [0]
            assert value("running") == [20]
            # An empty queue is no idleness: whoever scaled to zero now would cut answers.
            asked = {**trigger, "metric": "queueDepth"}
            assert keda.ask("IsActive", namespace, asked) == {"result": True}

            # Silence is no zero: an error, on which KEDA keeps the replicas or falls back.
            engine.body = "<html>upstream connect error</html>"
            wait_for("no value", lambda: value("inProgress") == [])
            lost = keda.ask("GetMetrics", namespace, trigger)
            assert lost["code"] == "Unavailable"
            assert "engine pod chat-engine" in lost["message"]
            engine.body, engine.running = "", 0
            wait_for("idle again", lambda: stream.said()[-1] == inactive)
        finally:
            stream.close()


def test_the_example_is_what_keda_accepts(plane: ControlPlane, namespace: str) -> None:
    folder = run(
        *(programs.ensure_go(), "list", "-m", "-f", "{{.Dir}}", "github.com/kedacore/keda/v2"),
        cwd=SOURCES,
        env=programs.go_environment(),
    ).stdout.strip()
    plane.apply((Path(folder) / "config/crd/bases/keda.sh_scaledobjects.yaml").read_text())
    plane.kubectl("wait", "--for=condition=Established", "crd/scaledobjects.keda.sh")
    example = documented("ScaledObject")
    example["metadata"]["namespace"] = namespace
    wait_for(
        "the kind is served",
        lambda: plane.try_kubectl("get", "scaledobjects", "-n", namespace).returncode == 0,
    )
    plane.apply(example, "--validate=strict")


@pytest.mark.timeout(BUILD_SECONDS + 120)
def test_targets_and_mistakes_are_answered_in_words(
    plane: ControlPlane, keda: Keda, namespace: str, trigger: dict[str, str]
) -> None:
    [spec] = keda.ask("GetMetricSpec", namespace, trigger)["metricSpecs"]
    target = float(trigger["target"])
    assert spec == {
        "metricName": trigger["metric"],
        "targetSize": str(int(target)),
        "targetSizeFloat": target,
    }
    for change, code, words in (
        ({"service": "nobody"}, "NotFound", "no InferenceService 'nobody' in the namespace "),
        ({"service": ""}, "InvalidArgument", "metadata.service: is missing"),
        ({"metric": "load"}, "InvalidArgument", "metadata.metric: 'load' is unknown"),
        ({"target": "none"}, "InvalidArgument", "metadata.target: 'none' is no number"),
    ):
        for call in ("IsActive", "StreamIsActive", "GetMetrics"):
            answer = keda.ask(call, namespace, {**trigger, **change})
            assert answer["code"] == code, (call, answer)
            assert words in answer["message"]
    # What the protocol leaves optional, KEDA does without.
    assert keda.ask("StreamMetricSpec", namespace, trigger)["code"] == "Unimplemented"
    # A service of another namespace is none of this trigger's business.
    plane.apply(service("chat", namespace, replicas=0))
    other = plane.namespace(f"{namespace}-other")
    assert keda.ask("IsActive", other, trigger)["code"] == "NotFound"


@pytest.mark.timeout(BUILD_SECONDS + 120)
def test_a_fixed_service_is_sampled_while_somebody_asks_in_whichever_replica(
    plane: ControlPlane,
    operator: Telling,
    keda: Keda,
    program: Path,
    namespace: str,
    trigger: dict[str, str],
    tmp_path: Path,
) -> None:
    with Frontend() as frontend:
        plane.apply(service("chat", namespace, replicas=0))
        make_ready(plane, namespace, "chat", Component.FRONTEND, frontend)
        standby = telling(plane, tmp_path, "operator-b")
        with standby.process as process:
            wait_for("the cluster is known", process.is_ready)
            assert not process.leads()
            beside = Keda(program, standby.keda)
            wait_for(
                "the standby knows it too",
                lambda: beside.ask("IsActive", namespace, trigger) == {"result": False},
            )
            stream = Stream(
                beside.command("StreamIsActive", namespace, trigger), tmp_path / "stream"
            )
            try:
                wait_for("the present", lambda: stream.said() == [{"result": False}])
                frontend.request()
                wait_for("a push", lambda: stream.said()[-1] == {"result": True})
            finally:
                stream.close()
            answers = [each.ask("GetMetrics", namespace, trigger) for each in (keda, beside)]
            assert answers[0] == answers[1]
            assert answers[0]["metricValues"][0]["metricValueFloat"] == 1
            # The standby takes over and answers by itself.
            operator.process.stop()
            wait_for("the standby leads", process.leads)
            wait_for(
                "the new leader samples",
                lambda: "metricValues" in beside.ask("GetMetrics", namespace, trigger),
            )
            operator.process.start()
        wait_for("the first operator leads again", operator.process.leads)
