"""The volume's layout, as `cachecontract` draws it, and the few steps that change it.

Each step is one rename or can be made again: a job that is killed anywhere leaves a volume on which
the next one goes on. What readers see is `models/NAME`, and it changes in three ways only:

    publish     partial/NAME becomes models/NAME, whole
    put_aside   a bad file leaves it for quarantine, at once: none is better than a bad one
    put_back    its good copy comes from partial, over what is there

A reader that has an old file open keeps its bytes; nothing is ever written into a published file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stoker_worker.cachecontract import COMPILED, MANIFEST, MODELS, STATE, FetchReason
from stoker_worker.fetch.errors import FetchError
from stoker_worker.fetch.folder import Folder, failed
from stoker_worker.manifest import Manifest, ManifestError, path_fault, read_manifest

PARTIAL = "partial"
QUARANTINE = "quarantine"
LOCKS = "locks"
TRASH = "trash"  # what is on its way out: renamed here, so that no reader sees half of it
JOURNAL = ".journal"  # beside partial/NAME, not in it: what is in there is published
# People look at what was put aside within a week, or never.
QUARANTINE_S = 7 * 86400.0
_BUSY = {errno.EACCES, errno.EAGAIN}


class Volume:
    """The volume of one or of several caches."""

    def __init__(self, root: Folder) -> None:
        self.root = root
        self.models = root.child(MODELS, create=True)
        self.compiled = root.child(COMPILED, create=True)
        state = root.child(STATE, create=True)
        self.partials = state.child(PARTIAL, create=True)
        self.quarantine = state.child(QUARANTINE, create=True)
        self._locks = state.child(LOCKS, create=True)
        self._trash = state.child(TRASH, create=True)

    @staticmethod
    def open(path: Path) -> Volume:
        """Open it, and make the folders that it lacks; FetchError (VolumeFailed)."""
        return Volume(Folder.open(path))

    @contextmanager
    def locked(self, name: str, wait: Callable[[], None]) -> Iterator[None]:
        """Be the one who writes a model; `wait` is called, again and again, while another is.

        A lock of the kernel's and not a file that is there: whoever dies lets go of it, also on
        another machine.
        """
        path = self._locks.path / name
        try:
            descriptor = self._locks.open_file(name, os.O_RDWR, create=True)
        except OSError as error:
            raise failed(path, error) from error
        try:
            while not _try_lock(descriptor, path):
                wait()
            yield
        finally:
            os.close(descriptor)

    def published(self, name: str) -> Folder | None:
        """The model's folder, if there is one. What is no folder there is put aside."""
        if self.models.state(name) is None:
            return None
        if self.models.is_folder(name):
            return self.models.child(name)
        self.models.move(name, self.quarantine, f"{name}/{_stamp()}-{name}")
        return None

    def partial(self, name: str) -> Folder:
        """The folder of a model on its way."""
        if self.partials.state(name) is not None and not self.partials.is_folder(name):
            self.partials.remove(name)
        return self.partials.child(name, create=True)

    def publish(self, name: str, manifest: Manifest) -> Folder:
        """Show a whole model to readers, in one step. Its files are on the disk already."""
        partial = self.partial(name)
        try:
            _only(partial, {file.path for file in manifest.files})
            partial.write(MANIFEST, manifest.to_json())
            for path in sorted({file.path for file in manifest.files if "/" in file.path}):
                partial.sync(path)
        finally:
            partial.close()
        self.partials.move(name, self.models, name)
        self.models.sync()
        self.partials.sync()
        self.forget_partial(name)
        return self.models.child(name)

    def make_compiled(self, name: str) -> None:
        """Make the folder that engines of a model may write, or the kubelet would, as root."""
        self.compiled.child(name, create=True).close()

    def forget_partial(self, name: str) -> None:
        """Remove what is on its way, and how far it was."""
        self.partials.remove(name)
        self.partials.remove(name + JOURNAL)

    def put_aside(self, name: str, path: str, model: Folder) -> None:
        """Take a bad file out of a published model, for people to look at."""
        model.move(path, self.quarantine, f"{name}/{_stamp()}-{path.replace('/', '__')[-200:]}")
        model.sync(path)

    def put_back(self, name: str, path: str, model: Folder) -> None:
        """Put a good file where a bad one was, or over one that only looks whole."""
        partial = self.partial(name)
        try:
            if model.is_folder(path):
                self.put_aside(name, path, model)
            partial.move(path, model, path)
            model.sync(path)
        finally:
            partial.close()

    def remove_unwanted(self, live: Collection[str], own: str, before: float) -> list[str]:
        """Remove models that nobody wants and that nobody said to keep; return their names.

        Parameters
        ----------
        live
            Names that somebody wants.
        own
            The name of this job's model.
        before
            Unix seconds. What was published since then is too new for the list to know of it.
        """
        removed = []
        for name in self.models.names():
            if path_fault(name) or name == own or name in live:
                continue
            # Judged with the lock only: another job may publish it, or remove it, at this moment.
            with suppress(_BusyError), self.locked(name, _give_up):
                if self._is_old(name, before):
                    self._bin(self.models, name)
                    removed.append(name)
                    if self.compiled.state(name) is not None:
                        self._bin(self.compiled, name)
        for name in self.partials.names():
            model = name.removesuffix(JOURNAL)
            if path_fault(model) or model == own or model in live:
                continue
            with suppress(_BusyError), self.locked(model, _give_up):
                if _older(self.partials, name, before):
                    self._bin(self.partials, name)
        for name in self._trash.names():
            self._trash.remove(name)
        return removed

    def remove_quarantined(self, before: float) -> None:
        """Remove what was put aside before that moment, in Unix seconds."""
        for name in self.quarantine.names():
            if not self.quarantine.is_folder(name):
                self.quarantine.remove(name)
                continue
            folder = self.quarantine.child(name)
            try:
                for aside in folder.names():
                    if _older(folder, aside, before):
                        folder.remove(aside)
                empty = not folder.names()
            finally:
                folder.close()
            if empty:
                self.quarantine.remove(name)

    def _is_old(self, name: str, before: float) -> bool:
        """Whether a model says itself that it may go, and is no newcomer."""
        if not self.models.is_folder(name):
            return False
        folder = self.models.child(name)
        try:
            return _older(folder, MANIFEST, before) and not read_manifest(folder.path).keep
        except ManifestError:
            return False  # it says nothing of the kind; a job of its own will put it right
        finally:
            folder.close()

    def _bin(self, folder: Folder, name: str) -> None:
        binned = f"{time.time_ns()}-{name[:200]}"
        folder.move(name, self._trash, binned)
        self._trash.remove(binned)


def check_name(name: str) -> None:
    """Refuse a folder's name that is none; FetchError (ConfigInvalid)."""
    fault = "has a slash" if "/" in name else path_fault(name)
    if fault:
        raise FetchError(FetchReason.CONFIG_INVALID, f"folder {name!r:.120} {fault}")


class _BusyError(Exception):
    """Somebody else writes there."""


def _give_up() -> None:
    raise _BusyError


def _try_lock(descriptor: int, path: Path) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        raise FetchError(
            FetchReason.VOLUME_FAILED,
            f"{path} cannot be locked ({error.strerror}): the volume's file system has no locks, "
            "so two jobs could write the same model; use another one",
        ) from error
    return True


def _stamp() -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


def _older(folder: Folder, name: str, before: float) -> bool:
    found = folder.state(name)
    # A rename, which is how things come here, sets ctime alone.
    return found is not None and found.st_ctime < before


def _only(folder: Folder, wanted: Collection[str]) -> None:
    """An engine loads what it finds, so nothing else may lie beside a model's files."""
    for path in list(folder.files()):
        if path not in wanted:
            folder.remove(path)
    for name in folder.names():
        if name.startswith("."):
            folder.remove(name)
