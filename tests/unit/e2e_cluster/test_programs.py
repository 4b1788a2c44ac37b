"""Where programs come from: the folder that was given, a checked download, else a build."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import tarfile
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from e2e.cluster import programs
from e2e.cluster.catalogue import KUBERNETES, PROGRAMS
from e2e.cluster.settings import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address at which a web server shows it."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield tmp_path, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def archive(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        file.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_versions_are_those_that_the_modules_pin() -> None:
    assert {PROGRAMS[name].version for name in KUBERNETES} == {"1.34.4"}
    assert PROGRAMS["kube-apiserver-oldest"].version.startswith("1.31.")
    assert PROGRAMS["kube-apiserver-newest"].version.startswith("1.36.")


def test_one_name_at_three_versions_lies_in_three_places() -> None:
    names = ("kube-apiserver", "kube-apiserver-oldest", "kube-apiserver-newest")
    assert len({PROGRAMS[name].path for name in names}) == len(names)
    assert {PROGRAMS[name].path.name for name in names} == {"kube-apiserver"}


def test_kubernetes_is_told_its_version() -> None:
    flags = PROGRAMS["kube-apiserver-newest"].linker_flags()
    assert "gitVersion=v1.36." in flags
    assert "gitMinor=36" in flags


def test_prometheus_is_told_its_release_and_discovers_kubernetes_alone() -> None:
    assert PROGRAMS["prometheus"].linker_flags().endswith("version.Version=3.15.0")
    assert (
        PROGRAMS["prometheus"].tags
        == PROGRAMS["promtool"].tags
        == "remove_all_sd,enable_kubernetes_sd"
    )


def test_a_given_folder_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOKER_CACHE_DIR", str(tmp_path / "cache"))
    assert programs.find("helm") is None
    given = tmp_path / "bin" / "helm"
    given.parent.mkdir()
    given.write_text("#!/bin/sh\n")
    given.chmod(0o755)
    monkeypatch.setenv("STOKER_BIN_DIR", str(given.parent))
    assert programs.ensure(["helm"]) == {"helm": given}


def test_a_download_is_checked_and_unpacked(site: tuple[Path, str]) -> None:
    folder, address = site
    content = archive("linux/helm", b"program")
    (folder / "helm.tgz").write_bytes(content)
    program = replace(PROGRAMS["helm"], url=f"{address}/helm.tgz", member="linux/helm")
    digest = hashlib.sha256(content).hexdigest()
    (folder / "helm.tgz.sha256sum").write_text(f"{digest}  helm.tgz\n")
    assert programs.download(program) == b"program"


def test_a_download_with_another_checksum_is_refused(site: tuple[Path, str]) -> None:
    folder, address = site
    (folder / "kubectl").write_bytes(b"tampered")
    (folder / "kubectl.sha256").write_text(hashlib.sha256(b"published").hexdigest())
    program = replace(PROGRAMS["kubectl"], url=f"{address}/kubectl")
    with pytest.raises(ClusterError, match="does not have the published SHA-256"):
        programs.download(program)


def test_a_host_that_does_not_answer_is_not_reachable() -> None:
    assert not programs.reachable("127.0.0.1:9")
