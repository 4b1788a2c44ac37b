"""Commands that go on until somebody ends them, at a terminal of their own and in a pipe.

`top` on its live screen, `logs --follow`, a talk that is cut, a service at zero that is asked, and
services that are deleted while somebody looks: the installed program, a real API server, and behind
it a stand-in for a kubelet.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stoker.commands.exits import Exit
from stoker.naming import Component, labels
from stoker.render.frontend_input import FrontendPorts
from tests.integration.operator.answering import Model
from tests.integration.operator.kubelet import Kubelet, add_pod
from tests.integration.operator.support import service, wait_for
from tests.support.controlplane import LOOPBACK
from tests.support.terminal import CTRL_C, CTRL_D, Terminal

if TYPE_CHECKING:
    from typing import Self

    from tests.support.controlplane import ControlPlane

pytestmark = pytest.mark.timeout(400)

STOKER = str(Path(sys.executable).parent / "stoker")
ENGINE, FRONTEND, LATER = "chat-engine-1", "chat-frontend-1", "chat-engine-2"
INTERRUPTED = 130
_NUMBERS = itertools.count(1)
# No second look comes by itself: what is seen was drawn for another reason.
RARELY = ("--interval", "1h")


@pytest.fixture
def served(plane: ControlPlane, kubelet: Kubelet) -> str:
    """A namespace with a service that has an engine and a frontend."""
    namespace = plane.namespace(f"terminal-{next(_NUMBERS)}")
    plane.apply(service("chat", namespace, scaling={"minReplicas": 0, "maxReplicas": 2}))
    add_pod(plane, namespace, ENGINE, labels("chat", Component.ENGINE, "r1"), "engine")
    add_pod(plane, namespace, FRONTEND, labels("chat", Component.FRONTEND), "envoy")
    kubelet.logs.clear()
    kubelet.ports.clear()
    return namespace


def at(
    plane: ControlPlane, *words: str, columns: int = 120, kubeconfig: Path | None = None, **env: str
) -> Terminal:
    """The program at a terminal."""
    where = {"KUBECONFIG": str(kubeconfig or plane.kubeconfig)}
    return Terminal([STOKER, *words], {**where, **env}, columns=columns)


class Follower:
    """The program with pipes."""

    def __init__(self, plane: ControlPlane, *words: str, kubeconfig: Path | None = None) -> None:
        where = {"KUBECONFIG": str(kubeconfig or plane.kubeconfig)}
        self.process = subprocess.Popen(  # noqa: S603 - our own program
            [STOKER, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **where},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def line(self) -> str:
        """The next line of its standard output; empty at its end."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def end(self) -> tuple[int, str]:
        """Exit status and standard error."""
        _, said = self.process.communicate(timeout=120)
        return self.process.returncode, said


def put(plane: ControlPlane, namespace: str, **status: Any) -> None:
    """Write the service's status in the operator's place."""
    path = f"/apis/stoker.dev/v1alpha1/namespaces/{namespace}/inferenceservices/chat/status"
    kind = "application/merge-patch+json"
    code, said = plane.request("PATCH", path, {"status": status}, kind=kind)
    assert code == 200, said


def remove(plane: ControlPlane, namespace: str, *pods: str) -> None:
    plane.kubectl("delete", "pod", *pods, "-n", namespace, "--force", "--grace-period=0")


def test_top_follows_its_window_and_gives_the_terminal_back(
    plane: ControlPlane, served: str
) -> None:
    with at(plane, "top", "-n", served, *RARELY) as terminal:
        terminal.wait_for("the table", lambda: "q ends" in "\n".join(terminal.frame))
        heads = terminal.frame[0].split()
        assert heads[:2] == ["SERVICE", "READY"]
        assert {"RUN", "$/H"} <= set(heads)
        assert "chat" in terminal.frame[1]
        # Nothing that is typed gets onto the screen, and only q and Ctrl-C mean something.
        terminal.type("hello\n")
        terminal.resize(20, 60)
        terminal.wait_for("the small window", lambda: max(map(len, terminal.frame)) <= 60)
        terminal.wait_for("all of it", lambda: "q ends" in "\n".join(terminal.frame))
        assert {"SERVICE", "READY", "QUEUE"} <= set(terminal.frame[0].split())
        assert "hello" not in terminal.text
        terminal.type(CTRL_C)
        assert terminal.end() == INTERRUPTED
        assert terminal.is_sane()
        assert "Traceback" not in terminal.text
        assert terminal.after.strip() in {"", "^C"}


