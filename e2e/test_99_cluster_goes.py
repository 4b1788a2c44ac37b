"""The last test: the cluster goes without a trace, and comes back quickly.

It looks with other eyes than `down` itself does: at the machine's own lists, by the words that only
the cluster can have put there.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.cluster import components, lifecycle, processes, settings

if TYPE_CHECKING:
    from e2e.cluster import Cluster

# It takes 15 s on two idle cores; a machine that runs tests is seldom idle.
WARM_UP_SECONDS = 90.0
LISTS = (
    ("iptables-save",),
    ("ip6tables-save",),
    ("ipset", "list", "-name"),
    ("ip", "address"),
    ("ip", "route"),
    ("ip", "netns"),
)
WORDS = ("KUBE-", "CNI-", "kube-router", settings.BRIDGE, settings.NODE_ADDRESS, "veth")


def listed(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def command_lines() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue  # it ended while we looked
    return found


def test_the_cluster_goes_without_a_trace_and_comes_back(cluster: Cluster) -> None:
    if cluster.mode != "local":
        pytest.skip("this cluster is not ours to take away")
    state = str(settings.state())
    assert any(state in line for line in command_lines()), "nothing ran: nothing would be proved"
    assert any(word in listed("iptables-save") for word in WORDS)

    lifecycle.down()

    assert not [line for line in command_lines() if state in line]
    assert state not in Path("/proc/self/mountinfo").read_text()
    assert not settings.state().exists()
    assert not list(Path("/sys/fs/cgroup").glob("**/kubepods"))
    for command in LISTS:
        assert not [word for word in WORDS if word in listed(*command)], command
    lifecycle.down()  # and once more, which changes nothing

    began = time.monotonic()
    lifecycle.up()
    assert time.monotonic() - began <= WARM_UP_SECONDS
    assert cluster.get("nodes")["items"][0]["metadata"]["name"] == settings.NODE


def test_what_a_killed_cluster_left_is_cleared_whoever_owned_it(cluster: Cluster) -> None:
    """As after a power cut: nothing runs, everything else is still there."""
    if cluster.mode != "local":
        pytest.skip("this cluster is not ours to kill")
    pids = [pid for name in components.ORDER if (pid := processes.running(name))]
    assert len(pids) == len(components.ORDER)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    processes.end(pids)
    file = settings.state() / "owner.json"
    owner = json.loads(file.read_text())
    file.write_text(json.dumps({**owner, "checkout": "/a/checkout/that/is/gone"}))

    lifecycle.up()

    assert json.loads(file.read_text())["checkout"] == str(settings.REPOSITORY)
    assert cluster.get("nodes")["items"][0]["metadata"]["name"] == settings.NODE
