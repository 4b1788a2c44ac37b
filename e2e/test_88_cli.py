"""The commands of people on a real service: a kubelet, pods that write, an engine that answers.

Whatever needs no pod is tested before a real API server (tests/integration/operator).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stoker.commands.exits import Exit

if TYPE_CHECKING:
    from e2e.stack import Stack

NAMESPACE, NAME = "demo", "tiny"
BIN = Path(sys.executable).parent


class Commands:
    """`kubectl stoker …` as it is installed."""

    def __init__(self, stack: Stack) -> None:
        self._env = {**os.environ, "KUBECONFIG": str(stack.cluster.kubeconfig), "COLUMNS": "200"}

    def run(
        self, *words: str, stdin: str = "", good: Exit = Exit.DONE
    ) -> subprocess.CompletedProcess[str]:
        """Run one to its end; the exit status has to be `good`."""
        done = subprocess.run(
            [str(BIN / "kubectl-stoker"), *words, "-n", NAMESPACE],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
            env=self._env,
        )
        assert done.returncode == good, f"{words}: {done.stdout}{done.stderr}"
        return done

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Start one; whoever starts it ends it."""
        return subprocess.Popen(
            [str(BIN / "kubectl-stoker"), *words, "-n", NAMESPACE],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            env=self._env,
        )


@pytest.fixture
def commands(stack: Stack, fixed: str) -> Commands:
    del fixed  # one replica that answers
    return Commands(stack)


def test_waiting_for_what_is_there_ends_at_once(commands: Commands) -> None:
    assert "answers" in commands.run("wait", NAME, "--timeout", "120s").stdout
    commands.run("wait", "nosuch", "--timeout", "5s", good=Exit.NOT_FOUND)


def test_logs_are_of_engine_and_frontend(commands: Commands) -> None:
    told = commands.run("logs", NAME, "-o", "json", "--tail", "-1").stdout
    lines = [json.loads(line) for line in told.splitlines()]
    assert {"engine"} <= {each["component"] for each in lines}
    assert any("/models/" in each["line"] for each in lines)
    assert [each["time"] for each in lines] == sorted(each["time"] for each in lines)


def test_a_question_is_answered_and_top_has_seen_it(commands: Commands) -> None:
    asked = ("chat", NAME, "--max-tokens", "8", "--temperature", "0", "-o", "json")
    told = json.loads(commands.run(*asked, stdin="Once upon a time").stdout)
    assert told["answer"]
    assert told["usage"]["completion_tokens"] <= 8
    answer = json.loads(commands.run("top", NAME, "-o", "json").stdout)
    (row,) = answer["services"]
    assert answer["notes"] == []
    assert row["ready"] == 1
    assert row["running"] is not None
    assert row["kvCache"] is not None
    assert row["requestsPerSecond"] is not None
    assert NAME in commands.run("top", "--once").stdout


@pytest.mark.timeout(900)
def test_a_benchmark_measures_and_goes(commands: Commands, stack: Stack) -> None:
    load = ("--requests", "6", "--concurrency", "2", "--input-tokens", "16", "--output-tokens", "4")
    told = json.loads(commands.run("bench", NAME, *load, "--timeout", "10m", "-o", "json").stdout)
    assert (told["completed"], told["failed"]) == (6, 0)
    assert told["seconds"]["ttft"]["p50"] > 0
    stack.wait_for(
        lambda: not stack.list("jobs", NAMESPACE, "stoker.dev/bench"), "the job to go", 120
    )


def test_why_and_doctor_agree_that_it_is_well(commands: Commands) -> None:
    assert "1 replica is wanted, 1 answers" in commands.run("why", NAME).stdout
    commands.run("doctor", NAME)
