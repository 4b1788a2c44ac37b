"""The Python source of the engine that production runs, to be read and never installed.

The tests' engine is the newest build for CPU; the image that the chart names is newer. What a plan
tells that image can be compared with its source, which its source distribution holds: 47 MB, where
installing it would take some ten gigabytes and a GPU.

pip fetches it, so that every setting of the package index holds, and checks the committed hash. pip
also wants the distribution's metadata, for which vLLM's own build backend imports torch; a backend
of a few lines answers instead, so nothing of the distribution is run.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from e2e.cluster.progress import Progress
from e2e.cluster.settings import cache
from e2e.engine.building import EngineBuildError, build_once

_PIN = Path(__file__).with_name("production.txt")
_TIMEOUT_S = 600

_BACKEND = """
from pathlib import Path

def get_requires_for_build_wheel(config_settings=None):
    return []

def prepare_metadata_for_build_wheel(folder, config_settings=None):
    info = Path(folder) / "vllm-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: vllm\\nVersion: {version}\\n")
    return info.name

def build_wheel(folder, config_settings=None, metadata_directory=None):
    raise RuntimeError("this source is only read")
"""
"""Stands in for `setuptools.build_meta`, which vLLM's pyproject.toml names."""


def production_version() -> str:
    """Return the pinned version."""
    found = re.search(r"^vllm==(\S+)", _PIN.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise EngineBuildError(f"{_PIN} pins no version of vllm")
    return found.group(1)


def ensure_production_source() -> Path:
    """Fetch the source unless it is there.

    Returns
    -------
    pathlib.Path
        A folder with the package `vllm` in it: its Python files, nothing compiled.

    Raises
    ------
    EngineBuildError
        If no index has it, or what it has is not what was pinned.
    """
    digest = hashlib.sha256(_PIN.read_bytes()).hexdigest()[:12]
    return build_once(cache() / "engine-source" / digest, _build)


def _build(target: Path) -> None:
    with (
        Progress(f"Fetch the source of vLLM {production_version()}"),
        tempfile.TemporaryDirectory() as scratch,
    ):
        archive = _download(Path(scratch))
        with tarfile.open(archive) as content:
            for member in content:
                # vllm-0.33.0/vllm/config/cache.py → vllm/config/cache.py
                _, _, member.name = member.name.partition("/")
                if member.isfile() and re.fullmatch(r"vllm/.*\.py", member.name):
                    content.extract(member, target, filter="data")
    if not (target / "vllm" / "engine" / "arg_utils.py").is_file():
        raise EngineBuildError(f"{archive.name} has no vllm/engine/arg_utils.py")


def _download(scratch: Path) -> Path:
    backend = scratch / "backend" / "setuptools"
    backend.mkdir(parents=True)
    (backend / "__init__.py").touch()
    text = _BACKEND.replace("{version}", production_version())
    (backend / "build_meta.py").write_text(text, encoding="utf-8")
    command = [
        *_pip(),
        "download",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-binary=vllm",
        "--require-hashes",
        f"--requirement={_PIN}",
        f"--dest={scratch}",
    ]
    environment = {**os.environ, "PYTHONPATH": str(backend.parent)}
    try:
        done = subprocess.run(
            command, check=False, env=environment, capture_output=True, text=True,
            timeout=_TIMEOUT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise EngineBuildError(f"pip did not fetch vLLM's source in {_TIMEOUT_S} s") from error
    found = list(scratch.glob("vllm-*.tar.gz"))
    if done.returncode or not found:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise EngineBuildError(
            f"pip could not fetch the source of vLLM {production_version()}: the package index "
            f"that pip is set to (PIP_INDEX_URL) must have its source distribution.\n{last}"
        )
    return found[0]


def _pip() -> list[str]:
    """The pip beside the project's uv, or one that uv brings."""
    own = cache() / "tools" / "bin" / "pip"
    if own.exists():
        return [str(own)]
    uv = shutil.which("uv")
    if uv is None:
        raise EngineBuildError("neither pip nor uv is here; `pip install uv` installs uv")
    return [uv, "tool", "run", "pip"]
