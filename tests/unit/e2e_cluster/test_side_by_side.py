"""Files of tests go side by side, and whatever uses the cluster goes to one process."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from e2e.cluster import ClusterError, host

if TYPE_CHECKING:
    from pathlib import Path

FILE = """
import os, pathlib, pytest, time

@pytest.mark.parametrize("number", ["1", "e2e/2@x", "3"])
def test_that_takes_a_while(number):
    time.sleep(0.2)
    with pathlib.Path(__file__).with_suffix(".workers").open("a") as file:
        file.write(os.environ["PYTEST_XDIST_WORKER"])
"""


def test_all_phases_go_to_one_process_and_files_keep_together(
    pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    options = next(
        line.split(":=")[1].split()
        for line in pytestconfig.rootpath.joinpath("Makefile").read_text().splitlines()
        if line.startswith("SIDE_BY_SIDE :=")
    )
    files = [tmp_path / name for name in ("e2e/test_a.py", "e2e/test_b.py", "tests/test_c.py")]
    for path in files:
        path.parent.mkdir(exist_ok=True)
        path.write_text(FILE)
    command = (sys.executable, "-m", "pytest", "-p", "e2e.conftest", *options)
    env = {"PYTHONPATH": str(pytestconfig.rootpath), "PYTEST_ADDOPTS": ""}
    done = host.run(
        *command, "--import-mode=importlib", "tests", "e2e", cwd=tmp_path, check=False, env=env
    )
    assert "9 passed" in done.stdout, done.stdout + done.stderr
    first, second, other = (set(path.with_suffix(".workers").read_text()[2::3]) for path in files)
    assert len(first) == len(second) == len(other) == 1, "no file is divided"
    assert first == second != other


def test_the_second_that_wants_the_cluster_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(host, "LOCKS", tmp_path)
    with (
        host.lock("tests", "taken"),
        pytest.raises(ClusterError, match="taken"),
        host.lock("tests", "taken"),
    ):
        raise AssertionError("it is not free")
    with host.lock("tests", "taken"):
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())
