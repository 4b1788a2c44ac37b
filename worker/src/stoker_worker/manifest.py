"""What a published model's folder must hold, and whether it still does.

The manifest lies beside the files. It has each file's size and sha256, and what the file system
said of the file when it was hashed: size, mtime, ctime. Whoever writes to a file changes its ctime,
and nobody can set that back, so files whose three values are the same are the files that were
hashed. Looking takes milliseconds (`quick_check`). Where something differs, only the bytes tell
(`full_check`): a copy of the volume has new times and the same bytes. A disk that rots changes
nothing of the three, which is why bytes are read on a schedule too.

A manifest lies on a volume that others write, so it is not believed: `Manifest.parse` takes nothing
that leads out of its folder. Standard library only, Python 3.9: an engine's supervisor asks too.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple

from stoker_worker.cachecontract import MANIFEST

VERSION = 1
MAX_FILES = 20_000
_MOST_BYTES = 16_000_000
_MOST_PATH = 1_000  # bytes; Linux takes 4,096, and the volume's own folders come before it
_MOST_NAME = 240  # bytes; Linux takes 255, and quarantine puts a time before a name
_LARGEST = 1 << 62  # bytes; beyond that no seek goes
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BLOCK = 1 << 20


class ManifestError(ValueError):
    """A manifest that is missing or not to be believed: says where and what."""


@dataclass(frozen=True)
class ManifestFile:
    """One file, and what the file system said of it when it was hashed."""

    path: str  # relative to the model's folder, with slashes
    size: int  # bytes
    sha256: str
    mtime_ns: int = 0
    ctime_ns: int = 0

    def of(self, found: os.stat_result) -> ManifestFile:
        """Return the same file with what the file system says now."""
        return replace(self, mtime_ns=found.st_mtime_ns, ctime_ns=found.st_ctime_ns)

    def matches(self, found: os.stat_result) -> bool:
        """Whether nobody has touched it since."""
        return (self.size, self.mtime_ns, self.ctime_ns) == (
            found.st_size,
            found.st_mtime_ns,
            found.st_ctime_ns,
        )


@dataclass(frozen=True)
class Manifest:
    """What a model's folder must hold."""

    source: str  # without secrets
    revision: str
    cache: str  # NAMESPACE/NAME of the cache that had it fetched
    keep: bool  # stays on the volume although nobody wants it
    files: Tuple[ManifestFile, ...]

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(file.size for file in self.files)

    @property
    def digest(self) -> str:
        """sha256 over paths, sizes and digests: equal where equal bytes lie in equal places."""
        hashed = hashlib.sha256()
        for file in sorted(self.files, key=lambda each: each.path):
            hashed.update(f"{file.sha256} {file.size} {file.path}\n".encode())
        return hashed.hexdigest()

    def to_json(self) -> str:
        """Text for the file; the digest lets a reader notice what was cut or changed."""
        told = {"version": VERSION, **asdict(self), "digest": self.digest}
        return json.dumps(told, separators=(",", ":")) + "\n"

    @staticmethod
    def parse(text: str) -> Manifest:
        """Read what `to_json` wrote; ManifestError says what is wrong with it."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ManifestError(f"is not JSON: {str(error)[:120]}") from error
        if not isinstance(data, dict):
            raise ManifestError("holds no JSON object")
        if data.get("version") != VERSION:
            raise ManifestError(f"has version {data.get('version')!r:.40}, not {VERSION}")
        listed = data.get("files")
        if not isinstance(listed, list) or not listed:
            raise ManifestError("lists no files")
        if len(listed) > MAX_FILES:
            raise ManifestError(f"lists {len(listed)} files, more than {MAX_FILES}")
        files = tuple(_file(entry) for entry in listed)
        clash = clash_among([file.path for file in files])
        if clash:
            raise ManifestError(clash)
        manifest = Manifest(
            _of(data, "source", str),
            _of(data, "revision", str),
            _of(data, "cache", str),
            _of(data, "keep", bool),
            files,
        )
        if data.get("digest") != manifest.digest:
            raise ManifestError("does not have the digest that it names: it was changed or cut")
        return manifest


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a model's folder; ManifestError where it has none to believe."""
    file = folder / MANIFEST
    try:
        return Manifest.parse(_read_text(file))
    except FileNotFoundError as error:
        raise ManifestError(f"there is no {file}") from error
    except OSError as error:
        raise ManifestError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{file} is not UTF-8") from error
    except ManifestError as error:
        raise ManifestError(f"{file} {error}") from error


