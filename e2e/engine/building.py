"""Make a folder once, whole or not at all, whoever asks and however many ask at a time."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.cluster.progress import say
from e2e.cluster.settings import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class EngineBuildError(ClusterError):
    """A folder cannot be built; the message says why and what to do."""


def print_built(build: Callable[[], Path]) -> int:
    """Build, and print where it is or why it is not; the exit status of a command that does so."""
    try:
        print(build())
    except EngineBuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def build_once(final: Path, build: Callable[[Path], None]) -> Path:
    """Return `final`, having it built if it is not there.

    It is built under another name and renamed when it is whole, so whoever finds it can use it.
    What an interrupted build left is removed by the next one. A lock keeps a second process from
    paying for the same work; it waits and finds the folder.

    Parameters
    ----------
    final
        The folder.
    build
        Fills the empty folder that it is given.
    """
    if final.is_dir():
        return final
    home = final.parent
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EngineBuildError(
            f"Cannot write {home} ({error.strerror}): name another folder in STOKER_CACHE_DIR."
        ) from error
    with _only_builder(home / f".{final.name}.lock"):
        if final.is_dir():
            return final
        prefix = f".{final.name}."
        for leftover in home.glob(f"{prefix}building-*"):
            shutil.rmtree(leftover)
        building = Path(tempfile.mkdtemp(prefix=f"{prefix}building-", dir=home))
        try:
            build(building)
            building.chmod(0o755)  # mkdtemp's 0700 would lock out the user of the pod
            building.rename(final)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
    return final


@contextlib.contextmanager
def _only_builder(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"  another process builds {path.name.strip('.').removesuffix('.lock')}, waiting")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
