"""A fetch job on a folder of this machine: in this process, or in one of its own.

`python -m benchmarks.cache.jobs VOLUME` runs one as its pod would, but for the folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from stoker_worker.cachecontract import ENV_FETCH, FETCH, FetchConfig, FetchResult
from stoker_worker.fetch.job import Job, Tools
from stoker_worker.fetch.progress import Meter
from stoker_worker.fetch.sources import open_source

if TYPE_CHECKING:
    from tests.support.hub import Hub

ENV_BLIND = "STOKER_BENCHMARK_BLIND"  # hash nothing
ENV_LATER = "STOKER_BENCHMARK_LATER"  # another run of the kernel
ENV_THIN = "STOKER_BENCHMARK_THIN"  # take no room in advance, as on a network file system


def config_for(hub_url: str, hosts: list[str], repo: str, *, task: str = FETCH) -> FetchConfig:
    """What a job is told."""
    return FetchConfig(
        task=task,
        uri=f"hf://{repo}",
        folder=repo.replace("/", "-"),
        hub=hub_url,
        plain_hosts=hosts,
        patience_s=30.0,
    )


def config_of(hub: Hub, repo: str, *, task: str = FETCH) -> FetchConfig:
    """The same for a hub of this process."""
    return config_for(hub.url, hub.hosts, repo, task=task)


def run(config: FetchConfig, volume: Path) -> FetchResult:
    """Run a job here; FetchError says why it cannot be done."""
    nowhere = volume / "nowhere"
    tools = Tools(
        source=lambda: open_source(config, nowhere, nowhere, nowhere),
        meter=Meter(config.task),
        say=lambda _: None,
        stop=threading.Event(),
        volume=volume,
    )
    return Job(config, tools).run()


def spawn(
    config: FetchConfig,
    volume: Path,
    *,
    blind: bool = False,
    thin: bool = False,
    later: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a job in a process of its own.

    With `blind` it believes what it gets; with `thin` it can take no room on the disk in advance;
    with `later` it believes that the machine was started anew.
    """
    environment = {**os.environ, ENV_FETCH: config.to_json()}
    environment |= {ENV_BLIND: "1"} if blind else {}
    environment |= {ENV_THIN: "1"} if thin else {}
    environment |= {ENV_LATER: "1"} if later else {}
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.cache.jobs", str(volume)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def model_folder(config: FetchConfig, volume: Path) -> Path:
    """Where a job publishes."""
    return volume / "models" / config.folder


def _see_nothing() -> None:
    """Take the hashing out of a transfer, to see what it costs."""
    from stoker_worker.fetch.filework import FileWork, Hasher  # noqa: PLC0415

    Hasher.update = lambda *_: None  # type: ignore[method-assign]
    FileWork.fault = lambda _: ""  # type: ignore[assignment,method-assign]


def _take_no_room() -> None:
    """Have the file system refuse to take room, as NFS before 4.2 does."""
    from stoker_worker.fetch import transfer  # noqa: PLC0415

    vars(transfer)["reserve_file"] = lambda *_: False


def _start_anew() -> None:
    """Have the kernel be another one than that of earlier jobs."""
    from stoker_worker.fetch import journal  # noqa: PLC0415

    journal.boot_id = lambda: "the next one"


def main() -> None:
    """Run the job of the environment."""
    if os.environ.get(ENV_LATER):
        _start_anew()
    if os.environ.get(ENV_THIN):
        _take_no_room()
    if os.environ.get(ENV_BLIND):
        _see_nothing()
    result = run(FetchConfig.from_json(os.environ[ENV_FETCH]), Path(sys.argv[1]))
    print(json.dumps({"seconds": result.seconds, "fetched": result.fetched}))


if __name__ == "__main__":
    main()
