"""A pod that lands on a node before the model, as a real process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from stoker_worker.contract import AWAIT_COMMAND, ENV_TERMINATION_LOG
from tests.support.published import publish

if TYPE_CHECKING:
    from pathlib import Path


def begin(folder: Path, log: Path) -> subprocess.Popen[bytes]:
    log.touch()
    return subprocess.Popen(  # noqa: S603 - ours
        [sys.executable, *AWAIT_COMMAND[1:], str(folder)],
        env={**os.environ, ENV_TERMINATION_LOG: str(log)},
        stderr=subprocess.PIPE,
    )


def said(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stderr is not None
    with process.stderr:
        return process.stderr.readline()


def test_a_model_that_is_there_costs_nothing(folder: Path, tmp_path: Path) -> None:
    publish(folder)
    process = begin(folder, tmp_path / "log")
    assert process.wait(60) == 0
    assert said(process) == b""


def test_it_waits_for_the_model_and_tells_what_for(folder: Path, tmp_path: Path) -> None:
    process = begin(folder, tmp_path / "log")
    assert b"is not on this node yet" in said(process)
    time.sleep(1.2)
    assert process.poll() is None
    publish(folder)
    assert process.wait(60) == 0
    assert "until the model was on this node" in (tmp_path / "log").read_text()


def test_it_ends_when_it_is_asked_to(tmp_path: Path) -> None:
    process = begin(tmp_path / "nothing", tmp_path / "log")
    assert b"not on this node" in said(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
