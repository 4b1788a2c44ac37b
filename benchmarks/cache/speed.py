"""How fast a job fills a volume: beside what the machine can do, and beside `hf download`.

All in turn, several times, from one server on loopback that has a process of its own.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.cache import jobs
from benchmarks.cache.faults import passes
from benchmarks.cache.limits import PIECE, direct_speed, loopback_speed, pipe_to, write_speed
from benchmarks.common import cpu_seconds
from e2e.load import median
from stoker_worker.cachecontract import FETCH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAME = "big"
REPO = f"models/{NAME}"  # as `tests.support.hub` names what it serves
SHARDS = 4
NETWORK = 500_000_000
"""Bytes per second of a source that is slower than the machine: four gigabits."""


@dataclass
class Speeds:
    """Bytes per second of each round, if nothing else is said."""

    disk: list[float] = field(default_factory=list)
    """One writer through the page cache."""
    direct: list[float] = field(default_factory=list)
    """One writer past it."""
    loopback: list[float] = field(default_factory=list)
    hf: list[float] = field(default_factory=list)
    hf_on_disk: list[float] = field(default_factory=list)
    """The same until the kernel has written it all, as a job waits for."""
    pipe: list[float] = field(default_factory=list)
    """`curl | tee | sha256sum`, of all files at once, until the disk has them."""
    stoker: list[float] = field(default_factory=list)
    blind: list[float] = field(default_factory=list)
    """A job that hashes nothing."""
    network: list[float] = field(default_factory=list)
    """A job whose source gives it `NETWORK`, and no more."""
    network_blind: list[float] = field(default_factory=list)
    hf_cpu: list[float] = field(default_factory=list)
    """Processor seconds per 10⁹ bytes, the client's alone."""
    stoker_cpu: list[float] = field(default_factory=list)
    blind_cpu: list[float] = field(default_factory=list)
    pipe_cpu: list[float] = field(default_factory=list)
    server_cpu: list[float] = field(default_factory=list)
    """The server's, while the job fetched."""
    check: list[float] = field(default_factory=list)
    """Seconds of the look that an engine's start takes at an untouched model."""

    def of_limit(self) -> float:
        """Share of the lower limit, of the same round, that a job reached.

        The disk's is that of the better writer.
        """
        lows = map(min, map(max, self.disk, self.direct), self.loopback)
        return ratio(self.stoker, list(lows))

    def to_json(self) -> dict[str, Any]:
        """For a report."""
        return {name: [round(value, 4) for value in values] for name, values in vars(self).items()}


def ratio(left: list[float], right: list[float]) -> float:
    """Median of the rounds' own ratios."""
    return median([a / b for a, b in zip(left, right, strict=True)]) or 0.0


