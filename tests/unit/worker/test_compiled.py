"""Compiled kernels go from one start to the next, whole or not at all."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import time
from pathlib import Path

import pytest

from stoker_worker.compiled import Compiled, key_of
from stoker_worker.contract import WorkerConfig
from stoker_worker.keeping import Keeper, keeper_of

KEY = "0123456789abcdef"
LIMIT = 10_000_000
KERNELS = {"vllm/torch_compile_cache/a/graph.py": b"graph", "triton/x/kernel.so": b"\x7fELF" * 9}


class Pods:
    """A volume, and pods that come and go."""

    def __init__(self, folder: Path) -> None:
        self.volume = folder / "volume"
        self.volume.mkdir()
        self._folder = folder
        self._number = 0

    def pod(self, key: str = KEY, limit: int = LIMIT) -> tuple[Compiled, Path]:
        self._number += 1
        local = self._folder / f"pod-{self._number}"
        local.mkdir()
        return Compiled(self.volume, local, key, limit), local

    def names(self) -> list[str]:
        return sorted(path.name for path in self.volume.iterdir())

    def kept(self, files: dict[str, bytes] | None = None) -> Path:
        """A snapshot that a pod has left."""
        compiled, local = self.pod()
        fill(local, KERNELS if files is None else files)
        assert "are kept" in compiled.save()
        (name,) = self.names()
        return self.volume / name

    def forged(self, *members: tarfile.TarInfo) -> Path:
        """A snapshot whose name is right and whose inside is not."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:") as archive:
            for member in members:
                archive.addfile(member, io.BytesIO(b"x" * member.size))
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        path = self.volume / f"{KEY}-{digest}.tar"
        path.write_bytes(buffer.getvalue())
        return path


@pytest.fixture
def pods(tmp_path: Path) -> Pods:
    return Pods(tmp_path)


def fill(local: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = local / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def content(local: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(local)): path.read_bytes()
        for path in sorted(local.rglob("*"))
        if path.is_file()
    }


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    info.size = 4 if kind == tarfile.REGTYPE else 0
    return info


def test_what_one_compiled_the_next_has(pods: Pods) -> None:
    compiled, local = pods.pod()
    assert compiled.restore().name == ""
    fill(local, KERNELS | {"triton/x/kernel.so.lock": b"", "vllm/tmp1": b"", "other": b"mine"})
    (local / "vllm" / "away").symlink_to("/etc/passwd")
    assert "2 files" in compiled.save()
    following, there = pods.pod()
    restored = following.restore()
    assert (restored.files, restored.fault, following.restored) == (2, "", True)
    assert content(there) == KERNELS
    assert following.save() == "", "nothing new was compiled"


def test_a_program_stays_one(pods: Pods) -> None:
    compiled, local = pods.pod()
    fill(local, KERNELS)
    (local / "triton/x/kernel.so").chmod(0o700)
    compiled.save()
    following, there = pods.pod()
    following.restore()
    assert os.access(there / "triton/x/kernel.so", os.X_OK)
    assert not (there / "vllm/torch_compile_cache/a/graph.py").stat().st_mode & 0o111


def test_what_is_new_replaces_what_was_there(pods: Pods) -> None:
    pods.kept()
    compiled, local = pods.pod()
    compiled.restore()
    fill(local, {"vllm/more": b"more"})
    assert "3 files" in compiled.save()
    assert len(pods.names()) == 1
    following, there = pods.pod()
    following.restore()
    assert content(there) == KERNELS | {"vllm/more": b"more"}


def test_other_hardware_has_its_own(pods: Pods) -> None:
    pods.kept()
    other, local = pods.pod(key="f" * 16)
    assert other.restore().name == ""
    fill(local, {"vllm/b": b"b"})
    other.save()
    assert len(pods.names()) == 2
    assert key_of("image", "l4", "1") != key_of("image", "h100", "1")
    assert key_of("image", "l4") == key_of("image", "l4")