def test_top_ends_by_a_key_and_has_no_colour_where_none_is_wanted(
    plane: ControlPlane, served: str
) -> None:
    put(plane, served, desiredReplicas=2, readyReplicas=0, queueDepth=3)
    with at(plane, "top", "-n", served, *RARELY, columns=60, NO_COLOR="1") as terminal:
        terminal.wait_for("the table", lambda: "q ends" in "\n".join(terminal.frame))
        assert max(map(len, terminal.frame)) <= 60
        assert "0/2" in terminal.frame[1]
        for colour in ("\x1b[3", "\x1b[1;3", "\x1b[9"):
            assert colour not in terminal.output
        terminal.type("q")
        assert terminal.end() == Exit.DONE
        assert terminal.is_sane()


def test_top_says_that_its_service_was_deleted(plane: ControlPlane, served: str) -> None:
    with at(plane, "top", "chat", "-n", served, "--interval", "1s") as terminal:
        terminal.wait_for("the table", lambda: "q ends" in "\n".join(terminal.frame))
        plane.kubectl("delete", "infer", "chat", "-n", served)
        assert terminal.end() == Exit.NOT_FOUND
        assert terminal.is_sane()
        assert f"{served}/chat was deleted meanwhile" in terminal.after


def test_a_terminal_without_a_cursor_gets_lines(plane: ControlPlane, served: str) -> None:
    with at(plane, "top", "-n", served, "--interval", "1s", TERM="dumb") as terminal:
        terminal.wait_for("two tables", lambda: terminal.text.count("SERVICE") >= 2)
        assert "\x1b" not in terminal.output
        terminal.type(CTRL_C)
        assert terminal.end() == INTERRUPTED
    put(plane, served, observedGeneration=1, desiredReplicas=1, readyReplicas=0)
    with at(plane, "wait", "chat", "-n", served, TERM="dumb") as terminal:
        terminal.wait_for("a line", lambda: "0 of 1 replicas ready" in terminal.text)
        terminal.type(CTRL_C)
        assert terminal.end() == INTERRUPTED
        assert "Traceback" not in terminal.text


def test_waiting_ends_when_the_service_is_deleted(plane: ControlPlane, served: str) -> None:
    put(plane, served, observedGeneration=1, desiredReplicas=1, readyReplicas=0)
    with at(plane, "wait", "chat", "-n", served) as terminal:
        terminal.wait_for("the bar", lambda: "0 of 1 replicas ready" in terminal.text)
        plane.kubectl("delete", "infer", "chat", "-n", served)
        assert terminal.end() == Exit.NOT_FOUND
        assert f"{served}/chat was deleted meanwhile" in terminal.text
        assert terminal.is_sane()


def test_logs_go_on_with_pods_that_come_and_without_those_that_go(
    plane: ControlPlane, kubelet: Kubelet, served: str
) -> None:
    kubelet.logs[ENGINE, "engine"] = "2026-01-01T00:00:01Z loading\n"
    kubelet.logs[FRONTEND, "envoy"] = ""
    with Follower(plane, "logs", "chat", "-n", served, "--follow") as logs:
        assert logs.line() == "engine-1 | loading"
        add_pod(plane, served, LATER, labels("chat", Component.ENGINE, "r1"), "engine")
        kubelet.logs[LATER, "engine"] = "2026-01-01T00:00:02Z hello\n"
        assert logs.line() == "engine-2 | hello"
        # A pod goes, and the others are heard as before.
        del kubelet.logs[ENGINE, "engine"]
        remove(plane, served, ENGINE)
        kubelet.logs[LATER, "engine"] += "2026-01-01T00:00:03Z and on\n"
        assert logs.line() == "engine-2 | and on"
        kubelet.logs[FRONTEND, "envoy"] += "2026-01-01T00:00:04Z request\n"
        assert logs.line() == "frontend-1 | request"
        logs.process.send_signal(signal.SIGINT)
        assert logs.end() == (INTERRUPTED, "")
    # With the service the pods go, and then there is nothing to wait for.
    with Follower(plane, "logs", "chat", "-n", served, "-f", "-o", "json") as logs:
        assert json.loads(logs.line())["pod"] in {LATER, FRONTEND}
        plane.kubectl("delete", "infer", "chat", "-n", served)
        kubelet.logs.clear()
        remove(plane, served, LATER, FRONTEND)
        status, said = logs.end()
        assert (status, "was deleted, and its pods are gone" in said) == (Exit.NOT_FOUND, True)