def _read_text(file: Path) -> str:
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as opened:  # noqa: PTH123 - a descriptor
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ManifestError("is no regular file")
        raw = opened.read(_MOST_BYTES + 1)
    if len(raw) > _MOST_BYTES:
        raise ManifestError(f"has more than {_MOST_BYTES} bytes")
    return raw.decode("utf-8")


def path_fault(path: object) -> str:
    """Say why a path cannot be a model's file; empty where it can."""
    if not isinstance(path, str) or not path:
        return "is no path"
    try:
        length = len(path.encode("utf-8"))
    except UnicodeEncodeError:
        return "is not UTF-8"
    if length > _MOST_PATH:
        return f"is longer than {_MOST_PATH} bytes"
    if path.startswith("/"):
        return "is absolute"
    if "\\" in path or not path.isprintable():
        return "holds a backslash or a character that does not print"
    return next(filter(None, map(_name_fault, path.split("/"))), "")


def _name_fault(name: str) -> str:
    if not name:
        return "has an empty name"
    if name == "..":
        return "leads out of its folder"
    if name.startswith("."):
        return "has a name that begins with a dot"
    if len(name.encode("utf-8")) > _MOST_NAME:
        return f"has a name longer than {_MOST_NAME} bytes"
    return ""


def clash_among(paths: Iterable[str]) -> str:
    """Say which path is there twice, or is a file and a folder at once; empty where none is."""
    seen = set()
    folders = set()
    for path in paths:
        if path in seen:
            return f"names {path!r:.120} twice"
        seen.add(path)
        while "/" in path:
            path = path.rpartition("/")[0]  # noqa: PLW2901 - upwards
            folders.add(path)
    both = sorted(seen & folders)
    return f"has {both[0]!r:.120} as a file and as a folder" if both else ""


@dataclass(frozen=True)
class Suspect:
    """Something in a model's folder that is not as the manifest says."""

    path: str
    fault: str  # in words, without the path
    certain: bool  # False: only the bytes can tell
    extra: bool = False  # not in the manifest at all; an engine might load it


def quick_check(folder: Path, manifest: Manifest) -> List[Suspect]:
    """Compare what the file system says of a folder; reads no file. Sorted by path.

    Raises OSError where the folder cannot be listed.
    """
    found = dict(_walk(folder))
    suspects = []
    for file in manifest.files:
        state = found.pop(file.path, None)
        if state is None:
            suspects.append(Suspect(file.path, "is missing", certain=True))
        elif not stat.S_ISREG(state.st_mode):
            suspects.append(Suspect(file.path, "is no regular file", certain=True))
        elif state.st_size != file.size:
            fault = f"has {state.st_size} bytes instead of {file.size}"
            suspects.append(Suspect(file.path, fault, certain=True))
        elif not file.matches(state):
            suspects.append(Suspect(file.path, "was touched since it was hashed", certain=False))
    fault = "is not in the manifest"
    suspects += [Suspect(path, fault, certain=True, extra=True) for path in found]
    return sorted(suspects, key=lambda each: each.path)


@dataclass(frozen=True)
class Checked:
    """A file whose bytes were read."""

    file: ManifestFile  # with what the file system says now
    fault: str = ""  # in words, without the path; empty: it is what the manifest says


