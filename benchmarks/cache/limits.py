"""What this machine can do at most: write to this disk, read from a server on loopback, and both.

The cheapest client that does what a fetch job does is a pipe of three programs in C: one receives,
one writes, one hashes.
"""

from __future__ import annotations

import http.client
import mmap
import os
import subprocess
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PIECE = 1 << 20
DIRECT_PIECE = 8 << 20  # as large as the job's
READERS = 8


def write_speed(folder: Path, size: int) -> float:
    """Bytes per second of one writer that has nothing else to do, until the disk has them all."""
    path = folder / "limit"
    piece = os.urandom(PIECE)
    os.sync()
    began = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for _ in range(size // PIECE):
            file.write(piece)
        os.fsync(file.fileno())
    took = time.perf_counter() - began
    path.unlink()
    return size / took


def direct_speed(folder: Path, size: int) -> float:
    """The same of one that writes past the page cache, from one buffer that is there already."""
    path = folder / "limit"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_DIRECT
    with mmap.mmap(-1, DIRECT_PIECE) as piece:
        piece.write(os.urandom(DIRECT_PIECE))
        os.sync()
        began = time.perf_counter()
        handle = os.open(path, flags, 0o600)
        try:
            os.posix_fallocate(handle, 0, size)
            for _ in range(size // DIRECT_PIECE):
                if os.write(handle, piece) != DIRECT_PIECE:
                    raise OSError(f"{path}: the disk took a part of a piece")
            os.fsync(handle)
        finally:
            os.close(handle)
    took = time.perf_counter() - began
    path.unlink()
    return size / took


def loopback_speed(urls: Sequence[tuple[str, int]], readers: int = READERS) -> float:
    """Bytes per second of readers that throw away what a server sends them.

    `urls` are addresses and the bytes behind each; the readers take ranges of them in turn.
    """
    per_file = max(1, readers // len(urls))
    work = [
        (url, size * part // per_file, size * (part + 1) // per_file)
        for url, size in urls
        for part in range(per_file)
    ]
    threads = [threading.Thread(target=_discard, args=each) for each in work]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(end - start for _, start, end in work) / (time.perf_counter() - began)


def pipe_to(folder: Path, urls: Sequence[tuple[str, int]]) -> None:
    """Let `curl | tee FILE | sha256sum` bring each file, all at once, and see them on the disk."""
    line = 'curl --fail --silent --show-error "$1" | tee "$2" | sha256sum >/dev/null && sync "$2"'
    pipes = [
        subprocess.Popen(["sh", "-c", line, "sh", url, str(folder / f"file-{number}")])
        for number, (url, _) in enumerate(urls)
    ]
    codes = [pipe.wait() for pipe in pipes]
    if any(codes) or any(
        (folder / f"file-{number}").stat().st_size != size for number, (_, size) in enumerate(urls)
    ):
        raise RuntimeError(f"a pipe failed: {codes}")


def _discard(url: str, start: int, end: int) -> None:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc, timeout=60)
    target = f"{address.path}?{address.query}"
    connection.request("GET", target, headers={"Range": f"bytes={start}-{end - 1}"})
    answer = connection.getresponse()
    buffer = bytearray(PIECE)
    left = end - start
    while left:
        count = answer.readinto(buffer)
        if not count:
            raise EOFError(f"{url}: {left} bytes are missing")
        left -= count
    connection.close()
