"""Each refusal is one sentence that names the cause and the way out."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from e2e.cluster import host, images, owner, processes, programs
from e2e.cluster.__main__ import main
from e2e.cluster.catalogue import PROGRAMS
from e2e.cluster.connection import connect
from e2e.cluster.settings import ClusterError


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STOKER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("STOKER_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "state"


def test_another_system_is_refused() -> None:
    with pytest.raises(ClusterError, match=r"needs Linux, this is darwin.*CLUSTER=current"):
        host.check_system("darwin", user=0)


def test_another_user_than_root_is_refused() -> None:
    with pytest.raises(ClusterError, match=r"started by root.*sudo"):
        host.check_system("linux", user=1000)


def test_a_short_disk_is_refused_also_for_folders_to_be_made(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"GiB free and needs 999999.*STOKER_CACHE_DIR"):
        host.check_disk([tmp_path / "not" / "yet"], minimum_gib=999999)
    host.check_disk([tmp_path / "not" / "yet"], minimum_gib=0)


def test_a_taken_port_is_refused_by_the_name_of_who_needs_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ClusterError, match=rf"Port {port} .* which etcd needs, is taken"):
            host.check_ports({"etcd": ("127.0.0.1", port)})
    host.check_ports({"etcd": ("127.0.0.1", port)})


def test_a_second_checkout_hears_of_the_first_and_may_not_claim(state: Path) -> None:
    owner.claim(Path("/src/first"))
    owner.claim(Path("/src/first"))
    for refused in (owner.check, owner.claim):
        with pytest.raises(ClusterError, match=r"belongs to the checkout /src/first: .*--force"):
            refused(Path("/src/second"))
    assert (state / "owner.json").exists()


def test_the_command_line_prints_one_sentence_and_no_traceback(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["cluster", "logs", "etcd"])
    assert main() == 1
    said = capsys.readouterr().err
    assert said.startswith("error: There is no log of etcd")
    assert said.count("\n") == 1
    assert not state.exists()


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ClusterError, match=r"CLUSTER is 'remote': say `local`"):
        connect("remote")


def test_a_current_cluster_without_a_registry_says_which_images_are_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("REGISTRY", raising=False)
    monkeypatch.setenv("STOKER_IMAGE_WORKER", "registry.example/worker:1")
    with pytest.raises(ClusterError, match=r"and operator, engine-base are missing: set REGISTRY="):
        images.ensure_images(mode="current")


def test_a_current_cluster_takes_the_addresses_that_are_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OPERATOR", "WORKER", "ENGINE_BASE"):
        monkeypatch.setenv(f"STOKER_IMAGE_{name}", f"registry.example/{name.lower()}:1")
    found = images.ensure_images(mode="current")
    assert found["engine-base"] == "registry.example/engine_base:1"
    assert found["epp"].startswith("registry.k8s.io/")


def test_a_build_that_fails_names_the_program_and_the_way_out(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = state / "go"
    fake.parent.mkdir(parents=True)
    fake.write_text("#!/bin/sh\necho proxy refused >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr(programs, "ensure_go", lambda: fake)
    with pytest.raises(ClusterError, match=r"etcd 3\.6\.5 could not be built.*proxy refused"):
        programs.build(PROGRAMS["etcd"])


@pytest.mark.usefixtures("state")
def test_a_part_that_dies_is_reported_with_its_last_words() -> None:
    processes.start("kubelet", ["sh", "-c", "echo no such cgroup; exit 3"])
    with pytest.raises(ClusterError, match=r"kubelet ended at once.*no such cgroup"):
        processes.wait_for("kubelet", lambda: False, 5)


@pytest.mark.usefixtures("state")
def test_a_part_is_started_once_and_ended_by_its_own_pid() -> None:
    assert processes.start("sleeper", ["sleep", "60"])
    assert not processes.start("sleeper", ["sleep", "60"])
    pid = processes.running("sleeper")
    assert pid is not None
    assert os.getsid(pid) == pid, "it would end with our shell"
    processes.stop("sleeper")
    assert processes.running("sleeper") is None


def test_a_pid_that_now_belongs_to_a_stranger_counts_for_nothing(state: Path) -> None:
    file = state / "run" / "etcd.pid"
    file.parent.mkdir(parents=True)
    file.write_text(f"{os.getpid()} 1")
    assert processes.running("etcd") is None
    processes.stop("etcd")  # and ends nobody: we are still here
    assert not file.exists()