def full_check(
    folder: Path,
    files: Iterable[ManifestFile],
    threads: int = 2,
    *,
    told: Optional[Callable[[int], None]] = None,
    stop: Optional[threading.Event] = None,
    from_disk: bool = False,
) -> List[Checked]:
    """Read files to their last byte and compare their sha256, several files at once.

    Parameters
    ----------
    told
        Is called with the number of bytes after each piece, from several threads.
    stop
        Once it is set, the rest is left unread and counts as bad.
    from_disk
        Ask the kernel to forget its copy first, so that it is the disk that is read.
    """

    def check(file: ManifestFile) -> Checked:
        return _check(folder, file, told, stop, from_disk=from_disk)

    # The large ones first, so that no thread is left with one at the end.
    ordered = sorted(files, key=lambda file: (-file.size, file.path))
    with ThreadPoolExecutor(max(1, threads), "hash") as pool:
        checked = list(pool.map(check, ordered))
    return sorted(checked, key=lambda each: each.file.path)


def _check(
    folder: Path,
    file: ManifestFile,
    told: Optional[Callable[[int], None]],
    stop: Optional[threading.Event],
    *,
    from_disk: bool,
) -> Checked:
    try:
        descriptor = os.open(
            folder / file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        )
    except OSError as error:
        return Checked(file, f"cannot be opened: {error.strerror}")
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            return Checked(file, "is no regular file")
        if before.st_size != file.size:
            return Checked(file, f"has {before.st_size} bytes instead of {file.size}")
        if from_disk:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        got = _sha256(descriptor, told, stop)
        if got is None:
            return Checked(file, "was not read to its end")
        if got != file.sha256:
            return Checked(file, f"has sha256 {got} instead of {file.sha256}")
        after = os.fstat(descriptor)
        if not file.of(before).matches(after):
            return Checked(file, "changed while it was read")
        return Checked(file.of(after))
    except OSError as error:
        return Checked(file, f"cannot be read: {error.strerror}")
    finally:
        os.close(descriptor)


def _sha256(
    descriptor: int, told: Optional[Callable[[int], None]], stop: Optional[threading.Event]
) -> Optional[str]:
    hashed = hashlib.sha256()
    block = bytearray(_BLOCK)
    view = memoryview(block)
    at = 0
    while True:
        if stop is not None and stop.is_set():
            return None
        count = os.preadv(descriptor, [view], at)
        if not count:
            return hashed.hexdigest()
        hashed.update(view[:count])
        at += count
        if told is not None:
            told(count)


def _walk(folder: Path, prefix: str = "") -> Iterator[Tuple[str, os.stat_result]]:
    """Everything below that is no folder; links are not followed, hidden names are not ours."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(folder / entry.name, path + "/")
                continue
            try:
                yield path, entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue


def _file(entry: object) -> ManifestFile:
    if not isinstance(entry, dict):
        raise ManifestError(f"lists {entry!r:.120}, which is no file")
    path = entry.get("path")
    fault = path_fault(path)
    if fault:
        raise ManifestError(f"lists {path!r:.120}, which {fault}")
    values: Dict[str, Any] = {"path": path, "sha256": entry.get("sha256")}
    if not isinstance(values["sha256"], str) or not _SHA256.fullmatch(values["sha256"]):
        raise ManifestError(f"has for {path!r:.120} the sha256 {values['sha256']!r:.120}")
    for name in ("size", "mtime_ns", "ctime_ns"):
        value = entry.get(name)
        # A time may lie before 1970; a size may not.
        lowest = 0 if name == "size" else -_LARGEST
        if type(value) is not int or not lowest <= value <= _LARGEST:
            raise ManifestError(f"has for {path!r:.120} the {name} {value!r:.40}")
        values[name] = value
    return ManifestFile(**values)


def _of(data: Mapping[str, Any], name: str, kind: type) -> Any:  # noqa: ANN401 - of that kind
    value = data.get(name)
    if not isinstance(value, kind):
        raise ManifestError(f"has {value!r:.40} as its {name}")
    return value
