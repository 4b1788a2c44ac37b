"""A folder on the volume, held open, in which no link leads anywhere.

Others write to the volume too, so each step of a path is opened from the folder before it and never
through a link: whatever somebody puts there, nothing outside of the volume is read or written.
Paths are relative, with slashes; `manifest.path_fault` has judged those that came from elsewhere.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stoker_worker.cachecontract import FetchReason
from stoker_worker.fetch.errors import FetchError

# A volume's group is the pods' group (fsGroup), and jobs may run as another user than the last one.
FOLDER_MODE = 0o775
FILE_MODE = 0o664
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Folder:
    """A folder that is what it was when it was opened, wherever its path leads by now."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._fd = descriptor
        self.path = path  # for messages, and for readers that need one

    @staticmethod
    def open(path: Path) -> Folder:
        """Open the volume's own folder; the path is ours, so links in it are followed."""
        try:
            return Folder(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), path)
        except OSError as error:
            raise failed(path, error) from error

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)

    def child(self, name: str, *, create: bool = False) -> Folder:
        """Open a folder in this one."""
        path = self.path / name
        try:
            if create:
                _make(self._fd, name)
            return Folder(os.open(name, _DIRECTORY, dir_fd=self._fd), path)
        except OSError as error:
            raise failed(path, error) from error

    def open_file(self, path: str, flags: int, *, create: bool = False) -> int:
        """Return a descriptor of a regular file; OSError is the caller's to judge."""
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        with self._parent(path, create=create) as (parent, name):
            if create:
                flags |= os.O_CREAT
            descriptor = os.open(name, flags, FILE_MODE, dir_fd=parent)
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(descriptor)
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if create and not found.st_size and stat.S_IMODE(found.st_mode) != FILE_MODE:
            with suppress(PermissionError):  # another user's, who saw to it
                os.fchmod(descriptor, FILE_MODE)  # whatever the umask is
        return descriptor

    def write(self, name: str, text: str) -> None:
        """Replace a file of this folder in one step, and see it on the disk."""
        hidden = f".{name.lstrip('.')}.new"
        with suppress(FileNotFoundError):
            os.unlink(hidden, dir_fd=self._fd)
        descriptor = self.open_file(hidden, os.O_WRONLY | os.O_EXCL, create=True)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(text.encode())
            file.flush()
            os.fsync(descriptor)
        os.replace(hidden, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        self.sync()

    def state(self, path: str) -> os.stat_result | None:
        """What the file system says of a name, links not followed; None where there is none."""
        try:
            with self._parent(path) as (parent, name):
                return os.stat(name, dir_fd=parent, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:  # a link where a folder belongs
                return None
            raise

    def names(self) -> list[str]:
        """Sorted, hidden ones included."""
        return sorted(os.listdir(self._fd))  # noqa: PTH208 - a descriptor

    def files(self, prefix: str = "") -> Iterator[str]:
        """Paths of everything below that is no folder, hidden names left out."""
        for name in self.names():
            if name.startswith("."):
                continue
            if self.is_folder(name):
                inner = self.child(name)
                try:
                    yield from inner.files(f"{prefix}{name}/")
                finally:
                    inner.close()
            else:
                yield prefix + name

    def is_folder(self, name: str) -> bool:
        """Whether there is a folder of that name, and no link to one."""
        found = self.state(name)
        return found is not None and stat.S_ISDIR(found.st_mode)

    def move(self, path: str, target: Folder, target_path: str) -> None:
        """Rename within the volume, over what is there."""
        with (
            self._parent(path) as (parent, name),
            target._parent(target_path, create=True) as (other, new),
        ):
            os.rename(name, new, src_dir_fd=parent, dst_dir_fd=other)

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with all that is in it; what is gone already is fine."""
        with suppress(FileNotFoundError, NotADirectoryError), self._parent(path) as (parent, name):
            try:
                os.unlink(name, dir_fd=parent)
            except IsADirectoryError:
                shutil.rmtree(name, dir_fd=parent)  # follows no link

    def sync(self, path: str = "") -> None:
        """See a folder's names on the disk: its own, or those of the folder that holds a path."""
        if not path:
            _sync(self._fd)
            return
        with self._parent(path) as (parent, _):
            _sync(parent)

    def space(self) -> os.statvfs_result:
        """What the file system says of its size."""
        return os.statvfs(self._fd)

    @contextmanager
    def _parent(self, path: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
        *folders, name = path.split("/")
        if {"", ".", ".."} & {*folders, name}:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
        if not folders:
            yield self._fd, name
            return
        current = self._fd
        try:
            for folder in folders:
                inner = _step(current, folder, create=create)
                if current != self._fd:
                    os.close(current)
                current = inner
            yield current, name
        finally:
            if current != self._fd:
                os.close(current)


def _step(parent: int, name: str, *, create: bool) -> int:
    if create:
        _make(parent, name)
    return os.open(name, _DIRECTORY, dir_fd=parent)


def _make(parent: int, name: str) -> None:
    try:
        os.mkdir(name, dir_fd=parent)
    except FileExistsError:
        return
    mode = stat.S_IMODE(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    if mode & FOLDER_MODE != FOLDER_MODE:  # whatever the umask is; the group's bit stays
        os.chmod(name, mode | FOLDER_MODE, dir_fd=parent)


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems have nothing to sync in a folder, and say so in these two ways.
        if error.errno not in {errno.EINVAL, errno.EBADF}:
            raise


_FULL = {errno.ENOSPC, errno.EDQUOT}
_RIGHTS = {errno.EACCES, errno.EPERM, errno.EROFS}
_LINK = {errno.ELOOP, errno.ENOTDIR}


def failed(path: Path | str, error: OSError) -> FetchError:
    """What a system's error on the volume means for the job."""
    if error.errno in _FULL:
        return FetchError(
            FetchReason.NOT_ENOUGH_DISK,
            f"the volume is full: {path} cannot be written ({error.strerror}); what is there "
            "already stays, and the next job goes on from it: make the volume larger or free space",
        )
    if error.errno in _RIGHTS:
        text = (
            f"{path} cannot be used by user {os.getuid()}, group {os.getgid()} "
            f"({error.strerror}); check the volume's owner and mode, and that it is not read-only"
        )
        return FetchError(FetchReason.VOLUME_FAILED, text)
    if error.errno in _LINK:
        text = f"{path} is a link or a file where a folder of the cache belongs; remove it"
        return FetchError(FetchReason.VOLUME_FAILED, text)
    return FetchError(FetchReason.VOLUME_FAILED, f"{path}: {error.strerror or error}", passes=True)