def test_following_without_the_right_to_logs_ends_and_names_it(
    plane: ControlPlane, kubelet: Kubelet, served: str
) -> None:
    kubelet.logs[ENGINE, "engine"] = "2026-01-01T00:00:01Z loading\n"
    lister = plane.user("lister")
    rights = ("--verb=get,list", "--resource=inferenceservices.stoker.dev,pods", "-n", served)
    plane.kubectl("create", "role", "list", *rights)
    plane.kubectl("create", "rolebinding", "list", "--role=list", "--user=lister", "-n", served)

    def refused() -> bool:
        with Follower(plane, "logs", "chat", "-n", served, "-f", kubeconfig=lister) as logs:
            status, said = logs.end()
        assert status == Exit.FORBIDDEN
        return "pods/log" in said

    wait_for("the right to list", refused)


def test_an_answer_is_cut_and_the_talk_goes_on(
    plane: ControlPlane, kubelet: Kubelet, served: str
) -> None:
    model = Model()
    model.held_within = True
    put(plane, served, readyReplicas=1)
    with model.serve():
        kubelet.ports[FRONTEND, FrontendPorts().api] = LOOPBACK, model.port
        with at(plane, "chat", "chat", "-n", served) as terminal:
            terminal.wait_for("the prompt", lambda: terminal.text.endswith("> "))
            terminal.type("tell me\n")
            terminal.wait_for("a piece", lambda: "TELL ME" in terminal.text)
            terminal.type(CTRL_C)
            terminal.wait_for("the cut", lambda: "(cut)\n> " in terminal.text)
            wait_for("the engine computes for nobody", lambda: model.cut)
            model.held_within = False
            terminal.type("go on\n")
            terminal.wait_for("an answer", lambda: "GO ON[31m!\n> " in terminal.text)
            # What was heard of the cut answer is part of the talk.
            said = [each["content"] for each in model.asked[-1]["messages"]]
            assert said == ["tell me", "TELL ME", "go on"]
            terminal.type(CTRL_C)
            terminal.wait_for("the hint", lambda: "(Ctrl-D ends the talk)\n> " in terminal.text)
            terminal.type(CTRL_D)
            assert terminal.end() == Exit.DONE
            assert "Traceback" not in terminal.text
            assert "Task" not in terminal.text


def test_a_service_at_zero_is_asked_and_says_what_it_waits_for(
    plane: ControlPlane, kubelet: Kubelet, served: str
) -> None:
    model = Model()
    model.held_before = True
    put(plane, served, observedGeneration=1, desiredReplicas=0, readyReplicas=0, replicas=0)
    with model.serve():
        kubelet.ports[FRONTEND, FrontendPorts().api] = LOOPBACK, model.port
        with Follower(plane, "chat", "chat", "wake up", "-n", served) as chat:
            wait_for("the question", lambda: model.asked)
            assert chat.process.stderr is not None
            told = chat.process.stderr.readline()
            assert "no replica runs, the question waits and wakes one" in told
            put(plane, served, desiredReplicas=1)
            told = chat.process.stderr.readline()
            assert "0 of 1 replicas ready" in told
            put(plane, served, readyReplicas=1)
            model.held_before = False
            assert chat.line() == "WAKE UP[31m!"
            assert chat.end()[0] == Exit.DONE
        # A cut question ends it with the status of an interrupt, and nobody computes any more.
        model.held_before, model.held_within = False, True
        with Follower(plane, "chat", "chat", "too long", "-n", served) as chat:
            wait_for("the question", lambda: len(model.asked) == 2)
            chat.process.send_signal(signal.SIGINT)
            status, said = chat.end()
            assert (status, "Traceback" in said) == (INTERRUPTED, False)
            wait_for("the engine computes for nobody", lambda: model.cut)
