"""Room on the volume: counted before the first byte, and taken before it is filled."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterable

from stoker_worker.cachecontract import FetchReason
from stoker_worker.fetch import words
from stoker_worker.fetch.errors import FetchError

_BLOCK = 4096
# Of the file system's own notes: names, extents, the manifest, the journal.
_MARGIN = 1 << 20
# What a file system without the call, or a kernel that does not pass it on, answers.
_CANNOT = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


def blocks(sizes: Iterable[int]) -> int:
    """Bytes that files of these sizes take on a disk."""
    return sum(-(-size // _BLOCK) * _BLOCK for size in sizes)


def free(space: os.statvfs_result) -> int:
    """Bytes that a user without privileges may still write."""
    return space.f_bavail * space.f_frsize


def refusal(needed: int, space: os.statvfs_result, reserve: int, where: str) -> FetchError | None:
    """Say why the bytes that are still to be written do not fit; None where they do."""
    there = free(space)
    if not needed or needed + _MARGIN <= there - reserve:
        return None
    kept = f", of which {words.size(reserve)} are to stay free" if reserve else ""
    return FetchError(
        FetchReason.NOT_ENOUGH_DISK,
        f"needs {words.size(needed)}, {words.size(there)} free on {where}{kept}",
    )


def reserve_file(descriptor: int, size: int) -> bool:
    """Take a file's room on the disk at once; False where the file system cannot.

    Not by posix_fallocate: where the file system cannot, that writes a byte into every block.
    OSError where there is no room.
    """
    if not size:
        return True
    result = _fallocate(descriptor, size)
    if not result:
        return True
    if result in _CANNOT:
        return False
    raise OSError(result, os.strerror(result))


def _fallocate(descriptor: int, size: int) -> int:
    """Call the kernel; return its error, 0 for none."""
    try:
        call = _LIBC.fallocate
    except AttributeError:
        return errno.ENOSYS
    call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    while True:
        if call(descriptor, 0, 0, size) == 0:
            return 0
        if ctypes.get_errno() != errno.EINTR:
            return ctypes.get_errno()


_LIBC = ctypes.CDLL(None, use_errno=True)