def test_a_flipped_bit_is_not_used_and_goes(pods: Pods) -> None:
    snapshot = pods.kept()
    written = bytearray(snapshot.read_bytes())
    written[len(written) // 2] ^= 1
    snapshot.write_bytes(written)
    compiled, local = pods.pod()
    restored = compiled.restore()
    assert "is not what was written" in restored.fault
    assert not compiled.restored
    assert content(local) == {}
    assert pods.names() == []


@pytest.mark.parametrize(
    "bad",
    [
        member("../outside"),
        member("vllm/../../outside"),
        member("/etc/passwd"),
        member("vllm/link", tarfile.SYMTYPE, "/etc/passwd"),
        member("vllm/link", tarfile.LNKTYPE, "/etc/passwd"),
        member("vllm/pipe", tarfile.FIFOTYPE),
        member(".ssh/authorized_keys"),
        member("vllmish/file"),
    ],
    ids=lambda bad: f"{bad.name} {bad.type.decode()}",
)
def test_a_snapshot_that_leads_elsewhere_is_not_used(pods: Pods, bad: tarfile.TarInfo) -> None:
    pods.forged(member("vllm/good"), bad)
    compiled, local = pods.pod()
    assert "does not belong there" in compiled.restore().fault
    assert content(local) == {}
    assert pods.names() == []
    assert not (local.parent / "outside").exists()


def test_a_link_in_the_volume_is_not_followed(pods: Pods) -> None:
    snapshot = pods.kept()
    snapshot.rename(pods.volume.parent / "elsewhere")
    snapshot.symlink_to(pods.volume.parent / "elsewhere")
    compiled, _ = pods.pod()
    assert compiled.restore().fault
    assert not compiled.restored


def test_too_much_is_not_kept(pods: Pods) -> None:
    compiled, local = pods.pod(limit=10)
    fill(local, KERNELS)
    assert compiled.save() == "compiled kernels are not kept: 41 bytes, 10 are allowed"
    assert pods.names() == []
    pods.kept()
    small, _ = pods.pod(limit=10)
    assert "bytes" in small.restore().fault


def test_a_volume_that_cannot_be_used_costs_nothing(pods: Pods) -> None:
    compiled, local = pods.pod()
    pods.volume.rmdir()
    assert "No such file" in compiled.restore().fault
    fill(local, KERNELS)
    assert "are not kept: No such file" in compiled.save()


def test_a_container_that_starts_again_has_its_own(pods: Pods) -> None:
    pods.kept()
    compiled, local = pods.pod()
    fill(local, {"vllm/newer": b"newer"})
    assert compiled.restore().name == ""
    assert content(local) == {"vllm/newer": b"newer"}


def test_what_killed_pods_left_goes_in_time(pods: Pods) -> None:
    left, fresh = pods.volume / f".new-{KEY}-1", pods.volume / f".new-{KEY}-2"
    left.touch()
    fresh.touch()
    os.utime(left, (time.time() - 7200,) * 2)
    compiled, local = pods.pod()
    fill(local, KERNELS)
    compiled.save()
    assert not left.exists()
    assert fresh.exists()


def test_a_start_that_failed_gives_up_what_it_began_with(
    pods: Pods, capfd: pytest.CaptureFixture[str]
) -> None:
    pods.kept()
    compiled, local = pods.pod()
    Keeper(compiled, compiled.restore()).failed()
    assert "the next one goes without" in capfd.readouterr().err
    assert (pods.names(), content(local)) == ([], {})


def test_a_start_that_failed_without_takes_nothing_away(pods: Pods) -> None:
    compiled, _ = pods.pod()
    keeper = Keeper(compiled, compiled.restore())
    pods.kept()
    keeper.failed()
    assert len(pods.names()) == 1


def test_what_served_is_kept_and_a_later_end_takes_nothing(pods: Pods) -> None:
    compiled, local = pods.pod()
    fill(local, KERNELS)
    keeper = Keeper(compiled, compiled.restore(), later_s=0)
    keeper.serves()
    keeper.serves()
    assert keeper._thread is not None
    keeper._thread.join(60)
    keeper.failed()
    assert len(pods.names()) == 1


def test_nothing_is_kept_unless_somebody_said_for_whom() -> None:
    assert keeper_of(WorkerConfig("vllm", "/models/m", ["m"])) is None