def make_model(folder: Path, size: int) -> None:
    """A model of noise: shards that are safetensors by their headers, and a configuration."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "noise"}))
    piece = os.urandom(PIECE)
    for number in range(1, SHARDS + 1):
        path = folder / f"model-{number:05}-of-{SHARDS:05}.safetensors"
        pieces = size // SHARDS // PIECE
        shape = {"dtype": "U8", "shape": [pieces * PIECE], "data_offsets": [0, pieces * PIECE]}
        header = json.dumps({"w": shape}).encode()
        with path.open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            for at in range(pieces):
                # No two alike, so that nothing on the way could send one of them once.
                file.write(number.to_bytes(8, "little") + at.to_bytes(8, "little") + piece[16:])


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, list[str], int]]:
    """Address and hosts of a hub in a process of its own, and that process."""
    command = [sys.executable, "-m", "tests.support.hub", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            told = json.loads(process.stdout.readline())
            yield told["url"], told["hosts"], process.pid
        finally:
            process.terminate()


def measure(work: Path, size: int, rounds: int, say: Callable[[str], None]) -> Speeds:
    """Everything, in turn, in an empty folder."""
    make_model(work / "source" / NAME, size)
    speeds = Speeds()
    with served(work / "source") as (url, hosts, server):
        config = jobs.config_for(url, hosts, REPO, task=FETCH)
        slow = replace(config, bandwidth=NETWORK)
        urls = _signed(url, work / "source" / NAME)
        total = sum(length for _, length in urls)
        for number in range(1, rounds + 1):
            before, direct = write_speed(work, total), direct_speed(work, total)
            speeds.loopback.append(loopback_speed(urls))
            # A shared disk changes by the second: what is compared runs next to each other.
            pipe = _timed(work / "pipe", lambda to: pipe_to(to, urls))
            served_before = cpu_seconds(server)
            job = _timed(work / "job", lambda to: _job(config, to, blind=False), keep=True)
            speeds.server_cpu.append((cpu_seconds(server) - served_before) / total * 1e9)
            speeds.check.append(_look(jobs.model_folder(config, work / "job")))
            shutil.rmtree(work / "job")
            speeds.disk.append((before + write_speed(work, total)) / 2)
            speeds.direct.append((direct + direct_speed(work, total)) / 2)
            hf = _timed(work / "hf", lambda to: _hf(url, to))
            blind = _timed(work / "blind", lambda to: _job(config, to, blind=True))
            network = _timed(work / "network", lambda to: _job(slow, to, blind=False))
            network_blind = _timed(work / "network", lambda to: _job(slow, to, blind=True))
            speeds.network.append(total / network.seconds)
            speeds.network_blind.append(total / network_blind.seconds)
            speeds.pipe.append(total / pipe.seconds)
            speeds.stoker.append(total / job.seconds)
            speeds.hf.append(total / hf.seconds)
            speeds.hf_on_disk.append(total / hf.on_disk)
            speeds.blind.append(total / blind.seconds)
            named = (("stoker", job), ("hf", hf), ("blind", blind), ("pipe", pipe))
            for found, spent in named:
                getattr(speeds, f"{found}_cpu").append(spent.processor / total * 1e9)
            last = {name: values[-1] for name, values in vars(speeds).items()}
            shown = ", ".join(f"{k} {v / 1e6:.0f}" for k, v in last.items() if v > 1e6)
            say(f"round {number} of {rounds}, MB/s: {shown}")
    return speeds


def _signed(url: str, folder: Path) -> list[tuple[str, int]]:
    """Where the other host has each shard."""
    found = []
    for path in sorted(folder.glob("*.safetensors")):
        request = urllib.request.Request(f"{url}/{REPO}/resolve/main/{path.name}", method="HEAD")  # noqa: S310
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            found.append((answer.url, path.stat().st_size))
    return found


class Spent(NamedTuple):
    """Seconds until a client says that it is done, until the disk has it all, of the processor."""

    seconds: float
    on_disk: float
    processor: float


def _timed(folder: Path, fill: Callable[[Path], None], *, keep: bool = False) -> Spent:
    folder.mkdir()
    os.sync()
    before, began = _processor(), time.perf_counter()
    fill(folder)
    seconds, after = time.perf_counter() - began, _processor()
    os.sync()
    on_disk = time.perf_counter() - began
    if not keep:
        shutil.rmtree(folder)
    return Spent(seconds, on_disk, after - before)


def _processor() -> float:
    """Of all children that have ended; the server has not."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def _hf(url: str, folder: Path) -> None:
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment = {**os.environ, **quiet, "HF_ENDPOINT": url, "HF_HOME": str(folder / "home")}
    hf = str(Path(sys.executable).with_name("hf"))
    command = [hf, "download", REPO, "--local-dir", str(folder / "model")]
    subprocess.run(command, env=environment, check=True, capture_output=True)


def _job(config: Any, folder: Path, *, blind: bool) -> None:
    process = jobs.spawn(config, folder, blind=blind)
    process.communicate()
    if process.returncode:
        raise RuntimeError("the job failed")


def _look(folder: Path) -> float:
    began = time.perf_counter()
    assert passes(folder)
    return time.perf_counter() - began
