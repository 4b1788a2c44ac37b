"""A volume in a folder, jobs on it, and a model that is worth a few chunks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stoker_worker.cachecontract import (
    ENV_FETCH,
    FETCH,
    MANIFEST,
    MODELS,
    PATH_PROGRESS,
    STATE,
    FetchConfig,
    FetchResult,
    Progress,
    failure,
)
from stoker_worker.contract import ENV_POD_UID, ENV_TERMINATION_LOG, Termination
from stoker_worker.fetch.chunks import CHUNK, Chunks
from stoker_worker.fetch.job import Job, Tools
from stoker_worker.fetch.journal import boot_id, read_journal
from stoker_worker.fetch.progress import Meter
from stoker_worker.manifest import full_check, quick_check, read_manifest
from tests.integration.worker.support import free_port, wait_until
from tests.support.checkpoints import SMALL, SMALL_TENSORS, write_model
from tests.support.foldersource import REVISION, FolderSource
from tests.support.hub import Hub

NAME = "tiny-0123456789"
URI = "https://user:secret@models.example/tiny?signature=abcdef"


def make_model(folder: Path, chunks: int = 3) -> Path:
    """A small model, with one file of several chunks that end in the middle of one."""
    write_model(folder, SMALL, SMALL_TENSORS, shards=3)
    (folder / "README.md").write_text("not for engines")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "empty.jinja").write_text("")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text("{}")
    (folder / "tokenizer.model").write_bytes(os.urandom(chunks * CHUNK - 1000))
    return folder


@dataclass
class Bench:
    """One volume and one source."""

    volume: Path
    source: FolderSource
    said: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def model(self) -> Path:
        return self.volume / MODELS / NAME

    def run(self, task: str = FETCH, **changes: Any) -> FetchResult:
        config = FetchConfig(
            **{
                "task": task,
                "uri": URI,
                "revision": REVISION,
                "folder": NAME,
                "name": "default/tiny",
                **changes,
            }
        )
        meter = Meter(task)
        tools = Tools(lambda: self.source, meter, self.said.append, self.stop, self.volume)
        return Job(config, tools).run()

    def check(self) -> None:
        """What is published is what the source has, byte by byte, and nothing else."""
        wanted = {
            path.relative_to(self.source.folder): path.read_bytes()
            for path in self.source.folder.rglob("*")
            if path.is_file() and path.suffix != ".md"
        }
        found = {
            path.relative_to(self.model): path.read_bytes()
            for path in self.model.rglob("*")
            if path.is_file() and not path.name.startswith(".")
        }
        assert found.keys() == wanted.keys()
        assert found == wanted


REPO = "models/tiny"


@dataclass
class Pod:
    """A job as a process, with its pod's paths in a folder, at a hub on this machine."""

    folder: Path
    hub: Hub
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def volume(self) -> Path:
        return self.folder / "volume"

    @property
    def model(self) -> Path:
        return self.volume / MODELS / NAME

    @property
    def journal(self) -> Path:
        return self.volume / STATE / "partial" / f"{NAME}.journal"

    @property
    def revision(self) -> str:
        return self.hub.repositories[REPO].branches["main"]

    def start(self, task: str = FETCH, **changes: Any) -> Running:
        """Start one; what it leaves lies in a folder of its own."""
        told = self.folder / f"job-{len(self.processes)}"
        told.mkdir()
        (told / "termination-log").touch()
        config = FetchConfig(
            **{
                "task": task,
                "uri": f"hf://{REPO}",
                "revision": self.revision,
                "folder": NAME,
                "name": "default/tiny",
                "hub": self.hub.url,
                "plain_hosts": self.hub.hosts,
                "host": "127.0.0.1",
                "port": free_port(),
                **changes,
            }
        )
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            ENV_FETCH: config.to_json(),
            ENV_POD_UID: "uid-of-the-job",
            ENV_TERMINATION_LOG: str(told / "termination-log"),
        }
        command = [sys.executable, "-m", "tests.support.runfetch", str(self.folder)]
        with (told / "log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - the command is ours
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.processes.append(process)
        return Running(process, told, config)

    def run(self, task: str = FETCH, **changes: Any) -> FetchResult:
        """Run one that ends well."""
        running = self.start(task, **changes)
        assert running.wait() == 0, running.log()
        return running.result()

    def done_bytes(self) -> int:
        """What a job that is gone left for the next one."""
        if not self.journal.exists():
            return 0
        recorded = read_journal(self.journal.read_text(), self.revision, boot_id())
        total = 0
        for each in recorded.values():
            chunks = Chunks(each.size, each.chunk)
            total += sum(chunks.length(index) for index in each.done)
        return total

    def check(self) -> None:
        """What is published is what the hub has, and the manifest says so."""
        tree = self.hub.repositories[REPO].commits[self.revision]
        found = {p.relative_to(self.model).as_posix() for p in self.model.rglob("*") if p.is_file()}
        assert found == {path for path in tree if not path.endswith(".md")} | {MANIFEST}
        manifest = read_manifest(self.model)
        assert quick_check(self.model, manifest) == []
        assert {each.path: each.sha256 for each in manifest.files} == {
            path: blob.sha256 for path, blob in tree.items() if not path.endswith(".md")
        }
        assert [each for each in full_check(self.model, manifest.files) if each.fault] == []

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait(30)


@dataclass
class Running:
    """One job's process."""

    process: subprocess.Popen[bytes]
    folder: Path
    config: FetchConfig

    def wait(self) -> int:
        return self.process.wait(120)

    def kill(self, number: int = signal.SIGKILL) -> int:
        self.process.send_signal(number)
        return self.wait()

    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8")

    def termination(self) -> str:
        return (self.folder / "termination-log").read_text(encoding="utf-8")

    def result(self) -> FetchResult:
        found = FetchResult.parse(self.termination())
        assert found is not None, self.termination()
        return found

    def failure(self) -> Termination:
        found = failure(self.termination())
        assert found is not None, self.termination()
        return found

    def page(self, path: str = PATH_PROGRESS) -> str:
        """What it shows; nothing while nobody listens."""
        url = f"http://127.0.0.1:{self.config.port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                text: str = response.read().decode()
                return text
        except OSError:
            return ""

    def progress(self) -> Progress | None:
        return Progress.parse(self.page())

    def wait_until(self, condition: Callable[[Progress], bool], what: str) -> Progress:
        """Wait for something on the page; a job that ended fails the test."""
        seen: list[Progress] = []

        def met() -> bool:
            assert self.process.poll() is None, f"{what}: {self.log()}"
            progress = self.progress()
            seen[:] = [] if progress is None else [progress]
            return progress is not None and condition(progress)

        wait_until(met, 60, what)
        return seen[0]
